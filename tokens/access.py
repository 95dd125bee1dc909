"""The gate of user tokens."""

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

from portal.accounts.access import person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, Role, reach, roles_of
from projects.access import projects_with, roles_in
from tokens.models import UserToken
from tokens.services import target_of

_READERS = frozenset({Role.ADMIN, Role.AUDITOR, Role.OPERATOR})


def tokens_visible_to(person: Person) -> QuerySet[UserToken]:
    """Return the tokens the person may see: their own, and all of the projects whose tokens they look after."""
    if roles_of(person) & _READERS:
        return UserToken.objects.all()
    return UserToken.objects.filter(Q(person=person) | Q(project__in=_looked_after(person)))


def tokens_manageable_by(person: Person) -> QuerySet[UserToken]:
    """Return the tokens the person may revoke: their own, and all of the projects whose tokens they look after."""
    if reach(Right.REVOKE_TOKEN, roles_of(person) & _READERS) is Reach.ALL:
        return UserToken.objects.all()
    return UserToken.objects.filter(Q(person=person) | Q(project__in=_looked_after(person)))


def looks_after_tokens(person: Person) -> bool:
    """Whether the person sees tokens of others anywhere; who does not has a list of their own."""
    roles = roles_of(person)
    return bool(roles & _READERS) or reach(Right.REVOKE_TOKEN, roles) > Reach.OWN


def get_token(request: HttpRequest, key_id: str, *, need: Right = Right.REVOKE_TOKEN) -> UserToken:
    """Return the token: 404 to somebody who may not see it, 403 to somebody who lacks the right."""
    person = person_of(request)
    tokens = tokens_visible_to(person).select_related("project", "person", "group")
    token = tokens.filter(key_id=key_id).first()
    if token is None:
        raise Http404
    # What is one's own may be seen and revoked, but not widened by oneself.
    is_own = token.person_id == person.pk and need in (Right.SEE_PROJECTS, Right.REVOKE_TOKEN)
    least = Reach.NONE if is_own else Reach.OWN
    refuse_unless(reach(need, roles_in(person, token.project)) > least, request, need, target_of(token))
    return token


def _looked_after(person: Person) -> list[int]:
    """Return the projects, as numbers: beside an OR an index is used for numbers, not for a query."""
    return list(projects_with(person, Right.REVOKE_TOKEN).values_list("pk", flat=True))
