"""The gate of API keys."""

from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from apikeys.models import ApiKey
from apikeys.services import target_of
from portal.accounts.access import person_of, refuse_unless
from portal.accounts.models import Person
from portal.accounts.policy import Reach, Right, reach
from projects.access import projects_with, roles_in


def keys_visible_to(person: Person) -> QuerySet[ApiKey]:
    """Return the keys of the projects the person may see."""
    return ApiKey.objects.filter(project__in=projects_with(person).values("pk"))


def keys_manageable_by(person: Person) -> QuerySet[ApiKey]:
    """Return the keys the person may change and revoke."""
    return ApiKey.objects.filter(project__in=projects_with(person, Right.MANAGE_API_KEYS).values("pk"))


def get_key(request: HttpRequest, key_id: str, *, need: Right = Right.MANAGE_API_KEYS) -> ApiKey:
    """Return the key: 404 to an outsider of its project, 403 to somebody who lacks the right."""
    person = person_of(request)
    key = keys_visible_to(person).select_related("project", "owner", "deputy").filter(key_id=key_id).first()
    if key is None:
        raise Http404
    refuse_unless(reach(need, roles_in(person, key.project)) > Reach.OWN, request, need, target_of(key))
    return key
