"""Actors and people for tests that need no sign-in."""

import uuid
from typing import Any

from audit.actors import Actor
from portal.accounts.models import Person

ADMIN = Actor("user", "0", "Elena Marsh", auth="entra")
TENANT = uuid.UUID("3f7c1a52-8e0b-4c53-9a3d-6f2b7d9e1c04")


def person(name: str = "Bob Nakamura", *, role: str = "", **fields: Any) -> Person:
    """Return a new person with an identity, and a role granted here when one is named."""
    email = f"{name.split()[0].lower()}@northgate.example"
    made = Person.objects.create(
        **{"tid": TENANT, "oid": uuid.uuid4(), "name": name, "email": email, **fields}
    )
    if role:
        made.role_grants.create(role=role, source="portal", granted_by="Elena Marsh")
    return made
