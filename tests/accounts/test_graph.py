"""Questions to the directory, and what happens when it does not answer."""

import uuid
from pathlib import Path
from uuid import UUID

import pytest
from django.test import override_settings

from portal.accounts import changes, graph
from portal.accounts.graph import DirectoryUnavailable
from portal.lib.errors import RuleBroken
from tests.identity_fixtures import StandIn

pytestmark = pytest.mark.usefixtures("standin")


def oid(standin: StandIn, key: str) -> UUID:
    return UUID(standin.person(key)["id"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("priya", "Priya Raman"),
        ("Priya Ram", "Priya Raman"),
        ("raman", "Priya Raman"),
        ("priya.raman@north", "Priya Raman"),
        ("o'neil", "Shane O'Neil"),
        ('pri"ya\\', None),
    ],
)
def test_people_are_found_by_the_beginnings_of_words(text: str, found: str | None) -> None:
    assert [each.name for each in graph.search_people(text)] == ([found] if found else [])


def test_search_needs_two_letters_and_gives_a_few() -> None:
    assert graph.search_people("p") == []
    assert graph.search_people("  ") == []
    assert len(graph.search_people("northgate")) <= 20


def test_disabled_people_are_not_offered() -> None:
    assert graph.search_people("Gordon Price") == []


def test_person_is_described() -> None:
    priya = graph.search_people("priya")[0]

    assert priya.email == "priya.raman@northgate.example"
    assert (priya.title, priya.department) == ("Claims operations lead", "Claims")
    assert priya.is_enabled
    assert not priya.is_guest
    assert graph.person(priya.oid) == priya


def test_groups_are_found() -> None:
    assert [each.name for each in graph.search_groups("claims")] == ["APP-Claims-Letters", "Claims"]
    claims = graph.search_groups("claims")[1]
    assert graph.group(claims.oid) == claims
    assert graph.search_groups("c") == []


def test_nobody_has_an_unknown_object_id() -> None:
    assert graph.person(uuid.uuid4()) is None
    assert graph.group(uuid.uuid4()) is None


@pytest.mark.parametrize("address", ["shane.o'neil@northgate.example", " ALICE@northgate.example "])
def test_one_person_has_an_address(address: str) -> None:
    assert graph.person_by_mail(address).email == address.strip().lower()


def test_address_of_nobody_and_of_several_is_an_error(standin: StandIn) -> None:
    for address in ("nobody@northgate.example", "", "' or accountEnabled eq true or mail eq '"):
        with pytest.raises(RuleBroken, match="Nobody"):
            graph.person_by_mail(address)
    standin.change("dave", email="bob@northgate.example")
    with pytest.raises(RuleBroken, match="Several"):
        graph.person_by_mail("bob@northgate.example")


def test_groups_of_a_person_include_nested_and_many(standin: StandIn) -> None:
    bobs = graph.groups_of(oid(standin, "bob"))
    assert bobs == {UUID(standin.group("engineering")), UUID(standin.group("all-staff"))}
    assert len(graph.groups_of(oid(standin, "omar"))) == 252


def test_members_come_page_by_page(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "PAGE", 7)
    everybody = UUID(standin.group("all-staff"))

    found = list(graph.members_of_group(everybody))

    assert len(found) == len({each.oid for each in found}) > 60
    assert standin.counters()[f"/v1.0/groups/{everybody}/transitiveMembers/microsoft.graph.user"] > 5
    assert list(graph.members_of_group(everybody, transitive=False)) == []
    with pytest.raises(LookupError):
        list(graph.members_of_group(uuid.uuid4()))


def read_all(link: str = "") -> tuple[dict[str, bool], set[uuid.UUID], str]:
    """Return everybody from `link` on with whether they are enabled, who is gone, and the next link."""
    people: dict[str, bool] = {}
    gone: set[UUID] = set()
    while True:
        page = changes.people_page(link)
        people |= {each.name: each.is_enabled for each in page.people}
        gone |= page.gone
        link = page.link
        if page.is_last:
            return people, gone, link


