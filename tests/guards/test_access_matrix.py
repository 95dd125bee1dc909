"""Every address × who × whose × how: the status of access_table.py, and on every answer the headers and cookies."""

import re
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client, override_settings
from django.urls import resolve, reverse

from audit.models import AuditEntry
from portal.accounts.policy import STEP_UP, may
from portal.web.conf import security_settings
from portal.web.middleware import PERMISSIONS_POLICY
from tests.factories import signed_in
from tests.guards import access_world
from tests.guards.access_table import HOUSE, PUBLIC, ROWS, Row
from tests.guards.access_world import Thing, World, undone
from tests.guards.addresses import addresses
from tests.identity_fixtures import STATIC_FILES

SITE = "https://testserver"
HTMX = {"HX-Request": "true", "HX-Current-URL": f"{SITE}/projects/"}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """The people and things, made once; and a portal behind https, where cookies and headers are at their strictest."""
    strict = {**security_settings(SITE, proxies=0), **STATIC_FILES, "ALLOWED_HOSTS": ["testserver"]}
    with django_db_blocker.unblock(), override_settings(**strict), undone():
        yield access_world.build()


@pytest.fixture(scope="module")
def browsers(world: World) -> dict[str, Client]:
    """A browser for each person, and one for a visitor."""
    found = {who: signed_in(person) for who, person in world.people.items()}
    return {**found, "": Client()} | {"quiet": Client(raise_request_exception=False)}


def test_every_address_has_a_row() -> None:
    assert {row.name for row in ROWS} | set(PUBLIC) == set(addresses())
    assert len({row.address for row in ROWS}) == len(ROWS)


def test_at_most_six_addresses_need_no_session() -> None:
    assert len(PUBLIC) <= 6


def things_of(row: Row, world: World) -> dict[str, Thing]:
    """Return what the row's address is tried with."""
    return world.things[row.object] if row.object != "-" else {"-": Thing({})}


def address(row: Row, thing: Thing) -> str:
    """Return the address for one thing."""
    arguments = dict(thing.arguments)
    query = arguments.pop("?", "")
    if "?" in row.address:
        return f"{reverse(row.name)}?{row.address.partition('?')[2]}={arguments['code']}"
    return reverse(row.name, kwargs=arguments) + (f"?{query}" if query else "")


def ask(client: Client, method: str, url: str, *, htmx: bool = False, **data: Any) -> Any:
    """Send one request and check what every answer must carry."""
    send: Callable[..., Any] = getattr(client, method.lower())
    before = {name: cookie.value for name, cookie in client.cookies.items()}
    response = send(url, data, secure=True, headers=HTMX if htmx else {})
    check_headers(response)
    check_cookies(response.cookies)
    for name in set(client.cookies) - set(before):
        del client.cookies[name]
    return response


