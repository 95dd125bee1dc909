"""Carol of the directory with a project of hers, and the command that follows it."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from portal.accounts.models import Person
from portal.decision.models import Subject
from projects.models import Project
from projects.services import add_member, create_project
from tests import factories
from tests.identity_fixtures import StandIn, known
from tokens.models import UserToken
from tokens.services import issue_token

ACTOR = factories.ACTOR


def run(expected: int = 0) -> dict[str, Any]:
    """Run ``sync_directory --json`` and return what it prints."""
    output, status = io.StringIO(), 0
    try:
        call_command("sync_directory", "--json", stdout=output)
    except SystemExit as end:
        status = int(str(end.code))
    assert status == expected, output.getvalue()
    return dict(json.loads(output.getvalue()))


@pytest.fixture
def carol(standin: StandIn, db: None) -> Person:
    """Carol of the directory, a member of Claims there, whom the portal knows."""
    standin.change("carol", groups=["claims"])
    return known(standin, "carol")


@pytest.fixture
def project(carol: Person, standin: StandIn) -> Project:
    """A project of Bob's in which Carol is a member with a token."""
    bob = known(standin, "bob")
    made = create_project(code="claims", name="Claims letters", owners=[bob], actor=ACTOR)
    add_member(project=made, person=carol, actor=ACTOR)
    return made


def token_of(person: Person, project: Project) -> UserToken:
    """Return a new token."""
    return issue_token(project=project, person=person, actor=ACTOR)[0]


def state(token: UserToken) -> str:
    """Return what the decision knows of a token."""
    return str(Subject.objects.get(pk=f"s:{token.key_id}").data["state"])
