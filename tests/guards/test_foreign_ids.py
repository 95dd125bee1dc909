"""What a form names must be for the person: ids of somebody else's things in a POST body change nothing."""

from typing import Any

import pytest

from groups.services import create_group, delete_group
from portal.accounts.models import RoleGrant
from portal.spend.models import Limit
from projects.models import Membership, Project
from tests.factories import ACTOR, Cast, person, project, signed_in


@pytest.fixture
def sales(cast: Cast) -> Any:
    """A group that nobody of the cast but the administrator may see."""
    return create_group(code="sales", name="Sales", actor=ACTOR)


@pytest.fixture
def grace(cast: Cast) -> Any:
    """The administrator of Claims."""
    return person("Grace Claims", role="group_admin", group=cast.claims)


def post(who: Any, url: str, **data: Any) -> int:
    """Send a form without script and return the status."""
    return signed_in(who).post(url, data).status_code


def test_a_project_is_not_created_in_a_foreign_group(cast: Cast, grace: Any, sales: Any) -> None:
    fields = {"name": "Mine", "code": "mine"}
    assert post(grace, "/projects/new/", **fields, group=sales.pk) == 422
    assert post(grace, "/projects/new/", **fields, group="") == 422
    assert not Project.objects.filter(code="mine").exists()
    assert post(grace, "/projects/new/", **fields, group=cast.claims.pk) == 302


def test_a_project_is_not_moved_to_a_foreign_group(cast: Cast, grace: Any, sales: Any) -> None:
    url = f"/projects/{cast.triage.code}/settings/"
    assert post(grace, url, name="Moved", group=sales.pk) == 422
    cast.triage.refresh_from_db()
    assert (cast.triage.name, cast.triage.group) == ("Claims triage", cast.claims)


def test_an_owner_changes_no_field_that_is_not_theirs(cast: Cast, sales: Any) -> None:
    url = f"/projects/{cast.triage.code}/settings/"
    more = {
        "cost_centre": "4711",
        "allowed_models": "",
        "state": "archived",
        "code": "stolen",
        "id": cast.fraud.pk,
    }
    assert post(cast.bob, url, name="Triage", group=sales.pk, **more) == 302
    changed = Project.objects.get(pk=cast.triage.pk)
    before = cast.triage
    assert changed.name == "Triage"
    for name in ("group_id", "cost_centre", "allowed_models", "state", "code"):
        assert getattr(changed, name) == getattr(before, name)


def test_a_foreign_group_is_not_given_access(cast: Cast, grace: Any, sales: Any) -> None:
    url = f"/projects/{cast.triage.code}/groups/add/"
    assert post(grace, url, group=sales.pk) == 422
    assert post(cast.bob, url, group=sales.pk) == 422
    assert not cast.triage.group_access.exists()


def test_an_owner_makes_nobody_an_owner(cast: Cast) -> None:
    url = f"/projects/{cast.triage.code}/members/add/"
    assert post(cast.bob, url, people=str(cast.carol.oid), role="owner") == 422  # the directory is away
    assert Membership.objects.get(project=cast.triage, person=cast.carol).role == "member"


def test_a_member_of_another_project_is_not_removed_through_ones_own(cast: Cast) -> None:
    assert post(cast.bob, f"/projects/{cast.triage.code}/members/{cast.dave.pk}/remove/") == 404
    assert cast.fraud.memberships.filter(person=cast.dave).exists()


@pytest.mark.parametrize("field", ["person", "owner"])
def test_a_credential_is_issued_to_nobody_outside(cast: Cast, field: str) -> None:
    kind = {"person": "tokens", "owner": "keys"}[field]
    data = {field: cast.dave.pk, "name": "crm", "days": "30"}
    assert post(cast.bob, f"/{kind}/issue/?project={cast.triage.code}", **data) == 422
    assert post(cast.bob, f"/{kind}/issue/?project={cast.fraud.code}", **data) == 404
    assert post(cast.alice, f"/{kind}/issue/?project={cast.triage.code}", **data) == 422


def test_the_project_of_a_credential_is_the_addressed_one(cast: Cast) -> None:
    data = {"name": "crm", "owner": cast.bob.pk, "days": "30", "project": cast.fraud.pk}
    assert post(cast.bob, f"/keys/issue/?project={cast.triage.code}", **data) == 200
    assert [key.project for key in cast.triage.api_keys.all()] == [cast.triage]
    assert not cast.fraud.api_keys.exists()


def test_a_member_issues_to_themselves_alone(cast: Cast) -> None:
    url = f"/tokens/issue/?project={cast.triage.code}"
    assert post(cast.carol, url, person=cast.bob.pk, name="laptop", days="30") == 422
    assert not cast.triage.tokens.exists()
    assert post(cast.carol, url, person=cast.carol.pk, name="laptop", days="30") == 200


def test_limits_are_set_on_the_addressed_scope_alone(cast: Cast, grace: Any) -> None:
    other = project("other-notes", "Other notes", owners=[cast.dave])
    data = {"monthly": "5", "scope_key": f"p:{other.pk}", "project": other.pk, "code": other.code}
    assert post(grace, f"/projects/{cast.triage.code}/limits/", **data) == 302
    assert {limit.scope_key for limit in Limit.objects.all()} == {f"p:{cast.triage.pk}"}
    # Owners lower the limits of their own projects: more is refused, and nothing is set elsewhere.
    assert post(cast.bob, f"/projects/{cast.triage.code}/limits/", **data, daily="7") == 422
    assert post(cast.bob, f"/projects/{other.code}/limits/", **data) == 404
    assert [(limit.scope_key, limit.amount) for limit in Limit.objects.all()] == [
        (f"p:{cast.triage.pk}", 5 * 10**9)
    ]


def test_a_role_is_granted_in_no_group_that_is_gone(cast: Cast, sales: Any) -> None:
    delete_group(group=sales, actor=ACTOR)
    data = {"person": str(cast.carol.oid), "role": "group_admin", "group": sales.pk}
    before = RoleGrant.objects.count()
    assert post(cast.alice, "/accounts/people/grant/", **data) == 422
    assert RoleGrant.objects.count() == before
