"""How much of the organization somebody sees on the monitoring page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from django.db.models import QuerySet

from groups.access import groups_with
from groups.models import Group
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.spend import scopes
from projects.access import projects_with
from projects.models import Project, ProjectQuerySet, ProjectStanding


@dataclass(frozen=True)
class Sight:
    """What one person sees: everything, or the projects and groups they have to do with."""

    person: Person
    is_all: bool

    @cached_property
    def projects(self) -> ProjectQuerySet:
        """The projects in sight."""
        return projects_with(self.person, Right.SEE_MONITORING)

    @cached_property
    def found(self) -> Sequence[Project]:
        """The same, looked up once."""
        return list(self.projects.select_related("group"))

    @cached_property
    def standings(self) -> QuerySet[ProjectStanding]:
        """How the projects in sight stand."""
        standings = ProjectStanding.objects.all()
        return standings if self.is_all else standings.filter(project__in=self.projects)

    @cached_property
    def groups(self) -> Sequence[Group]:
        """The groups in sight."""
        return list(groups_with(self.person))

    @cached_property
    def scope_keys(self) -> list[str]:
        """The scopes whose usage adds up to what is in sight; each call counts in exactly one of them."""
        if self.is_all:
            return [scopes.ORGANIZATION]
        return [scopes.project(project.pk) for project in self.found]

    @cached_property
    def project_ids(self) -> list[int] | None:
        """The ids of the projects in sight; None for all there ever were."""
        return None if self.is_all else [project.pk for project in self.found]


def sight_of(person: Person) -> Sight:
    """Return what the person sees."""
    return Sight(person, can(person, Right.SEE_MONITORING, everywhere=True))
