"""What stops calls at once, for one gateway, one project, one model; and what only watches."""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from apikeys.services import update_api_key
from portal.decision import services
from portal.gateway import health
from portal.gateway.models import Gateway
from portal.spend.models import Limit
from projects.services import add_member, update_project
from tests.factories import ACTOR, person, signed_in
from tests.gateway.conftest import Scene


@pytest.fixture
def admin(scene: Scene) -> Any:
    """The browser of an administrator."""
    services.set_price(model="large", input=1, output=2, ceiling=4000, actor=ACTOR)  # type: ignore[arg-type]
    return signed_in(person("Alice Admin", role="admin"))


def code(scene: Scene, name: str, **more: Any) -> str:
    """Ask for a call and return why it is refused; nothing when it is not."""
    return scene.client.post("authorize", scene.call(name, **more)).code


def test_a_model_is_switched_off_for_everybody_and_on_again(scene: Scene, admin: Any) -> None:
    assert code(scene, "before") == ""
    form = {"kind": "o", "measure": "requests|day", "amount": "0", "mode": "enforce", "model": "small"}
    assert admin.post("/limits/new/", form).status_code == 302
    assert code(scene, "off") == "limit_exceeded"
    assert code(scene, "other", model="large") == ""
    assert admin.post(f"/limits/{Limit.objects.get(model='small').pk}/remove/").status_code == 302
    assert code(scene, "on") == ""


def test_a_project_is_switched_off_and_on_again(scene: Scene, admin: Any) -> None:
    for state, expected in (("paused", "project_inactive"), ("active", "")):
        assert admin.post(f"/projects/{scene.project.code}/state/{state}/").status_code == 302
        assert code(scene, state) == expected


def test_a_gateway_is_switched_off_alone_and_on_again(scene: Scene, admin: Any) -> None:
    address = f"/settings/gateways/{Gateway.objects.get(name='gateway').key_id}/"
    assert admin.post(f"{address}suspend/", {"reason": "it misbehaves"}).status_code == 302
    assert scene.client.post("authorize", scene.call("off")).status == 401
    assert scene.other.post("authorize", scene.call("elsewhere")).status == 200
    assert admin.post(f"{address}resume/").status_code == 302
    assert code(scene, "on") == ""


def test_a_new_limit_watches_before_it_is_enforced(scene: Scene, admin: Any) -> None:
    form = {"kind": "o", "measure": "requests|day", "amount": "0", "mode": "observe", "model": "small"}
    assert admin.post("/limits/new/", form).status_code == 302
    assert code(scene, "watched") == ""


def test_a_key_reaches_no_further_than_its_project_whoever_owns_it(scene: Scene, admin: Any) -> None:
    owner = person("Otto Owner")
    add_member(project=scene.project, person=owner, actor=ACTOR)
    update_api_key(key=scene.key, allowed_models=["small", "large"], owner=owner, actor=ACTOR)
    update_project(project=scene.project, allowed_models=["large"], actor=ACTOR)
    assert code(scene, "project") == "model_not_allowed"
    owner.role_grants.create(role="admin", source="portal", granted_by="test")
    assert code(scene, "promoted") == "model_not_allowed"
    update_project(project=scene.project, allowed_models=None, actor=ACTOR)
    scene.key.refresh_from_db()
    update_api_key(key=scene.key, allowed_models=["large"], owner=owner, actor=ACTOR)
    assert code(scene, "key") == "model_not_allowed"
    assert code(scene, "both", model="large") == ""


def test_a_portal_is_not_ready_before_its_migrations_and_without_its_peppers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scene.client.ask("GET", "/readyz").json == {"status": "ok"}
    with override_settings(PEPPERS={}):
        answer = scene.client.ask("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"status": "unavailable"})
    monkeypatch.setattr(health, "_is_migrated", False)  # as in a process that has just started
    moved = "UPDATE django_migrations SET app = %s WHERE app = %s"
    with connection.cursor() as cursor:
        cursor.execute(moved, ["away", "apikeys"])
    try:
        answer = scene.client.ask("GET", "/readyz")
        assert (answer.status, answer.json) == (503, {"status": "unavailable"})
        assert scene.client.ask("GET", "/livez").status == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute(moved, ["apikeys", "away"])
    assert scene.client.ask("GET", "/readyz").status == 200
    assert settings.PEPPERS
