"""The gate of the page of all limits: which of them somebody sees, and which they may change, and how far."""

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat
from django.http import Http404, HttpRequest
from django.urls import reverse

from apikeys.access import keys_visible_to
from apikeys.models import ApiKey
from groups.access import get_group
from groups.access import most_raise as most_raise_in_group
from groups.access import rights_in as rights_in_group
from portal.accounts.access import can, person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.approvals.models import ApprovalPolicy
from portal.approvals.selectors import policy
from portal.limits.places import Place, place_of
from portal.spend import scopes
from portal.spend.models import Limit
from portal.spend.scopes import Scope
from projects.access import get_project, most_raise
from projects.access import rights_in as rights_in_project
from tokens.access import tokens_visible_to
from tokens.models import UserToken


@dataclass(frozen=True, slots=True)
class Around:
    """The limits of one thing: its name, its page, and which rows are its own. Without a thing, all limits."""

    condition: Q
    name: str = ""
    href: str = ""
    query: str = ""
    kind: str = ""


def around(request: HttpRequest) -> Around:
    """Return what the address narrows the list to, through the gate of that thing; all of it is for the house roles."""
    given = request.GET
    if code := given.get("project", ""):
        project = get_project(request, code)
        credentials = (
            model.objects.filter(project=project).annotate(key=Concat(Value("c:"), "key_id")).values("key")
            for model in (UserToken, ApiKey)
        )
        condition = Q(scope_key=scopes.project(project.pk))
        condition |= Q(scope_key__startswith=f"pu:{project.pk}:") | Q(
            scope_key__startswith=f"pg:{project.pk}:"
        )
        for keys in credentials:
            condition |= Q(scope_key__in=keys)
        place = _place(scopes.project(project.pk))
        return Around(condition, project.name, place.href, f"project={project.code}", "p")
    if code := given.get("group", ""):
        group = get_group(request, code)
        place = _place(scopes.group(group.pk))
        return Around(Q(scope_key=place.key), group.name, place.href, f"group={group.code}", "g")
    if number := given.get("person", ""):
        _refuse_unless_all(request, Right.SEE_PEOPLE)
        place = _place(scopes.user(int(number) if number.isdigit() and len(number) < 16 else 0))
        inside = Q(scope_key__startswith="pu:", scope_key__endswith=f":{number}")
        return Around(Q(scope_key=place.key) | inside, place.name, place.href, f"person={number}", "u")
    if key_id := given.get("credential", ""):
        place = _place(scopes.credential(key_id))
        if not _sees(person_of(request), place):
            raise Http404
        return Around(Q(scope_key=place.key), place.name, place.href, f"credential={key_id}", "c")
    _refuse_unless_all(request, Right.SEE_ALL_LIMITS)
    return Around(Q())


def limits_in(found: Around) -> QuerySet[Limit]:
    """Return the limits of the thing."""
    return Limit.objects.filter(found.condition)


def may_raise(person: Person, place: Place, known: ApprovalPolicy | None = None) -> int | None:
    """Return by how many percent the person may raise a limit of the place: 0 for who only lowers, None for any.

    Raise PermissionDenied for somebody who may not change it at all.
    """
    code = Scope(place.key).code
    most: int | None = None
    if code in ("organization", "user"):
        allowed, most = can(person, Right.MANAGE_ORGANIZATION), (known or policy()).most_raise
    elif code == "group" and place.group is not None:
        allowed = rights_in_group(person, place.group)[Right.SET_LIMITS]
        most = most_raise_in_group(person, known)
    elif place.project is not None and code == "credential":
        # Below the project's limits, so whoever looks after the credential sets it freely.
        need = Right.MANAGE_API_KEYS if isinstance(place.credential, ApiKey) else Right.ISSUE_TOKEN
        allowed = rights_in_project(person, place.project)[need]
    elif place.project is not None:
        allowed = rights_in_project(person, place.project)[Right.LOWER_LIMITS]
        most = most_raise(person, place.project, known)
    else:
        allowed = False
    if not allowed:
        raise PermissionDenied("Somebody else sets this limit.")
    return most


@dataclass(frozen=True, slots=True)
class Home:
    """Whose raises are asked for together: a project's, a group's own, a person's or the organization's."""

    place: Place
    limits: QuerySet[Limit]
    back: str


