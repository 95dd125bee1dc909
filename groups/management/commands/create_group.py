"""Register a group."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from groups.lookup import look_up
from groups.services import create_group
from portal.lib.errors import RuleBroken, Unavailable
from portal.web.commands import PortalCommand


class Command(PortalCommand):
    """``create_group --code C --name N [--entra-id ID]``."""

    help = "Register a group, which owns projects. With --entra-id, its members are read from the directory."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--code", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--entra-id", default="", help="object id of the group in Entra ID")

    def perform(self, *, code: str, name: str, entra_id: str, reason: str, **options: Any) -> None:
        """Register it, and read its members if the directory answers."""
        try:
            oid = UUID(entra_id) if entra_id else None
        except ValueError:
            raise RuleBroken(
                f"{entra_id} is not an object id. It looks like a UUID.", field="entra_id"
            ) from None
        group = create_group(code=code, name=name, entra_id=oid, actor=self.actor, reason=reason)
        try:
            look_up(group, actor=self.actor)
        except Unavailable as error:
            self.stderr.write(f"The members are read later: {error}")
        answer = {
            "id": group.pk,
            "code": group.code,
            "name": group.name,
            "entra_id": str(oid) if oid else None,
        }
        self.answer(answer, f"Group {group.name} ({group.code}) registered.")
