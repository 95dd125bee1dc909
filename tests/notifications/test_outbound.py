"""Webhooks reach public addresses over TLS, whatever is typed, and nothing inside."""

import socket
from typing import Any

import pytest

from portal.lib.errors import RuleBroken
from portal.notifications import outbound
from portal.notifications.webhooks import add_webhook
from tests.factories import ACTOR

TYPED = [
    "http://hooks.example.com/in",
    "ftp://hooks.example.com/in",
    "https:///in",
    "https://user:word@hooks.example.com/in",
    "https://hooks.example.com:99999/in",
    "https://hooks.example.com/i n",
    "javascript:alert(1)",
]
INSIDE = [
    "127.0.0.1",
    "10.0.0.8",
    "169.254.169.254",
    "100.64.0.1",
    "192.168.1.1",
    "0.0.0.0",  # noqa: S104
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "fe80::1%lo",
    "fd00::1",
    "::ffff:10.0.0.8",
    "64:ff9b::a00:8",
    "2002:a00:8::1",
]


@pytest.mark.parametrize("address", TYPED)
def test_what_is_no_address_over_tls_is_refused(clean_state: None, address: str) -> None:
    with pytest.raises(RuleBroken):
        add_webhook(name="Duty", format="standard", address=address, kinds=[], actor=ACTOR)


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_refused(monkeypatch: Any, address: str) -> None:
    found = [(2, 1, 6, "", ("93.184.215.14", 443)), (2, 1, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(outbound.Refused, match="private"):
        outbound.post("https://hooks.example.com/in", b"{}", {})


@pytest.mark.parametrize(
    "address", ["https://127.1/", "https://2130706433/", "https://[::1]/", "https://localhost/"]
)
def test_an_address_inside_is_refused_in_every_notation(address: str) -> None:
    with pytest.raises((outbound.Refused, outbound.NotDelivered), match=r"private|resolved"):
        outbound.post(address, b"{}", {})


def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: Any) -> None:
    """A name that resolves inside the second time (DNS rebinding) is not resolved a second time."""
    answers = [[(2, 1, 6, "", ("93.184.215.14", 443))], [(2, 1, 6, "", ("127.0.0.1", 443))]]
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return answers.pop(0)

    reached: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> Any:
        reached.append(address)
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(outbound.NotDelivered):
        outbound.post("https://hooks.example.com/in", b"{}", {})
    assert asked == ["hooks.example.com"]
    assert reached == [("93.184.215.14", 443)]


def test_only_hosts_that_the_operator_allows_are_reached(settings: Any) -> None:
    settings.WEBHOOK_HOSTS = ("hooks.slack.com", ".logic.azure.com")
    for host in ("hooks.slack.com", "prod-1.westeurope.logic.azure.com"):
        outbound.checked(f"https://{host}/in")
    for host in ("slack.com", "evil-hooks.slack.com", "logic.azure.com.evil.example", "logic.azure.com"):
        with pytest.raises(outbound.Refused, match="PORTAL_WEBHOOK_HOSTS"):
            outbound.checked(f"https://{host}/in")


@pytest.mark.parametrize(
    ("chat", "host"), [("slack", "hooks.example.com"), ("teams", "evil-logic.azure.com")]
)
def test_a_chat_is_where_its_maker_has_it(clean_state: None, chat: str, host: str) -> None:
    with pytest.raises(RuleBroken, match="no address of"):
        add_webhook(name="Chat", format=chat, address=f"https://{host}/in", kinds=[], actor=ACTOR)
