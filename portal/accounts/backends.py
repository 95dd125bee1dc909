"""Who a session belongs to. There is nothing here that takes a password."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from portal.accounts.models import Person
from portal.accounts.policy import roles_of


class IdentityBackend(BaseBackend):
    """Loads the person of a session, read anew at each request with roles and memberships."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Accept nobody: people come in through Entra ID only."""
        return

    def get_user(self, user_id: int) -> Person | None:
        """Return the person unless disabled or left without any role: then the session is over."""
        people = Person.objects.active().with_identity().prefetch_related("role_grants")
        person = people.filter(pk=user_id).first()
        if person is None:
            return None
        person.roles_of_request = roles_of(person)
        return person if person.roles_of_request else None
