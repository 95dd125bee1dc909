"""Pause, resume, archive or restore a project."""

from typing import Any

from django.core.management.base import CommandParser

from portal.web.commands import PortalCommand
from projects.commands import project_named
from projects.models import Project
from projects.services import set_project_state


class Command(PortalCommand):
    """``set_project_state CODE active|paused|archived``."""

    help = "Set the state of a project. Pausing and archiving refuse the very next call."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("code")
        parser.add_argument("state", choices=Project.State.values)

    def perform(self, *, code: str, state: str, reason: str, **options: Any) -> None:
        """Set it."""
        project = set_project_state(project=project_named(code), state=state, actor=self.actor, reason=reason)
        self.answer({"code": code, "state": project.state}, f"{project.name} is {project.state}.")
