"""The table of roles and rights is whole, and means what the documentation says."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory

from audit.models import AuditEntry
from groups.models import Group, GroupMember
from portal.accounts import access
from portal.accounts.models import Person, RoleGrant
from portal.accounts.policy import (
    APP_ROLES,
    GRANTED_ROLES,
    POLICY,
    READING,
    Reach,
    Right,
    Role,
    has_access,
    matrix,
    may,
    reach,
    rights_of,
    roles_of,
)
from projects.models import Project
from tests.accounts.cast import person


def test_every_right_has_a_row_and_every_cell_is_a_reach() -> None:
    assert set(POLICY) == set(Right)
    for _, row in matrix():
        assert list(row) == list(Role)
        assert all(isinstance(cell, Reach) for cell in row.values())


def test_app_roles_are_the_granted_roles() -> None:
    assert set(APP_ROLES.values()) == set(GRANTED_ROLES)
    assert {role for role, _ in RoleGrant.ROLES} == set(GRANTED_ROLES)


def test_administrator_may_do_everything_everywhere() -> None:
    assert all(POLICY[right].get(Role.ADMIN) is Reach.ALL for right in Right)


def test_auditor_reads_everything_and_changes_nothing() -> None:
    for right in Right:
        expected = Reach.ALL if right in READING else Reach.NONE
        assert reach(right, [Role.AUDITOR]) is expected, right


def test_operator_changes_gateways_prices_and_jobs_only() -> None:
    changes = {right for right in Right if may(right, [Role.OPERATOR])} - READING
    assert changes == {Right.MANAGE_GATEWAYS, Right.MANAGE_PRICES, Right.RUN_JOBS}


def test_nobody_but_administrators_gives_access() -> None:
    for right in (Right.MANAGE_ACCESS, Right.MANAGE_ORGANIZATION, Right.MANAGE_GROUPS):
        assert set(POLICY[right]) == {Role.ADMIN}


def test_roles_of_projects_and_groups_reach_no_further() -> None:
    for row in POLICY.values():
        assert row.get(Role.GROUP_ADMIN, Reach.NONE) in (Reach.NONE, Reach.GROUP)
        assert row.get(Role.OWNER, Reach.NONE) in (Reach.NONE, Reach.PROJECT)
        assert row.get(Role.MEMBER, Reach.NONE) in (Reach.NONE, Reach.OWN, Reach.PROJECT)
        assert row.get(Role.MEMBER, Reach.NONE) <= row.get(Role.OWNER, Reach.NONE)
        assert row.get(Role.OWNER, Reach.NONE) <= row.get(Role.GROUP_ADMIN, Reach.NONE)


def test_member_changes_own_tokens_only() -> None:
    changes = {right: reach(right, [Role.MEMBER]) for right in Right if right not in READING}
    assert {right for right, how_far in changes.items() if how_far} == {Right.ISSUE_TOKEN, Right.REVOKE_TOKEN}
    assert changes[Right.ISSUE_TOKEN] is Reach.OWN


def test_owner_does_not_set_limits() -> None:
    assert not may(Right.SET_LIMITS, [Role.OWNER])


def test_several_roles_give_the_widest_reach() -> None:
    assert reach(Right.SEE_AUDIT, [Role.MEMBER, Role.GROUP_ADMIN, Role.AUDITOR]) is Reach.ALL
    assert reach(Right.SEE_AUDIT, []) is Reach.NONE


@pytest.mark.django_db
def test_rights_come_from_grants_and_places_in_projects() -> None:
    bob = person()
    assert not has_access(bob)
    assert rights_of(bob) == {}
    Project.objects.create(code="p", name="P").memberships.create(person=bob, role="owner")

    assert roles_of(bob) == {Role.OWNER}
    assert rights_of(bob)[Right.EDIT_PROJECT] is Reach.PROJECT

    bob.role_grants.create(role="auditor", source="portal")
    assert roles_of(bob) == {Role.OWNER, Role.AUDITOR}
    bob.is_active = False
    assert rights_of(bob) == {}


@pytest.mark.django_db
def test_member_of_a_group_with_access_is_a_member() -> None:
    bob, group = person(), Group.objects.create(code="data", name="Data")
    GroupMember.objects.create(group=group, person=bob)
    assert not has_access(bob)

    Project.objects.create(code="p", name="P").group_access.create(group=group)

    assert roles_of(bob) == {Role.MEMBER}


@pytest.mark.django_db
def test_roles_toward_an_object_are_not_those_toward_others() -> None:
    claims = Group.objects.create(code="claims", name="Claims")
    data = Group.objects.create(code="data", name="Data")
    gina = person("Gina Group")
    gina.role_grants.create(role="group_admin", source="portal", group=claims)

    assert access.roles_toward(gina, group=claims.pk) == {Role.GROUP_ADMIN}
    assert access.roles_toward(gina, group=data.pk) == frozenset()
    assert access.roles_toward(gina, group=data.pk, project_role="member") == {Role.MEMBER}
    assert access.may_toward(gina, Right.EDIT_PROJECT, group=claims.pk)
    assert not access.may_toward(gina, Right.EDIT_PROJECT, group=data.pk, project_role="member")
    assert access.may_toward(gina, Right.ISSUE_TOKEN, group=data.pk, project_role="member", own=True)
    assert not access.may_toward(gina, Right.ISSUE_TOKEN, group=data.pk, project_role="member")


@pytest.mark.django_db
def test_group_administrator_without_a_group_administers_their_own() -> None:
    claims = Group.objects.create(code="claims", name="Claims")
    gone = Group.objects.create(code="gone", name="Gone", deleted="2026-01-01T00:00:00Z")
    gina = person("Gina Group", role="group_admin")
    for group in (claims, gone):
        GroupMember.objects.create(group=group, person=gina)

    assert access.groups_administered(gina) == {claims.pk}
    assert access.groups_administered(person("Alice Keller", role="admin")) == frozenset()


@pytest.mark.django_db
def test_gate_lets_in_by_right_and_audits_refused_changes(rf: RequestFactory) -> None:
    @access.require(Right.MANAGE_GATEWAYS)
    def view(request: object) -> HttpResponse:
        return HttpResponse("in")

    assert getattr(view, "required_right") is Right.MANAGE_GATEWAYS  # noqa: B009
    request = rf.post("/gateways/new/")
    for user in (AnonymousUser(), person("Erin Falk", role="auditor")):
        request.user = user
        request.session = type("S", (), {"session_key": "k"})()
        with pytest.raises(PermissionDenied):
            view(request)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.target_id) == ("access.refused", "refused", "/gateways/new/")
    request.user = person("Oscar Operator", role="operator")
    assert view(request).status_code == 200


@pytest.mark.django_db
def test_gate_tells_everywhere_from_somewhere() -> None:
    owner = person()
    Project.objects.create(code="p", name="P").memberships.create(person=owner, role="owner")

    assert access.can(owner, Right.SEE_AUDIT)
    assert not access.can(owner, Right.SEE_AUDIT, everywhere=True)


@pytest.mark.django_db
def test_queries_of_a_request_stay_few(django_assert_max_num_queries: object) -> None:
    bob = person()
    Project.objects.create(code="p", name="P").memberships.create(person=bob, role="owner")
    from portal.accounts.backends import IdentityBackend

    with django_assert_max_num_queries(4):  # type: ignore[operator]
        found = IdentityBackend().get_user(bob.pk)
        assert found is not None
        for _ in range(5):
            assert rights_of(found)


@pytest.mark.django_db
def test_session_belongs_to_active_people_with_an_identity_and_a_role() -> None:
    from portal.accounts.backends import IdentityBackend

    get_user = IdentityBackend().get_user
    assert get_user(person(role="auditor").pk) is not None
    assert get_user(person().pk) is None
    assert get_user(person(role="auditor", is_active=False).pk) is None
    assert get_user(person(role="auditor", tid=None, oid=None).pk) is None
    assert get_user(Person.objects.latest("pk").pk + 1) is None