def get_home(request: HttpRequest) -> Home:
    """Return whose limits the address names, to somebody who may ask for raises of them; else 404 or 403."""
    given = request.GET
    if code := given.get("project", ""):
        project = get_project(request, code, need=Right.ASK_RAISE)
        place, condition = _place(scopes.project(project.pk)), Q(scope_key=scopes.project(project.pk))
        condition |= Q(scope_key__startswith=f"pu:{project.pk}:")
        condition |= Q(scope_key__startswith=f"pg:{project.pk}:")
        return Home(place, _held_by(condition), place.href)
    if code := given.get("group", ""):
        place = _place(scopes.group(get_group(request, code, need=Right.ASK_RAISE).pk))
        return Home(place, _held_by(Q(scope_key=place.key)), place.href)
    _refuse_unless_all(request, Right.ASK_RAISE)
    if number := given.get("person", ""):
        place = _place(scopes.user(int(number) if number.isdigit() and len(number) < 16 else 0))
        return Home(
            place, _held_by(Q(scope_key=place.key)), f"{reverse('limits:list')}?person={place.key[2:]}"
        )
    place = _place(scopes.ORGANIZATION)
    condition = Q(scope_key__in=[scopes.ORGANIZATION, scopes.EACH_USER])
    return Home(place, _held_by(condition), place.href)


def _held_by(condition: Q) -> QuerySet[Limit]:
    rows = Limit.objects.filter(condition, mode=Limit.Mode.ENFORCE)
    return rows.order_by("scope_key", "metric", "window", "model")


def home_query(place: Place) -> str:
    """Return how the address of its raises names the place; of what is set freely there are none to ask for."""
    code = Scope(place.key).code
    if code == "credential":
        return ""
    if place.project is not None:
        return f"project={place.project.code}"
    if place.group is not None:
        return f"group={place.group.code}"
    return (
        "organization=" if code == "organization" or place.key.endswith(":*") else f"person={place.key[2:]}"
    )


def may_set(person: Person, place: Place) -> bool:
    """Tell whether the person sets limits of the place, be it with a second person where that is wanted."""
    if place.project is not None:
        return rights_in_project(person, place.project)[Right.SET_LIMITS]
    return can(person, Right.SET_LIMITS, everywhere=True)


def may_change(person: Person, place: Place) -> bool:
    """Tell whether the person may change limits of the place at all."""
    try:
        may_raise(person, place)
    except PermissionDenied:
        return False
    return True


def get_place(request: HttpRequest, key: str) -> tuple[Place, int | None]:
    """Return a place whose limits are to be changed, and how far: 404 to who does not see it, 403 without the right."""
    person, place = person_of(request), _place(key)
    if not _sees(person, place):
        raise Http404
    right = Right.SET_LIMITS if place.project or place.group else Right.MANAGE_ORGANIZATION
    refuse_unless(may_change(person, place), request, right, place.target)
    return place, may_raise(person, place)


def get_limit(request: HttpRequest, pk: int) -> tuple[Limit, Place, int | None]:
    """Return a limit that is to be changed, with its place and how far: 404 and 403 as for the place."""
    limit = Limit.objects.filter(pk=pk).first()
    if limit is None:
        raise Http404
    return limit, *get_place(request, limit.scope_key)


def _sees(person: Person, place: Place) -> bool:
    if isinstance(place.credential, UserToken):
        return tokens_visible_to(person).filter(pk=place.credential.pk).exists()
    if isinstance(place.credential, ApiKey):
        return keys_visible_to(person).filter(pk=place.credential.pk).exists()
    if place.project is not None:
        return rights_in_project(person, place.project)[Right.SEE_PROJECTS]
    if place.group is not None and Scope(place.key).code == "group":
        return rights_in_group(person, place.group)[Right.SEE_GROUPS]
    return can(person, Right.SEE_ALL_LIMITS)


def _place(key: str) -> Place:
    place = place_of(key)
    if place is None:
        raise Http404
    return place


def _refuse_unless_all(request: HttpRequest, right: Right) -> None:
    refuse_unless(can(person_of(request), right, everywhere=True), request, right)
