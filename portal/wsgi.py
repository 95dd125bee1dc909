"""The web process: the Gateway API first, in a small callable; everything else goes to Django."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

pages = get_wsgi_application()

# After Django is set up: both read its settings.
from portal import celery, checks  # noqa: E402, F401
from portal.decision import renewal  # noqa: E402
from portal.gateway import http  # noqa: E402
from portal.lib import drain  # noqa: E402

checks.require_start()
renewal.start()

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


def application(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Answer /gateway/v1/, /livez and /readyz here; hand the rest to Django."""
    if drain.is_draining():
        start_response = _closing(start_response)
    path = environ["PATH_INFO"]
    if path.startswith("/gateway/v1/") or path in ("/livez", "/readyz"):
        return http.answer(environ, start_response)
    return pages(environ, start_response)


def _closing(start_response: "StartResponse") -> Any:
    """Let the answer end its connection: the next request is to find another process."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("Connection", "close")], *more)

    return start
