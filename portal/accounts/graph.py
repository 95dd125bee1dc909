"""Microsoft Graph, as the application itself: who exists, and who belongs to which group.

Needs the application permissions User.Read.All and GroupMember.Read.All. A registration of its own keeps these
rights away from the one that signs people in.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msal
import requests

from portal.accounts.conf import microsoft
from portal.accounts.outbound import OutboundSession
from portal.lib.errors import RuleBroken, Unavailable

SCOPE = ["https://graph.microsoft.com/.default"]
FOUND = 20  # results of a search
PAGE = 999  # rows of a page of members: the most Graph gives
PERSON_FIELDS = "id,displayName,mail,userPrincipalName,jobTitle,department,accountEnabled,userType"
GROUP_FIELDS = "id,displayName,description"
ADVANCED = {"ConsistencyLevel": "eventual"}  # what $search and casts ask for


class DirectoryUnavailable(Unavailable):
    """The directory gave no answer; the text says what to do."""


class StartAgain(Exception):
    """Graph has forgotten the state of a delta query: read everything anew."""


@dataclass(frozen=True, slots=True)
class DirectoryPerson:
    """A person of the directory."""

    oid: UUID
    name: str
    email: str
    title: str = ""
    department: str = ""
    is_enabled: bool = True
    is_guest: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryGroup:
    """A group of the directory."""

    oid: UUID
    name: str
    description: str = ""


def search_people(text: str) -> list[DirectoryPerson]:
    """Return enabled people whose name or address has words beginning with those of `text`, a few of them."""
    wanted = _searchable(text)
    if not wanted:
        return []
    fields = ("displayName", "mail", "userPrincipalName")
    parameters = {
        "$search": " OR ".join(f'"{field}:{wanted}"' for field in fields),
        "$filter": "accountEnabled eq true",
        "$count": "true",
        "$select": PERSON_FIELDS,
        "$top": str(FOUND),
    }
    return [person_of_row(row) for row in get("/users", parameters)["value"]]


def search_groups(text: str) -> list[DirectoryGroup]:
    """Return groups whose name has words beginning with those of `text`, a few of them."""
    wanted = _searchable(text)
    if not wanted:
        return []
    parameters = {
        "$search": f'"displayName:{wanted}"',
        "$count": "true",
        "$select": GROUP_FIELDS,
        "$top": str(FOUND),
    }
    return [_group(row) for row in get("/groups", parameters)["value"]]


def person(oid: UUID) -> DirectoryPerson | None:
    """Return the person with an object id, if the directory has one."""
    row = get(f"/users/{oid}", {"$select": PERSON_FIELDS}, may_be_absent=True)
    return person_of_row(row) if row else None


def group(oid: UUID) -> DirectoryGroup | None:
    """Return the group with an object id, if the directory has one."""
    row = get(f"/groups/{oid}", {"$select": GROUP_FIELDS}, may_be_absent=True)
    return _group(row) if row else None


def person_by_mail(address: str) -> DirectoryPerson:
    """Return the one person with an address; raise RuleBroken when there is none or more than one."""
    quoted = address.strip().replace("'", "''")
    parameters = {
        "$filter": f"mail eq '{quoted}' or userPrincipalName eq '{quoted}'",
        "$select": PERSON_FIELDS,
        "$top": "2",
    }
    rows = get("/users", parameters)["value"] if quoted else []
    if not rows:
        raise RuleBroken(f"Nobody in the directory has the address {address}.", field="email")
    if len(rows) > 1:
        raise RuleBroken(f"Several people in the directory have the address {address}. Name the object id.")
    return person_of_row(rows[0])


def groups_of(oid: UUID) -> frozenset[UUID]:
    """Return the ids of all groups of a person, nested ones included; none for somebody who is not there."""
    answer = call(
        "POST",
        f"{_base()}/users/{oid}/getMemberObjects",
        json={"securityEnabledOnly": False},
        may_be_absent=True,
    )
    return frozenset(UUID(each) for each in answer["value"]) if answer else frozenset()


def members_of_group(oid: UUID, *, transitive: bool = True) -> Iterator[DirectoryPerson]:
    """Yield the people of a group, page by page; raise LookupError when the directory has no such group."""
    kind = "transitiveMembers" if transitive else "members"
    path = f"/groups/{oid}/{kind}/microsoft.graph.user"
    parameters = {"$select": PERSON_FIELDS, "$count": "true", "$top": str(PAGE)}
    answer = get(path, parameters, may_be_absent=True)
    if answer is None:
        raise LookupError(f"The directory has no group {oid}.")
    for row in _rows(answer):
        yield person_of_row(row)


def _rows(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an answer and of the pages after it; `answer` ends as the last page."""
    yield from answer["value"]
    while "@odata.nextLink" in answer:
        page = call("GET", own_link(answer["@odata.nextLink"]))
        answer.clear()
        answer.update(page)
        yield from answer["value"]


def _base() -> str:
    return f"{microsoft.graph_url}/v1.0"


def own_link(link: str) -> str:
    """Return a link that Graph gave, provided it leads to Graph."""
    if urlsplit(link)[:2] != urlsplit(microsoft.graph_url)[:2]:
        raise DirectoryUnavailable("Microsoft Graph named a page on another host.")
    return link


