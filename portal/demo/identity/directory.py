"""The people and groups of the stand-in, in memory, with a log of changes for delta queries."""

import json
import secrets
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portal.demo.identity.material import TENANT_ID

DATA = Path(__file__).with_name("northgate.json")
_NAMESPACE = uuid.UUID("0f3f6d52-6f0e-5b1c-9a52-7b1d5f0e9c11")


def object_id(kind: str, key: str) -> str:
    """Return the object id of a person or group: the same in every run."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{key}"))


@dataclass
class Account:
    """One person of the directory."""

    key: str
    name: str
    email: str
    tenant: str = TENANT_ID
    title: str = ""
    department: str = ""
    roles: list[str] = field(default_factory=list)  # app roles of the portal's application
    enabled: bool = True
    guest: bool = False
    featured: str = ""  # why somebody would choose the person on the sign-in page
    email_claim: str = ""  # what the token says instead of `email`, when it differs
    claims: dict[str, Any] = field(default_factory=dict)  # further claims, over everything else
    sign_in_error: str = ""  # an AADSTS text: the sign-in ends with it

    @property
    def oid(self) -> str:
        """The object id."""
        return object_id("person", self.key)

    @property
    def home(self) -> bool:
        """Whether the person belongs to the tenant (and so to its directory)."""
        return self.tenant == TENANT_ID

    def as_graph(self) -> dict[str, Any]:
        """Return the person as Graph shows one."""
        given, _, surname = self.name.partition(" ")
        return {
            "id": self.oid,
            "displayName": self.name,
            "givenName": given,
            "surname": surname,
            "mail": self.email,
            "userPrincipalName": self.email,
            "jobTitle": self.title or None,
            "department": self.department or None,
            "userType": "Guest" if self.guest else "Member",
            "accountEnabled": self.enabled,
        }


@dataclass
class DirectoryGroup:
    """One security group: direct members and nested groups, by key."""

    key: str
    name: str
    description: str = ""
    people: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)

    @property
    def oid(self) -> str:
        """The object id."""
        return object_id("group", self.key)

    def as_graph(self) -> dict[str, Any]:
        """Return the group as Graph shows one."""
        return {
            "id": self.oid,
            "displayName": self.name,
            "description": self.description or None,
            "mailEnabled": False,
            "securityEnabled": True,
            "groupTypes": [],
        }


@dataclass(frozen=True)
class Change:
    """One change, for delta queries: of a person or a group, or of one person's place in a group."""

    kind: str  # person, group
    oid: str
    member: str = ""
    is_removal: bool = False


class Directory:
    """All people and groups. Thread-safe for what the two listeners and the control endpoint do."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Go back to the data file."""
        data = json.loads(DATA.read_text(encoding="utf-8"))
        with self.lock:
            self.organization: str = data["organization"]
            self.domain: str = data["domain"]
            self.people: dict[str, Account] = {}
            self.groups: dict[str, DirectoryGroup] = {}
            self.changes: list[Change] = []
            self.removed: set[str] = set()
            self.forget_changes()
            for row in data["groups"]:
                row["nested"] = set(row.get("nested", ()))
                self.groups[row["key"]] = DirectoryGroup(**row)
            for row in data["people"]:
                self.add(row)
            self.forget_changes()

    def forget_changes(self) -> None:
        """Forget what has changed: every link of a delta query is unknown from now on."""
        with self.lock:
            self.changes.clear()
            self.epoch = secrets.token_hex(4)

    def add(self, row: dict[str, Any]) -> Account:
        """Add a person from a row of the data file's shape."""
        row = dict(row)
        groups, extra = row.pop("groups", ()), row.pop("extra_groups", 0)
        row.setdefault("email", f"{row['key']}@{self.domain}")
        with self.lock:
            account = self.people[row["key"]] = Account(**row)
            for number in range(1, extra + 1):
                key = f"share-{number:03d}"
                self.groups.setdefault(key, DirectoryGroup(key, f"SEC-Share-{number:03d}"))
                self.groups[key].people.add(account.key)
            self.set_groups(account, groups, keep=bool(extra))
            self.changes.append(Change("person", account.oid))
        return account

    def set_groups(self, account: Account, keys: Iterable[str], *, keep: bool = False) -> None:
        """Make `keys` the person's direct groups."""
        keys = set(keys)
        with self.lock:
            for group in self.groups.values():
                if group.key in keys and account.key not in group.people:
                    group.people.add(account.key)
                    self.changes.append(Change("group", group.oid, account.oid))
                elif group.key not in keys and not keep and account.key in group.people:
                    group.people.discard(account.key)
                    self.changes.append(Change("group", group.oid, account.oid, is_removal=True))

    def change(self, key: str, values: dict[str, Any]) -> Account:
        """Change attributes of a person; `groups` replaces the direct groups."""
        with self.lock:
            account = self.people[key]
            for name, value in values.items():
                if name == "groups":
                    self.set_groups(account, value)
                elif name in Account.__dataclass_fields__ and name != "key":
                    setattr(account, name, value)
                else:
                    raise KeyError(name)
            self.changes.append(Change("person", account.oid))
            return account

    def remove(self, key: str) -> None:
        """Delete a person."""
        with self.lock:
            account = self.people.pop(key)
            self.set_groups(account, ())
            self.removed.add(account.oid)
            self.changes.append(Change("person", account.oid))

    def nest(self, key: str, nested: Iterable[str]) -> None:
        """Make `nested` the groups directly inside a group."""
        with self.lock:
            self.groups[key].nested = set(nested)
            self.changes.append(Change("group", self.groups[key].oid))

    def remove_group(self, key: str) -> None:
        """Delete a group; its members stay in the directory."""
        with self.lock:
            group = self.groups.pop(key)
            for other in self.groups.values():
                other.nested.discard(key)
            self.removed.add(group.oid)
            self.changes.append(Change("group", group.oid))

    def home_people(self) -> list[Account]:
        """The people of the tenant, by name."""
        with self.lock:
            return sorted(
                (each for each in self.people.values() if each.home), key=lambda each: each.name.lower()
            )

    def by_oid(self, oid: str) -> Account | None:
        """Find somebody of the tenant by object id or user principal name."""
        wanted = oid.lower()
        return next((each for each in self.home_people() if wanted in (each.oid, each.email.lower())), None)

    def group_by_oid(self, oid: str) -> DirectoryGroup | None:
        """Find a group by object id."""
        with self.lock:
            return next((each for each in self.groups.values() if each.oid == oid.lower()), None)

    def groups_of(self, account: Account) -> list[DirectoryGroup]:
        """All groups of a person, nested ones included."""
        with self.lock:
            found = {key for key, group in self.groups.items() if account.key in group.people}
            while more := {k for k, g in self.groups.items() if g.nested & found} - found:
                found |= more
            return [self.groups[key] for key in sorted(found)]

    def members_of(self, group: DirectoryGroup, *, transitive: bool) -> Iterator[Account | DirectoryGroup]:
        """The members of a group: people and groups."""
        with self.lock:
            groups, people, queue = set(), set(group.people), list(group.nested)
            while queue:
                key = queue.pop()
                if key in groups:
                    continue
                groups.add(key)
                if transitive:
                    people |= self.groups[key].people
                    queue += self.groups[key].nested
            members: list[Account | DirectoryGroup] = [
                self.people[key] for key in people if key in self.people
            ]
            members += [self.groups[key] for key in groups]
        yield from sorted(members, key=lambda each: each.name.lower())
