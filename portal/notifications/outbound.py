"""Posting to an address that somebody typed: to public addresses only, where it resolved, and no further.

The name is resolved once, every address it has must be public, and the connection goes to one of those: a name
that resolves differently a moment later reaches nothing inside (REQ-AUD-14). The certificate is checked against
the name all the same. Redirects are not followed, answers are not read.
"""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import urllib3
from django.conf import settings

TIMEOUT = 5.0  # seconds, to connect and for the answer to begin
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """The portal does not post there; the text says why."""


class NotDelivered(Exception):
    """The receiver did not take it; the text says what happened. `is_final`: it says it never will."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    port: int
    path: str


def checked(url: str) -> str:
    """Return the address, or raise Refused when its form alone forbids it; nothing is looked up."""
    _place(url)
    return url


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send `body` and return the status of 2xx. Raise Refused or NotDelivered."""
    place = _place(url)
    address = _address(place)
    timeout = urllib3.Timeout(connect=TIMEOUT, read=TIMEOUT)
    pool: urllib3.HTTPConnectionPool
    if place.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address,
            place.port,
            timeout=timeout,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=settings.WEBHOOK_CA_FILE or None,
            server_hostname=place.host,
            assert_hostname=place.host,
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, place.port, timeout=timeout, retries=False)
    default = 443 if place.scheme == "https" else 80
    host = f"[{place.host}]" if ":" in place.host else place.host
    named = host if place.port == default else f"{host}:{place.port}"
    try:
        with pool:
            answer = pool.urlopen(
                "POST",
                place.path,
                body=body,
                headers={**headers, "Host": named, "Connection": "close"},
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
            status = int(answer.status)
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise NotDelivered(_in_words(error)) from error
    if not 200 <= status < 300:
        raise NotDelivered(f"The receiver answered {status}.", is_final=status == 410)
    return status


def _place(url: str) -> _Place:
    try:
        parts: SplitResult = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode()
    except ValueError:  # a UnicodeError is one too
        raise Refused("This is no address. Write it like https://hooks.example.com/alerts.") from None
    schemes = ("https", "http") if settings.WEBHOOK_PRIVATE else ("https",)
    if parts.scheme not in schemes or not host:
        raise Refused("The address has to begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise Refused("Leave name and password out of the address.")
    allowed = settings.WEBHOOK_HOSTS
    if allowed and not any(host == each or (each[0] == "." and host.endswith(each)) for each in allowed):
        raise Refused(f"{host} is not among the hosts that the operator allows (PORTAL_WEBHOOK_HOSTS).")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(character <= " " for character in path):
        raise Refused("Write the path of the address in ASCII, without spaces.")
    return _Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _address(place: _Place) -> str:
    """Return the address to connect to, after every address of the name was looked at."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError:
        raise NotDelivered(f"{place.host} cannot be resolved.") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not settings.WEBHOOK_PRIVATE and not all(is_public(each) for each in addresses):
        raise Refused(f"{place.host} leads to a private address.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an address is reachable for everybody, whatever notation hides an inner one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(found.packed[-4:])
        if inner is not None and not is_public(str(inner)):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _in_words(error: BaseException) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"No answer within {TIMEOUT:.0f} seconds."
    if isinstance(error, urllib3.exceptions.SSLError):
        return "The certificate of the receiver does not hold."
    return "The receiver cannot be reached."