def get(path: str, parameters: dict[str, str], *, may_be_absent: bool = False) -> Any:
    """Ask for a path of Graph; None for what is absent, where that may be."""
    return call("GET", _base() + path, params=parameters, may_be_absent=may_be_absent)


def call(method: str, url: str, *, may_be_absent: bool = False, **kwargs: Any) -> Any:
    """Send one request as the application; raise DirectoryUnavailable, or StartAgain for a delta that is forgotten."""
    client = _client()
    headers = {"Authorization": f"Bearer {client.token()}", **ADVANCED}
    try:
        with OutboundSession(ca_file=microsoft.ca_file) as session:
            answer = session.request(method, url, headers=headers, **kwargs)
            if answer.status_code == 404 and may_be_absent:
                return None
            if answer.ok:
                return answer.json()
            code = _error_code(answer)
    except (requests.RequestException, ValueError) as error:
        raise DirectoryUnavailable("Microsoft Graph does not answer. Try again in a minute.") from error
    if answer.status_code == 410 or code in ("syncStateNotFound", "resyncRequired"):
        raise StartAgain(code)
    if answer.status_code in (401, 403):
        raise DirectoryUnavailable(
            "Microsoft Graph refuses the portal. Its registration needs User.Read.All and GroupMember.Read.All."
        )
    if answer.status_code == 429:
        raise DirectoryUnavailable("Microsoft Graph asks for a pause. Try again in a minute.")
    raise DirectoryUnavailable(f"Microsoft Graph answered with an error ({answer.status_code} {code}).")


def _error_code(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["code"])[:60]
    except (ValueError, KeyError, TypeError):
        return ""


class _Client:
    """One MSAL application: it keeps its token and renews it by itself."""

    def __init__(self) -> None:
        credential: Any = microsoft.graph_client_secret
        if microsoft.graph_certificate:
            credential = {
                "private_key": Path(microsoft.graph_private_key).read_text(),
                "public_certificate": Path(microsoft.graph_certificate).read_text(),
            }
        authority = microsoft.graph_authority
        is_microsoft = (urlsplit(authority).hostname or "").endswith("microsoftonline.com")
        self._app = msal.ConfidentialClientApplication(
            microsoft.graph_client_id,
            client_credential=credential,
            authority=f"{authority}/{microsoft.tenant_id}",
            # Asks login.microsoftonline.com whether the authority is one of Microsoft's: a stand-in is not.
            instance_discovery=None if is_microsoft else False,
            http_client=OutboundSession(ca_file=microsoft.ca_file),
        )

    def token(self) -> str:
        """Return a token for Graph, from the cache while it lasts."""
        try:
            answer = self._app.acquire_token_for_client(SCOPE)
        except (requests.RequestException, ValueError) as error:
            raise DirectoryUnavailable(
                "Microsoft's sign-in does not answer. Try again in a minute."
            ) from error
        if "access_token" not in answer:
            raise DirectoryUnavailable(
                f"Microsoft's sign-in refuses the portal ({answer.get('error')}). Check its certificate or secret."
            )
        return str(answer["access_token"])


_clients: dict[tuple[object, ...], _Client] = {}
_lock = threading.Lock()


def _client() -> _Client:
    """Return the application of this process and these settings; the first one asks Microsoft for its endpoints."""
    if not microsoft.graph_client_id or not microsoft.tenant_id:
        raise DirectoryUnavailable("No directory is configured: set ENTRA_TENANT_ID and GRAPH_CLIENT_ID.")
    key = (
        os.getpid(),
        microsoft.graph_authority,
        microsoft.tenant_id,
        microsoft.graph_client_id,
        microsoft.graph_client_secret,
        microsoft.graph_certificate,
        microsoft.ca_file,
    )
    with _lock:
        if key not in _clients:
            try:
                _clients[key] = _Client()
            except (requests.RequestException, ValueError, OSError) as error:
                raise DirectoryUnavailable(
                    "Microsoft's sign-in does not answer, or the portal's certificate cannot be read."
                ) from error
        return _clients[key]


def _searchable(text: str) -> str:
    """Return what can stand in a $search clause: two characters at least, without its own signs."""
    cleaned = " ".join(text.replace('"', " ").replace("\\", " ").replace("\x00", " ").split())[:100]
    return cleaned if len(cleaned) >= 2 else ""


def person_of_row(row: dict[str, Any]) -> DirectoryPerson:
    email = str(row.get("mail") or row.get("userPrincipalName") or "")
    return DirectoryPerson(
        oid=UUID(row["id"]),
        name=str(row.get("displayName") or email)[:200],
        email=email[:320],
        title=str(row.get("jobTitle") or ""),
        department=str(row.get("department") or ""),
        is_enabled=row.get("accountEnabled") is not False,
        is_guest=row.get("userType") == "Guest",
    )


def _group(row: dict[str, Any]) -> DirectoryGroup:
    return DirectoryGroup(
        UUID(row["id"]), str(row.get("displayName") or row["id"]), str(row.get("description") or "")
    )