def test_changes_are_read_from_where_the_last_reading_ended(standin: StandIn) -> None:
    everybody, gone, link = read_all()
    assert len(everybody) > 60
    assert gone == set()
    assert read_all(link)[0] == {}
    dave = oid(standin, "dave")
    standin.change("carol", enabled=False)
    standin.control("DELETE", "people/dave")

    changed, gone, link = read_all(link)

    assert changed == {"Carol Jensen": False}
    assert gone == {dave}
    assert read_all(link)[:2] == ({}, set())


def test_person_of_whom_graph_tells_only_what_changed_is_read(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol, nobody = oid(standin, "carol"), uuid.uuid4()
    rows = [{"id": str(carol), "jobTitle": "Lead"}, {"id": str(nobody), "jobTitle": "Ghost"}]
    monkeypatch.setattr(graph, "own_link", lambda link: link)
    real = graph.call
    monkeypatch.setattr(
        graph,
        "call",
        lambda method, url, **more: (
            {"value": rows, "@odata.deltaLink": "next"} if url == "partial" else real(method, url, **more)
        ),
    )

    page = changes.people_page("partial")

    assert [(each.name, each.is_enabled) for each in page.people] == [("Carol Jensen", True)]
    assert page.gone == {nobody}


def test_changes_of_groups_name_who_was_taken_out(standin: StandIn) -> None:
    link = changes.groups_from_now()
    assert changes.changed_groups(link).groups == frozenset()
    standin.change("carol", groups=["legal"])

    found = changes.changed_groups(link)

    assert uuid.UUID(standin.group("legal")) in found.groups
    assert found.taken_out == {oid(standin, "carol")}
    assert changes.changed_groups(found.link).groups == frozenset()
    assert uuid.UUID(standin.group("claims")) in changes.nested_groups(uuid.UUID(standin.group("all-staff")))


def test_forgotten_state_means_to_start_again(standin: StandIn) -> None:
    link = read_all()[2]
    standin.control("POST", "forget-changes")

    with pytest.raises(graph.StartAgain):
        changes.people_page(link)


def test_token_never_goes_to_another_host() -> None:
    with pytest.raises(DirectoryUnavailable, match="another host"):
        changes.people_page("https://evil.example/v1.0/users/delta?$deltatoken=1")


def test_token_is_asked_for_once(standin: StandIn) -> None:
    graph.search_people("priya")
    before = standin.counters().get("/oauth2/v2.0/token", 0)

    graph.search_people("bob")

    assert standin.counters().get("/oauth2/v2.0/token", 0) == before


def test_secret_does_as_well_as_a_certificate(standin: StandIn) -> None:
    secret = standin.environment["ENTRA_CLIENT_SECRET"]
    with override_settings(GRAPH_CERTIFICATE="", GRAPH_PRIVATE_KEY="", GRAPH_CLIENT_SECRET=secret):
        assert graph.search_people("priya")


def test_silence_is_told_in_plain_words(standin: StandIn, tmp_path: Path) -> None:
    with (
        override_settings(GRAPH_URL="https://localhost:9"),
        pytest.raises(DirectoryUnavailable, match="not answer"),
    ):
        graph.search_people("priya")
    with (
        override_settings(ENTRA_GRAPH_AUTHORITY="https://localhost:9"),
        pytest.raises(DirectoryUnavailable, match="does not answer"),
    ):
        graph.search_people("priya")
    with (
        override_settings(GRAPH_CERTIFICATE="", GRAPH_CLIENT_SECRET="wrong"),
        pytest.raises(DirectoryUnavailable, match="invalid_client"),
    ):
        graph.search_people("priya")
    with override_settings(GRAPH_CLIENT_ID=""), pytest.raises(DirectoryUnavailable, match="No directory"):
        graph.search_people("priya")
    with (
        override_settings(GRAPH_CERTIFICATE=str(tmp_path / "none.pem")),
        pytest.raises(DirectoryUnavailable, match="certificate"),
    ):
        graph.search_people("priya")
    standin.outage("graph")
    with pytest.raises(DirectoryUnavailable, match="503"):
        graph.search_people("priya")


def test_registration_without_permission_is_told(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph._Client, "token", lambda self: "no-token")

    with pytest.raises(DirectoryUnavailable, match=r"User\.Read\.All"):
        graph.search_people("priya")
