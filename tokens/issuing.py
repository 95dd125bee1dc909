"""Where a person may issue tokens: for others, and for themselves where the project lets its members."""

from django.db.models import Q

from portal.accounts.models import Person
from portal.accounts.policy import Right
from projects.access import projects_with
from projects.models import Project, ProjectQuerySet


def projects_to_issue_in(person: Person) -> ProjectQuerySet:
    """Return the projects in which the person may issue a token, to anybody or to themselves."""
    anywhere = projects_with(person, Right.ISSUE_TOKEN)
    if not anywhere.query.where:
        return anywhere
    own = projects_with(person, Right.ISSUE_TOKEN, own=True).filter(members_issue_tokens=True)
    return Project.objects.filter(Q(pk__in=anywhere.values("pk")) | Q(pk__in=own.values("pk")))
