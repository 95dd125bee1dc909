"""No secret is found where it does not belong, after everything that can be done with it was done."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import env
from portal.lib.secrets import PATTERNS
from tests.journeys.conftest import Demo
from tests.litellm.processes import until
from tests.notifications.receiver import Receiver, receiving
from tests.security import places
from tests.security.visitor import Visitor

pytestmark = [pytest.mark.canary, pytest.mark.slow]

PROJECT, MODEL = "canary-cage", "gpt-5-mini"
NAME = "Yellow feathers"
"""What is no secret and must be found: whoever looks for secrets sees this where it was written."""
# What a start makes of secrets and hands to its programs; each is for its owner's eyes only.
KEPT = ("environment.json", "identity/")


@dataclass
class Cage:
    """A portal that runs, somebody in it, and the secrets by what they are."""

    portal: Demo
    visitor: Visitor
    receiver: Receiver
    secrets: dict[str, bytes] = field(default_factory=dict)

    def keep(self, name: str, page: requests.Response, kind: str = "") -> str:
        """Keep the one secret that a page shows, and return it."""
        pattern = PATTERNS[kind] if kind else re.compile(r"whsec_[0-9A-Za-z+/=]{44}")
        found = {match[0] for match in pattern.finditer(page.text)}
        assert len(found) == 1, (name, found)
        self.secrets[name] = found.pop().encode()
        return self.secrets[name].decode()

    def ask(self, path: str, gateway: str, **body: Any) -> requests.Response:
        """Ask the Gateway API."""
        headers = {"Authorization": f"Bearer {gateway}"}
        return requests.post(f"{self.portal.url}/gateway/v1/{path}", json=body, headers=headers, timeout=30)


@pytest.fixture
def cage(tmp_path: Path) -> Iterator[Cage]:
    """The whole portal, saying as much as it can say, with Microsoft asked for what needs it."""
    more = {"PORTAL_STEP_UP": "1", "PORTAL_LOG_LEVEL": "DEBUG", "PORTAL_WEBHOOK_PRIVATE": "1"}
    portal = Demo(tmp_path / "data", **more)
    try:
        with receiving() as receiver:
            yield Cage(portal, Visitor(portal.url), receiver)
    finally:
        if portal.process.poll() is None:
            portal.stop()


def test_no_secret_is_found_where_it_does_not_belong(cage: Cage) -> None:
    data = cage.portal.data_dir
    cage.visitor.sign_in("elena.marsh")
    of_the_environment(cage)
    make_webhooks(cage)
    make_credentials(cage)
    use(cage)
    paste(cage)
    hear(cage)
    export(cage)
    end(cage)
    found = places.database(data) | places.valkey(data)
    cage.portal.stop()
    answers = besides_the_first(cage.visitor.answers, cage.secrets)
    found |= places.files(data, kept=KEPT)
    found["output of the whole"] = cage.portal.log.read_bytes()
    found |= {f"answer {number} {url}": text.encode() for number, (url, text) in enumerate(answers)}
    found |= {f"sent {each.path}": each.body + str(each.headers).encode() for each in cage.receiver.posts}

    # Who looks here would find a secret: what is none is found in every kind of place.
    seen = {place.split(" ")[0].split("/")[0] for _, place in places.hits(found, {"": NAME.encode()})}
    assert {"database", "valkey", "sent", "pgdata", "mail"} <= seen
    assert b" DEBUG " in found["log/web.log"] + found["log/worker.log"]
    planted = found | dict(enumerate_forms(cage.secrets["user token"]))
    assert len(places.hits(planted, cage.secrets)) >= len(planted) - len(found)

    assert len(cage.secrets) >= 18
    leaks = places.hits(found, cage.secrets)
    assert not leaks, "\n".join(f"{name} in {place}" for name, place in leaks)
    for path in (data / "environment.json", *(data / "identity").glob("*.key")):
        assert path.stat().st_mode & 0o077 == 0, path


def enumerate_forms(secret: bytes) -> list[tuple[str, bytes]]:
    """Return each way a secret can be written, inside of something."""
    return [(f"planted {number}", b"{" + form + b"}") for number, form in enumerate(places.forms_of(secret))]


def besides_the_first(answers: list[tuple[str, str]], secrets: dict[str, bytes]) -> list[tuple[str, str]]:
    """Return the answers but for the one each secret is shown in, and a search as it was typed."""
    for secret in secrets.values():
        shown = [text for _, text in answers if secret.decode("latin-1") in text]
        answers = [
            (url, text.replace(secret.decode("latin-1"), "") if text in shown[:1] else text)
            for url, text in answers
        ]
    return answers


def of_the_environment(cage: Cage) -> None:
    """Note the secrets a portal is started with."""
    held = env.read(cage.portal.data_dir)
    names = ("PORTAL_SECRET_KEY", "PORTAL_OWNER_PASSWORD", "PORTAL_APP_PASSWORD", "ENTRA_CLIENT_SECRET")
    cage.secrets |= {name: held[name].encode() for name in names}
    pepper = held["PORTAL_PEPPERS"].partition(":")[2]
    cage.secrets |= {"pepper": base64.b64decode(pepper), "pepper as written": pepper.encode()}
    key = Path(held["GRAPH_PRIVATE_KEY"]).read_text().splitlines()[1:-1]
    cage.secrets["private key for the directory"] = key[len(key) // 2].encode()


def make_webhooks(cage: Cage) -> None:
    """Add one of each kind and replace a signing secret."""
    settings, add = "/settings/notifications/", "/settings/notifications/webhooks/add/"
    for kind in ("standard", "slack", "teams"):
        secret = f"T{uuid.uuid4().hex}"
        cage.secrets[f"address for {kind}"] = secret.encode()
        address = f"{cage.receiver.address}/{kind}?key={secret}"
        page = cage.visitor.post(add, on=add, name=f"{NAME} {kind}", format=kind, address=address)
        if kind == "standard":
            cage.keep("signing secret", page)
    page = cage.visitor.get(settings)
    number = re.search(rf"{settings}webhooks/(\d+)/secret/", page.text)
    assert number
    cage.keep("signing secret that follows", cage.visitor.post(number[0]))
    assert cage.visitor.post(f"{settings}webhooks/{number[1]}/test/", on=settings).ok


def make_credentials(cage: Cage) -> None:
    """Make a project, and in it a user token, an API key that is rotated, and a gateway that is."""
    visitor = cage.visitor
    visitor.post("/projects/new/", name=f"{NAME} cage", code=PROJECT, daily_limit="0.000021")
    owner = ("--email", "elena.marsh@northgate.example", "--role", "owner")
    cage.portal.manage("add_member", "--project", PROJECT, *owner)
    issue = f"/tokens/issue/?project={PROJECT}"
    person = re.search(r'<option value="(\d+)"[^>]*>Elena Marsh', visitor.get(issue).text)
    assert person
    page = visitor.post(issue, person=person[1], name=f"{NAME} laptop", days="30")
    cage.keep("user token", page, "user_token")
    lines = f"project,person,name\n{PROJECT},elena.marsh@northgate.example,{NAME} notebook\n"
    page = visitor.post("/tokens/import/", text=lines)
    page = visitor.post("/tokens/import/create/", on=page)
    cage.keep("user token out of a file", page, "user_token")
    page = visitor.post(f"/keys/issue/?project={PROJECT}", name=NAME, owner=person[1], days="30")
    key = cage.keep("API key", page, "api_key")
    page = visitor.post(f"/keys/{key[9:21]}/rotate/", overlap="24", reason=f"{NAME} moult", days="")
    cage.keep("API key that follows", page, "api_key")
    gateway = cage.keep("gateway", visitor.post("/settings/gateways/register/", name=NAME), "gateway")
    page = visitor.post(f"/settings/gateways/{gateway[9:21]}/secret/", reason="moult")
    cage.keep("gateway that follows", page, "gateway")


def use(cage: Cage) -> None:
    """Use each rightly and wrongly: the first call goes through, what follows meets the limit."""
    now, before = (cage.secrets[name].decode() for name in ("gateway that follows", "gateway"))
    names = ("user token", "API key", "API key that follows")
    for name, expected in zip(names, (200, 429, 429), strict=True):
        secret = cage.secrets[name].decode()
        call = {"credential": secret, "model": MODEL, "input_tokens": 9, "max_output_tokens": 9}
        named = {**call, "request_id": uuid.uuid4().hex}
        answer = cage.ask("authorize", now, **named)
        assert answer.status_code == expected, answer.text
        if expected == 200:
            event = {"reservation_id": answer.json()["reservation_id"], "request_id": named["request_id"]}
            event |= {"model": MODEL, "status": "ok", "input_tokens": 9, "output_tokens": 9}
            event["occurred_at"] = datetime.now(UTC).isoformat()
            told = cage.ask("usage", now, events=[event]).json()
            assert told["accepted"] == 1, told
        assert cage.ask("authorize", before, **named).status_code == 401
        # Fields that are not known, a letter less, a letter more, a secret where a gateway's belongs.
        assert cage.ask("authorize", now, **named, token=secret).status_code == 422
        for wrong in (secret[:-1], f"{secret}0", f" {secret}"):
            assert cage.ask("authorize", now, **{**named, "credential": wrong}).status_code == 401
        assert cage.ask("authorize", secret, **named).status_code == 401
        cage.ask("usage", now, events=[call])


def paste(cage: Cage) -> None:
    """Paste secrets where they do not belong: into addresses, searches and pages that do not exist."""
    for name in ("user token", "API key", "gateway that follows"):
        secret = cage.secrets[name].decode()
        for address in (
            f"/tokens/{secret}/",
            f"/keys/{secret}/",
            f"/nothing/{secret}",
            f"/projects/{secret}/",
        ):
            cage.visitor.get(address, status=404)
            requests.get(f"{cage.portal.url}{address}", timeout=30)
        for address in ("/audit/", "/tokens/", "/projects/", "/accounts/people/", "/audit/export/csv/"):
            cage.visitor.get(f"{address}?q={secret}")
        cage.visitor.post("/find/", q=secret)
        requests.get(f"{cage.portal.url}/gateway/v1/{secret}", timeout=30)


def hear(cage: Cage) -> None:
    """Have something to tell, and wait until it was told by mail and to all three webhooks."""
    mail = cage.portal.data_dir / "mail"

    def is_told() -> bool:
        told = {post.path.split("?")[0] for post in cage.receiver.posts}
        return told >= {"/standard", "/slack", "/teams"} and any(mail.glob("*"))

    cage.portal.manage("check_limits")
    until(is_told, 90, "people and webhooks are told")


def export(cage: Cage) -> None:
    """Take out everything that can be taken out."""
    for name in ("tokens", "keys", "projects", "accounts/people", "audit/export/csv", "audit/export/ndjson"):
        cage.visitor.get(f"/{name}/" if "export" in name else f"/{name}/export/")
    words = [sys.executable, "manage.py", "export_audit_log", "--format", "ndjson"]
    words += ["--data-dir", str(cage.portal.data_dir)]
    done = subprocess.run(
        words, cwd=env.REPO, env=cage.portal.environment, capture_output=True, text=True, check=True
    )
    cage.visitor.answers.append(("export_audit_log", done.stdout + done.stderr))


def end(cage: Cage) -> None:
    """Revoke everything, and look once more at where it was."""
    for name, place in (("user token", "tokens"), ("API key", "keys"), ("gateway", "settings/gateways")):
        key_id = cage.secrets[name].decode()[9:21]
        cage.visitor.post(f"/{place}/{key_id}/revoke/", reason="flown")
    for address in (f"/projects/{PROJECT}/", f"/projects/{PROJECT}/activity/", "/audit/", "/refusals/"):
        cage.visitor.get(address)