def check_headers(response: Any) -> None:
    """Check the full set, on every status."""
    policy = dict(part.strip().partition(" ")[::2] for part in response["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["object-src"] == "'none'"
    assert re.fullmatch(r"('nonce-[^']+' )?'strict-dynamic'", policy["script-src"])
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Permissions-Policy"] == PERMISSIONS_POLICY
    assert response["Reporting-Endpoints"]
    assert response["Cache-Control"].startswith("no-store") or "no-store" in response["Cache-Control"]
    assert {"HX-Request", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}
    assert re.fullmatch(r"[0-9a-f-]{36}", response["X-Request-ID"])
    assert not response.has_header("Server")


def check_cookies(cookies: SimpleCookie) -> None:
    """Check the flags; the two that give access have the prefix that binds them to this host."""
    for name, cookie in cookies.items():
        assert name in {"__Host-sessionid", "__Host-csrftoken", "theme", "keys"}
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
        assert cookie["samesite"] == "Lax"
        assert cookie["secure"] or not cookie.value
        assert cookie["httponly"] or not cookie.value


def body_of(response: Any) -> str:
    """Return the text of an answer, streamed or not."""
    content: bytes = response.getvalue() if response.streaming else response.content
    return content.decode()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_reading(row: Row, world: World, browsers: dict[str, Client]) -> None:
    in_part: set[int] = set()  # htmx is tried once for each status
    for whose, thing in things_of(row, world).items():
        url = address(row, thing)
        for who, roles in world.roles.items():
            expected = row.expected("GET", roles, thing.toward.get(who, ""))
            answer = ask(browsers[who], "GET", url)
            assert (who, whose, answer.status_code) == (who, whose, expected)
            text = body_of(answer)
            if not set(roles) & set(HOUSE):
                assert not leaks(text, who, world), f"{who} reads of a stranger's project at {url}"
            if expected in in_part:
                continue
            in_part.add(expected)
            # A redirect is to a page that has the part, or loads a whole page.
            wanted = (200, 204) if expected == 302 else (expected,)
            assert ask(browsers[who], "GET", url, htmx=True).status_code in wanted
            assert ask(browsers[who], "HEAD", url).status_code == 405


def leaks(text: str, who: str, world: World) -> bool:
    """Whether the name of a project stands in a text that is not for the person."""
    return any(
        each.name in text or each.code in text
        for whose, each in world.projects.items()
        if who not in world.things["project"][whose].toward
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_changing(row: Row, world: World, browsers: dict[str, Client]) -> None:
    in_part: set[int] = set()  # htmx is tried once for each status
    for whose, thing in things_of(row, world).items():
        url = address(row, thing)
        for who, roles in world.roles.items():
            expected = row.expected("POST", roles, thing.toward.get(who, ""))
            for htmx in (False, True) if expected not in in_part else (False,):
                in_part.add(expected)
                with undone():
                    refused = AuditEntry.objects.filter(action="access.refused").count()
                    answer = ask(browsers[who], "POST", url, htmx=htmx)
                    wanted = 204 if htmx and expected == 302 else expected
                    assert (who, whose, answer.status_code) == (who, whose, wanted)
                    if expected == 403:
                        assert AuditEntry.objects.filter(action="access.refused").count() == refused + 1
                if expected == 302 and row.name == "accounts:signout":
                    browsers[who] = signed_in(world.people[who])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_without_a_role_one_is_sent_to_sign_in(
    row: Row, method: str, world: World, browsers: dict[str, Client]
) -> None:
    urls = [address(row, thing) for thing in things_of(row, world).values()]
    for url, client in [(url, browsers[""]) for url in urls] + [(urls[0], signed_in(world.people["nora"]))]:
        answer = ask(client, method, url)
        assert answer.status_code == 302
        there = urlsplit(answer["Location"])
        assert there.path == reverse("accounts:signin")
        assert parse_qs(there.query).get("next", [""]) == ["" if method == "POST" else url]
        in_part = ask(client, method, url, htmx=True)
        assert in_part.status_code == 204
        assert in_part["HX-Redirect"] == f"{reverse('accounts:signin')}?next=%2Fprojects%2F"
        assert not in_part.content


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_what_is_no_form_of_ours_changes_nothing(row: Row, world: World, browsers: dict[str, Client]) -> None:
    url = address(row, next(iter(things_of(row, world).values())))
    alice = Client(enforce_csrf_checks=True)
    alice.cookies = browsers["alice"].cookies
    assert ask(alice, "POST", url).status_code == 403
    assert "Load the page again" in body_of(ask(alice, "POST", url))
    cross = browsers["alice"].post(url, secure=True, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    check_headers(cross)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_a_failure_carries_the_headers_and_tells_nothing(
    row: Row, world: World, browsers: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret of the failure")

    monkeypatch.setattr("portal.accounts.middleware.is_over", fail)
    quiet = browsers["quiet"]
    quiet.cookies = browsers["alice"].cookies
    url = address(row, next(iter(things_of(row, world).values())))
    for htmx in (False, True):
        answer = ask(quiet, "GET", url, htmx=htmx)
        assert answer.status_code == 500
        assert "secret" not in body_of(answer)


def test_another_host_is_refused(browsers: dict[str, Client]) -> None:
    answer = browsers[""].get("/", secure=True, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    check_headers(answer)


@pytest.mark.parametrize("name", PUBLIC)
def test_what_needs_no_session(name: str, world: World, browsers: dict[str, Client]) -> None:
    for who, client in (("visitor", browsers[""]), ("person", browsers["bob"])):
        read, changed = PUBLIC[name][who]
        assert ask(client, "GET", reverse(name)).status_code == read
        with undone():
            assert ask(client, "POST", reverse(name)).status_code == changed


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_no_other_method_gets_in(row: Row, world: World, browsers: dict[str, Client]) -> None:
    url = address(row, next(iter(things_of(row, world).values())))
    before = AuditEntry.objects.count()
    for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        answer = browsers["alice"].generic(method, url, secure=True)
        assert answer.status_code in (403, 404, 405), method  # without a token; not hers; not allowed
        check_headers(answer)
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in STEP_UP], ids=lambda row: row.address)
def test_what_is_guarded_is_not_had_by_asking_directly(row: Row, world: World) -> None:
    alice, before = signed_in(world.people["alice"], has_confirmed=False), AuditEntry.objects.count()
    for url in (address(row, thing) for thing in things_of(row, world).values()):
        for method in ("GET", "POST"):
            for htmx in (False, True):
                answer = ask(alice, method, url, htmx=htmx, name="x", confirm="x", reason="x")
                assert answer.status_code == (204 if htmx else 302)
                assert answer["HX-Redirect" if htmx else "Location"].startswith(reverse("accounts:confirm"))
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.address)
def test_the_door_asks_for_the_right_its_view_declares(row: Row, world: World) -> None:
    thing = next(iter(things_of(row, world).values()))
    view = resolve(urlsplit(address(row, thing)).path).func
    if row.door == "*":
        assert not hasattr(view, "required_right")
    else:
        letters = {
            "A": "admin",
            "U": "auditor",
            "O": "operator",
            "G": "group_admin",
            "W": "owner",
            "M": "member",
        }
        right = view.required_right  # type: ignore[attr-defined]
        assert row.door == "".join(letter for letter, role in letters.items() if may(right, [role]))
