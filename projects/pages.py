"""What every page of a project shows above its tab, and its sheet of limits."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from apikeys.access import keys_visible_to
from groups.models import Group
from portal.accounts.access import person_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.credentials.selectors import with_status
from portal.decision.limits import LimitSheet, Place
from portal.organization.models import Organization
from portal.organization.selectors import current as current_organization
from portal.spend import scopes, selectors
from portal.spend.selectors import Calendar, calendar
from projects.access import most_raise, rights_in
from projects.models import Project
from projects.selectors import number_of_people, owners_of, standing
from projects.services import label_of, target_of
from tokens.access import tokens_visible_to

TABS = (
    ("detail", "Overview"),
    ("tokens", "User tokens"),
    ("keys", "API keys"),
    ("members", "Members and owners"),
    ("limits", "Limits and rates"),
    ("activity", "Activity"),
    ("settings", "Settings"),
)

NEEDS = {"activity": Right.SEE_AUDIT, "settings": Right.EDIT_PROJECT}


def clock() -> Calendar:
    """Return the organization's calendar now."""
    return calendar(current_organization().zone)


def page_context(request: HttpRequest, project: Project, tab: str) -> dict[str, Any]:
    """Return what the head of a project's page needs: owners, rights, tabs and how its spend stands."""
    person, now = person_of(request), clock()
    key = scopes.project(project.pk)
    used = selectors.today_and_month([key], now).get(key, selectors.NOTHING)
    day_limit, month_limit = selectors.spend_limits([key]).get(key, (None, None))
    counts = {
        "tokens": with_status(tokens_visible_to(person).filter(project=project), "active").count(),
        "keys": with_status(keys_visible_to(person).filter(project=project), "active").count(),
        "members": number_of_people(project),
    }
    can = rights_in(person, project)
    tabs = [
        {
            "label": label,
            "href": reverse(f"projects:{name}", args=[project.code]),
            "count": counts.get(name),
            "is_current": name == tab,
        }
        for name, label in TABS
        if can[NEEDS.get(name, Right.SEE_PROJECTS)]
    ]
    return {
        "project": project,
        "owners": owners_of(project),
        "can": can,
        "tabs": tabs,
        "standing": standing(project.state, (used.today, day_limit), (used.month, month_limit)),
        "used": used,
        "day_limit": day_limit,
        "month_limit": month_limit,
        "calendar": now,
    }


def sheet_of(project: Project, organization: Organization, person: Person) -> LimitSheet:
    """Return the limits that the person sets on a project's page, and the levels around them."""
    places = [Place(scopes.ORGANIZATION, "Organization", organization.name, "building-2")]
    if project.group:
        places.append(group_place(project.group))
    each = scopes.project_each_user(project.pk)
    places += [
        Place(scopes.project(project.pk), "This project", project.name, "folder"),
        Place(each, "Each user", "Nobody has spent anything this month", "user"),
    ]
    return LimitSheet(
        scope_key=scopes.project(project.pk),
        label=label_of(project),
        places=places,
        each_user_key=each,
        project=project.pk,
        group=project.group_id,
        target=target_of(project),
        most_raise=most_raise(person, project),
    )


def group_place(group: Group) -> Place:
    """Return the level of the group that owns the project."""
    number = group.projects.exclude(state=Project.State.ARCHIVED).count()
    detail = "1 project" if number == 1 else f"{number} projects share this"
    return Place(scopes.group(group.pk), f"Group: {group.name}", detail, "users")
