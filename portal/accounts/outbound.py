"""Calls to Microsoft: with a time limit, the right certificate authority, and no redirects."""

from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT = 5.0  # seconds, to connect and for each read


class OutboundSession(requests.Session):
    """A requests session for one purpose.

    `ca_file` replaces the certificate authorities of the system (for a stand-in with its own). It is passed
    with every request, because requests lets REQUESTS_CA_BUNDLE overrule what a session says.
    """

    def __init__(self, *, ca_file: str = "", timeout: float = TIMEOUT) -> None:
        super().__init__()
        self._ca_file = ca_file
        self._timeout = timeout

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; raise requests.RequestException when there is no answer in time."""
        kwargs.setdefault("timeout", self._timeout)
        kwargs["allow_redirects"] = False  # secrets and tokens go where they were sent, nowhere else
        if self._ca_file and kwargs.get("verify") in (None, True):
            kwargs["verify"] = self._ca_file
        if _is_loopback(str(url)):
            kwargs.setdefault(
                "proxies", {"http": "", "https": ""}
            )  # a proxy cannot reach this machine's loopback
        return super().request(method, url, *args, **kwargs)


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
