"""A small site of sample pages, so that the common parts are tested without any area of the portal."""

import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.test import Client, override_settings

from portal.web.conf import security_settings


def _templates() -> list[dict[str, Any]]:
    here = Path(__file__).parent
    return [{**engine, "DIRS": [here / "templates", *engine["DIRS"]]} for engine in settings.TEMPLATES]


def site(base_url: str = "http://127.0.0.1:8000") -> override_settings:
    """Return the override that serves the sample pages under the settings of a portal at `base_url`."""
    chosen = security_settings(base_url)
    # The sample pages bring their own person.
    inner = [name for name in chosen["MIDDLEWARE"] if "account" not in name]
    return override_settings(
        **{
            **chosen,
            "MIDDLEWARE": inner,
            "ROOT_URLCONF": "tests.web.sample",
            "ALLOWED_HOSTS": ["127.0.0.1", "testserver"],
            "LOGIN_URL": "/sign-in/",
            "TEMPLATES": _templates(),
            "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
            "SHELL": {
                "organization": "tests.web.sample.organization",
                "rights": "tests.web.sample.rights",
                "counts": (),
            },
        }
    )


@pytest.fixture
def sample() -> Iterator[Client]:
    """A browser without script on the sample pages."""
    with site():
        yield Client()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def sample_url() -> Iterator[str]:
    """The address of a running server of the sample pages."""
    with site():
        server = make_server("127.0.0.1", 0, get_wsgi_application(), _Server, _Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
