"""A project with a key, and gateways that ask about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.services import issue_api_key
from audit.actors import Actor
from portal.decision import rebuild, services
from portal.gateway.services import register_gateway
from projects.models import Project
from projects.services import create_project
from tests.gateway.client import Client
from tests.web_processes import WebProcesses


@dataclass
class Scene:
    """``client`` is the gateway, ``other`` another one; ``secret`` the key of ``project``, priced model ``small``."""

    client: Client
    gateway: str
    other: Client
    project: Project
    key: ApiKey
    secret: str

    def call(self, request_id: str = "request", **more: object) -> dict[str, object]:
        fields = {"input_tokens": 10, "max_output_tokens": 10}
        return {"credential": self.secret, "model": "small", "request_id": request_id, **fields, **more}

    def event(self, request_id: str = "request", **more: object) -> dict[str, object]:
        now = timezone.now() - timedelta(seconds=1)
        fields = {"occurred_at": now.isoformat(), "input_tokens": 10, "output_tokens": 5, "status": "ok"}
        return {"request_id": request_id, "model": "small", **fields, **more}


@pytest.fixture
def scene(clean_state: None) -> Scene:
    actor = Actor.system()
    services.set_price(model="small", input=Decimal(1), output=Decimal(2), ceiling=4000, actor=actor)
    project = create_project(code="claims", name="Claims", daily_limit="1", actor=actor)
    key, secret = issue_api_key(project=project, name="key", actor=actor)
    gateway, gateway_secret = register_gateway(name="gateway", actor=actor)
    other = register_gateway(name="other", actor=actor)[1]
    rebuild.ensure_ready()
    return Scene(Client(gateway_secret), gateway.key_id, Client(other), project, key, secret)


@pytest.fixture
def web(clean_state: None, tmp_path: Path) -> Iterator[WebProcesses]:
    """Two web processes on the tests' servers."""
    started = WebProcesses(tmp_path / "web.log")
    try:
        yield started.start()
    finally:
        started.stop()
