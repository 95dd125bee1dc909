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
    looked_after = projects_with(person, Right.REVOKE_TOKEN).values("pk")
    return UserToken.objects.filter(Q(person=person) | Q(project__in=looked_after))


def get_token(request: HttpRequest, key_id: str, *, need: Right = Right.REVOKE_TOKEN) -> UserToken:
    """Return the token: 404 to somebody who may not see it, 403 to somebody who lacks the right."""
    person = person_of(request)
    token = tokens_visible_to(person).select_related("project", "person").filter(key_id=key_id).first()
    if token is None:
        raise Http404
    least = Reach.NONE if token.person_id == person.pk else Reach.OWN
    refuse_unless(reach(need, roles_in(person, token.project)) > least, request, need, target_of(token))
    return token
