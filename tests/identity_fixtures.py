"""The stand-in for Microsoft as a fixture, and a browser that signs in through it. A pytest plugin module."""

import re
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.test import Client, override_settings

from portal.accounts.conf import allauth_settings
from portal.demo.identity import settings_for
from portal.demo.identity.material import prepare
from portal.web.conf import security_settings

if TYPE_CHECKING:
    from portal.accounts.models import Person

PORTAL_URL = "http://testserver"
# No collected files are needed: they are found where they lie.
STATIC_FILES = {
    "STORAGES": {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    "WHITENOISE_AUTOREFRESH": True,
    "WHITENOISE_USE_FINDERS": True,
}


@dataclass
class StandIn:
    """A running stand-in."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    control_token: str
    http: str
    session: requests.Session

    def control(self, method: str, path: str, **body: Any) -> Any:
        """Use the control endpoint."""
        headers = {"Authorization": f"Bearer {self.control_token}"}
        answer = self.session.request(
            method, f"{self.http}/_control/{path}", json=body or None, headers=headers, timeout=10
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def person(self, key: str) -> dict[str, Any]:
        """Return what the directory has of a person."""
        return dict(self.control("GET", f"people/{key}"))

    def change(self, key: str, **values: Any) -> None:
        """Change a person: roles, groups, enabled, claims, …"""
        self.control("PATCH", f"people/{key}", **values)

    def group(self, key: str) -> str:
        """Return the object id of a group."""
        return str(self.control("GET", f"groups/{key}")["id"])

    def distort(self, **distortion: Any) -> None:
        """Make the next id token wrong: claims, drop, header, forge."""
        self.control("POST", "next-token", **distortion)

    def outage(self, *down: str) -> None:
        """Play an outage of "provider" or "graph"; nothing ends it."""
        self.control("PUT", "outages", down=list(down))

    def counters(self) -> dict[str, int]:
        """Return how often each address was asked."""
        return dict(self.control("GET", "counters"))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def running_standin(data: Path, portal_url: str) -> Iterator[StandIn]:
    """Run a stand-in that sends people back to `portal_url`."""
    http, https = _free_ports(2)
    environment = settings_for(data, http, https, portal_url)
    words = ["--data-dir", str(data), "--http-port", str(http), "--https-port", str(https)]
    process = subprocess.Popen(
        [sys.executable, "-m", "portal.demo.identity", *words, "--portal-url", portal_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            assert waiting.select(timeout=60), "the stand-in did not start within a minute"
        assert process.stdout.readline().strip() == "ready"
        with requests.Session() as session:
            session.trust_env = False
            token = prepare(data).control_token
            yield StandIn(process, environment, token, f"http://localhost:{http}", session)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="session")
def standin_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One stand-in for all tests."""
    with running_standin(tmp_path_factory.mktemp("identity"), PORTAL_URL) as standin:
        yield standin


@pytest.fixture
def standin(standin_process: StandIn) -> Iterator[StandIn]:
    """The stand-in as its data file has it, and a portal that signs people in there."""
    standin_process.control("POST", "reset")
    settings = {
        **security_settings(PORTAL_URL, standin_process.environment["ENTRA_AUTHORITY"], proxies=0),
        **allauth_settings(standin_process.environment),
        "PORTAL_BASE_URL": PORTAL_URL,
        "ALLOWED_HOSTS": ["testserver"],
        **STATIC_FILES,
    }
    with override_settings(**settings):
        yield standin_process


class Browser:
    """A browser without script: Django's test client for the portal, requests for Microsoft."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.portal = Client()
        self.microsoft = requests.Session()
        self.microsoft.trust_env = False

    def begin(self, next_url: str = "", **data: str) -> str:
        """Press "Sign in with Microsoft" and return the address Microsoft is asked at."""
        answer = self.portal.post("/accounts/sign-in/microsoft/", {"next": next_url, **data})
        assert answer.status_code == 302, answer.content.decode()
        return str(answer["Location"])

    def choose(self, address: str, who: str) -> str:
        """Choose an account at Microsoft (none is needed with its session) and return where that leads."""
        page = self.microsoft.get(address, allow_redirects=False, timeout=10)
        if page.status_code == 302:
            return page.headers["Location"]
        answer = self.microsoft.post(address, data={"account": who}, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def come_back(self, address: str) -> Any:
        """Follow Microsoft's redirect to the portal."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == PORTAL_URL
        return self.portal.get(f"{parts.path}?{parts.query}")

    def sign_in(self, who: str, next_url: str = "") -> Any:
        """Sign in and return the portal's answer to the callback."""
        return self.come_back(self.choose(self.begin(next_url), who))

    def is_signed_in(self) -> bool:
        """Whether the portal knows who asks."""
        return self.portal.get("/accounts/sign-in/").status_code == 302

    @property
    def has_session(self) -> bool:
        """Whether the portal keeps anything about this browser."""
        cookie = self.portal.cookies.get("sessionid")
        return bool(cookie and cookie.value)


@pytest.fixture
def browsers(standin: StandIn, db: None) -> Iterator[Callable[[], Browser]]:
    """Open as many browsers as wanted."""
    opened: list[Browser] = []

    def open_one() -> Browser:
        opened.append(Browser(standin))
        return opened[-1]

    yield open_one
    for each in opened:
        each.microsoft.close()


@pytest.fixture
def browser(browsers: Callable[[], Browser]) -> Browser:
    """One browser."""
    return browsers()


def known(standin: StandIn, key: str) -> "Person":
    """Return somebody of the directory as a person the portal knows already, without a role."""
    from portal.accounts.models import Person  # plugins are imported before the models are ready

    found = standin.person(key)
    return Person.objects.create(
        tid=found["tid"], oid=found["id"], name=found["displayName"], email=found["mail"]
    )


def query_of(address: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def replaced(address: str, name: str, value: str) -> str:
    """Return the address with another value for one parameter."""
    assert re.search(rf"[?&]{name}=", address)
    return re.sub(rf"([?&]{name}=)[^&]*", rf"\g<1>{value}", address)
