"""Issue a user token."""

from typing import Any

from django.core.management.base import CommandParser

from portal.accounts.services import person_without_identity
from portal.credentials.validity import days_allowed
from portal.web.commands import PortalCommand
from projects.commands import person_known, project_named
from projects.services import add_member, may_hold_tokens
from tokens.services import issue_token


class Command(PortalCommand):
    """``issue_token --project C --email E [--name N] [--days N]``."""

    help = "Issue a user token. Somebody not yet known is made without an identity and becomes a member."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--project", required=True, metavar="CODE")
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", default="")
        parser.add_argument("--days", type=int)

    def perform(
        self, *, project: str, email: str, name: str, days: int | None, reason: str, **options: Any
    ) -> None:
        """Issue it; the secret is printed this once."""
        found, actor = project_named(project), self.actor
        days_allowed(days)  # before anybody is made a member for a token that is refused
        person = person_known(email) or person_without_identity(email=email, actor=actor)
        if not may_hold_tokens(found, person):
            add_member(project=found, person=person, actor=actor, reason=reason)
        token, secret = issue_token(
            project=found, person=person, name=name, days=days, actor=actor, reason=reason
        )
        self.answer({"id": token.key_id, "secret": secret, "expires_at": token.expires}, secret)
