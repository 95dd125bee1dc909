"""The stand-in answers like Microsoft Graph: shapes, permissions, paging, errors."""

import time
from collections.abc import Iterator
from typing import Any

import msal
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from portal.accounts.outbound import OutboundSession
from portal.demo.identity.directory import Directory, object_id
from tests.identity_fixtures import StandIn


class Client:
    """Asks Graph with a token."""

    def __init__(self, standin: StandIn) -> None:
        env = standin.environment
        self.base = f"{env['GRAPH_URL']}/v1.0"
        self.session = OutboundSession(ca_file=env["ENTRA_CA_FILE"])
        application = msal.ConfidentialClientApplication(
            env["GRAPH_CLIENT_ID"],
            client_credential=env["ENTRA_CLIENT_SECRET"],
            authority=f"{env['ENTRA_GRAPH_AUTHORITY']}/{env['ENTRA_TENANT_ID']}",
            instance_discovery=False,
            http_client=self.session,
        )
        self.token = application.acquire_token_for_client(["https://graph.microsoft.com/.default"])[
            "access_token"
        ]

    def get(self, path: str, *, token: str = "", eventual: bool = False, **parameters: str) -> Any:
        """Ask; `filter` becomes $filter, and so on."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        if eventual:
            headers["ConsistencyLevel"] = "eventual"
        query = {f"${name}": value for name, value in parameters.items()}
        url = path if path.startswith("https://") else self.base + path
        return self.session.get(url, params=query, headers=headers)


@pytest.fixture
def graph(standin: StandIn) -> Iterator[Client]:
    """Graph, with a token of the application."""
    made = Client(standin)
    yield made
    made.session.close()


def names(answer: Any) -> list[str]:
    return [row["displayName"] for row in answer.json()["value"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail eq 'shane.o''neil@northgate.example'", ["Shane O'Neil"]),
        ("startswith(displayName,'Priya')", ["Priya Raman"]),
        ("mail eq 'x' or userPrincipalName eq 'ALICE@northgate.example'", ["Alice Keller"]),
        ("accountEnabled eq false", ["Gordon Price"]),
        ("displayName eq 'this or that'", []),
    ],
)
def test_filter(graph: Client, text: str, found: list[str]) -> None:
    assert names(graph.get("/users", filter=text)) == found


@pytest.mark.parametrize("text", ["mail like 'x'", "mail eq 'x' and id eq 'y'", "mail eq 'o'neil'"])
def test_filter_that_is_not_understood_is_an_error(graph: Client, text: str) -> None:
    answer = graph.get("/users", filter=text)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "Request_UnsupportedQuery"


def test_search_needs_its_header_and_finds_beginnings_of_words(graph: Client) -> None:
    text = '"displayName:pri ram" OR "mail:nobody"'
    assert graph.get("/users", search=text).status_code == 400
    assert names(graph.get("/users", search=text, eventual=True)) == ["Priya Raman"]
    assert graph.get("/users", search="priya", eventual=True).status_code == 400


def test_fields_are_those_selected(graph: Client) -> None:
    some = graph.get("/users", top="1").json()["value"][0]
    assert "accountEnabled" not in some
    chosen = graph.get("/users", top="1", select="id,accountEnabled").json()["value"][0]
    assert set(chosen) == {"id", "accountEnabled"}


def test_pages_follow_each_other(graph: Client) -> None:
    answer, seen = graph.get("/users", top="30", select="id"), []
    while True:
        body = answer.json()
        seen += [row["id"] for row in body["value"]]
        if "@odata.nextLink" not in body:
            break
        answer = graph.get(body["@odata.nextLink"])
    assert len(seen) == len(set(seen)) == len(Directory().home_people())


def test_foreign_people_are_not_in_the_directory(graph: Client) -> None:
    assert graph.get(f"/users/{object_id('person', 'mallory')}").status_code == 404
    assert graph.get("/users", filter="displayName eq 'Alice Keller'").json()["value"][0]["id"] == object_id(
        "person", "alice"
    )


def test_members_are_people_and_groups(graph: Client) -> None:
    everybody = object_id("group", "all-staff")
    direct = graph.get(f"/groups/{everybody}/members").json()["value"]
    assert {row["@odata.type"] for row in direct} == {"#microsoft.graph.group"}
    assert graph.get(f"/groups/{everybody}/members/microsoft.graph.user").json()["value"] == []
    people = graph.get(f"/groups/{everybody}/transitiveMembers/microsoft.graph.user", top="999").json()[
        "value"
    ]
    assert {row["@odata.type"] for row in people} == {"#microsoft.graph.user"}
    assert (
        graph.get(f"/users/{object_id('person', 'bob')}/memberOf").json()["value"][0]["displayName"]
        == "Engineering"
    )
    assert len(graph.get(f"/users/{object_id('person', 'bob')}/transitiveMemberOf").json()["value"]) == 2


def test_what_is_not_there_is_an_error_in_graphs_shape(graph: Client) -> None:
    for path in ("/users/none", "/groups/none", "/groups/none/members", "/users/none/memberOf"):
        answer = graph.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "Request_ResourceNotFound"


def test_token_is_verified(graph: Client, standin: StandIn) -> None:
    now = int(time.time())
    good = {
        "aud": "https://graph.microsoft.com",
        "iss": f"{standin.environment['GRAPH_URL']}/{standin.environment['ENTRA_TENANT_ID']}/v2.0",
        "exp": now + 60,
        "roles": ["User.Read.All"],
    }
    forged = jwt.encode({"alg": "RS256"}, good, RSAKey.generate_key(2048))
    for token in ("x", forged, "a.b.c"):
        answer = graph.get("/users", token=token)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert graph.session.get(f"{graph.base}/users").status_code == 401


def test_registration_that_signs_people_in_reads_no_directory(graph: Client, standin: StandIn) -> None:
    env = standin.environment
    answer = graph.session.post(
        f"{env['ENTRA_GRAPH_AUTHORITY']}/{env['ENTRA_TENANT_ID']}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": env["ENTRA_CLIENT_ID"],
            "client_secret": env["ENTRA_CLIENT_SECRET"],
            "scope": "https://graph.microsoft.com/.default",
        },
    )

    assert answer.status_code == 400
    assert answer.json()["error"] == "unauthorized_client"


def test_delta_tells_changes_and_removals(graph: Client, standin: StandIn) -> None:
    link = graph.get("/users/delta", select="id,displayName,accountEnabled").json()["@odata.deltaLink"]
    assert graph.get(link).json()["value"] == []
    standin.change("carol", enabled=False)
    standin.control("DELETE", "people/dave")

    rows = graph.get(link).json()["value"]

    assert [row.get("@removed") for row in rows] == [None, {"reason": "changed"}]
    assert graph.get(f"{graph.base}/users/delta?$deltatoken=x").json()["error"]["code"] == "syncStateNotFound"


def test_directory_is_that_of_the_prototype() -> None:
    directory = Directory()

    people = directory.home_people()
    assert len(people) >= 60
    assert len({each.oid for each in people}) == len({each.email for each in people}) == len(people)
    assert {"Elena Marsh", "Priya Raman", "Daniel Okafor", "Ines Moreau", "Grace Adeyemi"} <= {
        p.name for p in people
    }
    assert sum(not group.key.startswith("share-") for group in directory.groups.values()) >= 15
