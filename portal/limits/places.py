"""What a limit is set on, as people name it: many scope keys in few queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.urls import reverse

from apikeys.models import ApiKey
from apikeys.services import label_of as key_label
from apikeys.services import target_of as key_target
from audit.actors import Target
from groups.models import Group
from groups.services import label_of as group_label
from groups.services import target_of as group_target
from portal.accounts.actors import target_of as person_target
from portal.accounts.models import Person
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.scopes import Scope
from projects.models import Project
from projects.services import label_of as project_label
from projects.services import target_of as project_target
from tokens.models import UserToken
from tokens.services import label_of as token_label
from tokens.services import target_of as token_target


@dataclass(frozen=True, slots=True)
class Place:
    """A scope: its name, what kind of scope it is, its page, and how refusals and the audit log name it."""

    key: str
    name: str
    kind: str
    href: str
    icon: str
    label: str
    target: Target
    project: Project | None = None
    group: Group | None = None
    credential: UserToken | ApiKey | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it is a group that has been deleted."""
        return self.project is None and self.group is not None and self.group.deleted is not None


class Places:
    """The places of some scope keys, looked up together; one that is gone has none."""

    def __init__(self, keys: Iterable[str]) -> None:
        parts = {key: key.split(":") for key in set(keys)}
        self._projects = self._by_pk(Project, [p[1] for p in parts.values() if p[0] in ("p", "pg", "pu")])
        groups = [p[-1] for p in parts.values() if p[0] in ("g", "pg")]
        self._groups = {each.pk: each for each in Group.objects.filter(pk__in=_numbers(groups))}
        people = [p[-1] for p in parts.values() if p[0] in ("u", "pu")]
        self._people = {each.pk: each for each in Person.objects.filter(pk__in=_numbers(people))}
        ids = [p[1] for p in parts.values() if p[0] == "c"]
        self._credentials: dict[str, UserToken | ApiKey] = {}
        for model in (UserToken, ApiKey):
            found = model.objects.filter(key_id__in=ids).select_related("project__group")
            self._credentials |= {each.key_id: each for each in found}

    @staticmethod
    def _by_pk(model: type[Project], texts: Sequence[str]) -> dict[int, Project]:
        return {
            each.pk: each for each in model.objects.filter(pk__in=_numbers(texts)).select_related("group")
        }

    def get(self, key: str) -> Place | None:
        """Return the place of a scope key, or None when what it names is gone."""
        scope = Scope(key)
        match scope.code:
            case "organization":
                return _organization(key)
            case "group":
                group = self._groups.get(scope.group or 0)
                return _group(key, group) if group else None
            case "user":
                return _each_user(key) if scope.is_each else self._user(key)
            case "credential":
                credential = self._credentials.get(key[2:])
                return _credential(key, credential) if credential else None
        project = self._projects.get(scope.project or 0)
        return self._in_project(key, scope, project) if project else None

    def _user(self, key: str) -> Place | None:
        person = self._people.get(int(key[2:]))
        if person is None:
            return None
        href = reverse("accounts:person", args=[person.pk])
        return Place(
            key, str(person), "Person, all projects", href, "user", str(person), person_target(person)
        )

    def _in_project(self, key: str, scope: Scope, project: Project) -> Place | None:
        href = reverse("projects:limits", args=[project.code])
        target = project_target(project)

        def place(name: str, kind: str, icon: str, label: str) -> Place:
            return Place(key, name, kind, href, icon, label, target, project, project.group)

        if scope.code == "project":
            return place(project.name, "Project", "folder", project_label(project))
        if scope.code == "project_group":
            group = self._groups.get(scope.group or 0)
            if group is None:
                return None
            name = f"{group.name} in {project.name}"
            return place(name, "Group in project", "users", name)
        if scope.is_each:
            return place(
                project.name, "Each user in project", "users", f"Each user of project {project.name}"
            )
        person = self._people.get(int(key.rsplit(":", 1)[1]))
        if person is None:
            return None
        name = f"{person} in {project.name}"
        return place(name, "Person in project", "user", name)


def place_of(key: str) -> Place | None:
    """Return the place of one scope key."""
    return Places([key]).get(key)


def _organization(key: str) -> Place:
    name = current_organization().name
    href = reverse("organization:limits")
    return Place(key, name, "Organization", href, "building-2", name, Target("organization", "1", name))


def _each_user(key: str) -> Place:
    href = reverse("organization:limits")
    target = Target("organization", "1", "each user")
    return Place(key, "Each user", "Each user, all projects", href, "users", "Each user", target)


def _group(key: str, group: Group) -> Place:
    href = "" if group.deleted else reverse("groups:detail", args=[group.code])
    label, target = group_label(group), group_target(group)
    return Place(key, group.name, "Group", href, "building-2", label, target, None, group)


def _credential(key: str, credential: UserToken | ApiKey) -> Place:
    project = credential.project
    if isinstance(credential, UserToken):
        kind, page, label, target = (
            "User token",
            "tokens:detail",
            token_label(credential),
            token_target(credential),
        )
    else:
        kind, page, label, target = "API key", "apikeys:detail", key_label(credential), key_target(credential)
    href = reverse(page, args=[credential.key_id])
    name = f"{credential.name or credential.hint} in {project.name}"
    return Place(key, name, kind, href, "key-round", label, target, project, project.group, credential)


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if text.isdigit()]


KINDS = (
    ("o", "The organization"),
    ("u:*", "Each user, over all projects"),
    ("u", "One user, over all projects"),
    ("g", "A group: all projects it owns"),
    ("p", "A project"),
    ("pu:*", "Each user in a project"),
    ("pu", "One user in a project"),
    ("pg", "A group in a project"),
    ("c", "A user token or API key"),
)
"""What a limit can be set on, by the beginning of its scope key."""

FIXED = {"o": scopes.ORGANIZATION, "u:*": scopes.EACH_USER}
