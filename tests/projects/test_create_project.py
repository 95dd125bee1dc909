"""New projects."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from groups.services import create_group
from portal.accounts import graph
from portal.accounts.graph import DirectoryPerson
from portal.accounts.models import Person
from portal.spend import scopes
from portal.spend.models import Limit
from projects.models import Project
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, settings: Any) -> DirectoryPerson:
    """A directory that knows Mei alone."""
    settings.ENTRA_TENANT_ID = str(factories.TENANT)
    mei = DirectoryPerson(uuid.uuid4(), "Mei Tan", "mei.tan@northgate.example")
    from portal.accounts.pickers import PersonPicker

    monkeypatch.setattr(PersonPicker, "look_up", staticmethod(lambda oid: mei if oid == mei.oid else None))
    monkeypatch.setattr(PersonPicker, "search", staticmethod(lambda text: [mei]))
    monkeypatch.setattr(graph, "person", lambda oid: mei if oid == mei.oid else None)
    return mei


def test_an_administrator_creates_a_project(cast: Cast, browse: Browse, directory: DirectoryPerson) -> None:
    factories.priced("gpt-5-mini")
    data = {
        "name": "Letter drafting",
        "group": cast.claims.pk,
        "owners": str(directory.oid),
        "daily_limit": "$1,500.25",
        "monthly_limit": "20000",
        "allowed_models": "gpt-5*\n",
    }
    answer = browse(cast.alice).post("/projects/new/", data)
    assert answer.status_code == 302
    assert answer["Location"] == "/projects/letter-drafting/"
    project = Project.objects.get(code="letter-drafting")
    assert project.group == cast.claims
    assert project.allowed_models == ["gpt-5*"]
    owner = project.memberships.get()
    assert (owner.role, owner.person.oid) == ("owner", directory.oid)
    limits = Limit.objects.filter(scope_key=scopes.project(project.pk)).values_list("window", "amount")
    assert dict(limits) == {"day": 1_500_250_000_000, "month": 20_000 * 10**9}
    entry = AuditEntry.objects.get(action="project.created", project_id=project.pk)
    assert entry.actor_id == str(cast.alice.pk)


def test_a_code_that_is_taken_is_told_beside_the_field_and_everything_typed_stays(
    cast: Cast, browse: Browse
) -> None:
    data = {"name": "Another triage", "code": "claims-triage", "monthly_limit": "7"}
    answer = browse(cast.alice).post("/projects/new/", data)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "claims-triage is used by Claims triage. Try claims-triage-2." in page
    assert 'value="Another triage"' in page
    assert not Project.objects.filter(name="Another triage").exists()


def test_an_unpriced_model_is_refused(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.alice).post("/projects/new/", {"name": "X", "allowed_models": "gpt-9"})
    assert answer.status_code == 422
    assert "The price book has no gpt-9." in answer.content.decode()


def test_a_group_administrator_creates_projects_in_their_groups_only(cast: Cast, browse: Browse) -> None:
    marketing = create_group(code="marketing", name="Marketing", actor=factories.ACTOR)
    gina = factories.person("Gina Group", role="group_admin", group=cast.claims)
    client = browse(gina)
    assert client.post("/projects/new/", {"name": "One", "group": cast.claims.pk}).status_code == 302
    assert client.post("/projects/new/", {"name": "Two", "group": marketing.pk}).status_code == 422
    assert client.post("/projects/new/", {"name": "Three"}).status_code == 422
    assert set(Project.objects.filter(name__in=["One", "Two", "Three"]).values_list("name", flat=True)) == {
        "One"
    }


def test_an_owner_who_tries_is_refused_and_that_is_written_down(cast: Cast, browse: Browse) -> None:
    assert browse(cast.bob).post("/projects/new/", {"name": "Mine"}).status_code == 403
    entry = AuditEntry.objects.get(action="access.refused")
    assert entry.actor_id == str(cast.bob.pk)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("name=Café+%26+Más", "cafe-mas"),
        ("name=New+name&code=old-name&suggested=old-name", "new-name"),
        ("name=New+name&code=mine&suggested=old-name", "mine"),
    ],
)
def test_the_code_follows_the_name_until_another_is_typed(
    query: str, code: str, cast: Cast, browse: Browse
) -> None:
    page = browse(cast.alice).get(f"/projects/new/code/?{query}").content.decode()
    assert f'name="code" value="{code}"' in page
