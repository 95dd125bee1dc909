"""Roles and prices go before a second person where the organization wants it so; roles that do not go together."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from audit.actors import Actor
from audit.models import AuditEntry
from portal.accounts import services
from portal.accounts.grants import close_one_review, confirm_grant, end_one_grant, start_review
from portal.accounts.models import AccessReview, Person, RoleGrant
from portal.accounts.policy import Role, roles_of
from portal.approvals.models import ApprovalPolicy, Request
from portal.approvals.roles import grant_or_ask
from portal.approvals.services import approve
from portal.lib.errors import RuleBroken
from portal.spend.models import Price
from projects.services import add_member
from tests.factories import ACTOR, Cast, person

Browse = Callable[[Person], Client]
COMMAND = Actor("command", "command:root", "command:root")


def actor(who: Person) -> Actor:
    """Return somebody in the browser."""
    return Actor("user", str(who.pk), who.name)


def grant(cast: Cast, role: str = "auditor", by: Person | None = None) -> Any:
    """Alice gives Carol a role."""
    who = by or cast.alice
    values: dict[str, Any] = {"role": role, "group": None, "expires": None, "reason": "the audit"}
    return grant_or_ask(person=cast.carol, requester=who, actor=actor(who), **values)


def test_without_the_policy_a_role_is_given_at_once(cast: Cast) -> None:
    assert isinstance(grant(cast), RoleGrant)


@pytest.mark.parametrize(("role", "waits"), [("admin", True), ("auditor", True), ("operator", False)])
def test_administrators_and_auditors_need_a_second_person(cast: Cast, role: str, waits: bool) -> None:
    ApprovalPolicy.objects.create(roles=True)
    other = person("Arno Other", role="admin")
    made = grant(cast, role)
    assert (role in roles_of(Person.objects.get(pk=cast.carol.pk))) is not waits
    if not waits:
        return
    for who in (cast.alice, cast.carol, cast.erin):
        with pytest.raises(RuleBroken):
            approve(request=made, decider=who, actor=actor(who))
    approve(request=made, decider=other, actor=actor(other))
    assert role in roles_of(Person.objects.get(pk=cast.carol.pk))


def test_with_nobody_else_one_goes_on_alone_and_the_log_says_so(cast: Cast) -> None:
    ApprovalPolicy.objects.create(roles=True)
    with pytest.raises(RuleBroken, match="Say why"):
        grant_or_ask(
            person=cast.carol,
            role="admin",
            group=None,
            expires=None,
            requester=cast.alice,
            actor=actor(cast.alice),
            reason=" ",
        )
    made = grant(cast)
    assert (made.state, made.is_alone) == ("approved", True)
    assert "Nobody else" in AuditEntry.objects.get(action="request.approved").comment
    assert Role.AUDITOR in roles_of(Person.objects.get(pk=cast.carol.pk))


def test_roles_that_changed_meanwhile_are_not_approved(cast: Cast) -> None:
    ApprovalPolicy.objects.create(roles=True)
    other = person("Arno Other", role="admin")
    made = grant(cast, "admin")
    services.grant_access(person=cast.carol, role="operator", actor=COMMAND)
    with pytest.raises(RuleBroken, match="changed since"):
        approve(request=made, decider=other, actor=actor(other))


def test_a_price_waits_for_a_second_person(cast: Cast, browse: Browse) -> None:
    ApprovalPolicy.objects.create(prices=True)
    oscar = person("Oscar Operator", role="operator")
    data = {"model": "gpt-6", "input": "1.5", "output": "6", "reason": "the new one"}
    assert browse(oscar).post("/settings/prices/new/", data).status_code == 302
    request = Request.objects.get()
    assert request.changes["input"] == [None, "1.5"]
    assert not Price.objects.exists()
    assert browse(oscar).post(f"/requests/{request.pk}/approve/").status_code == 422
    assert browse(cast.alice).post(f"/requests/{request.pk}/approve/").status_code == 302
    assert str(Price.objects.get(model="gpt-6").input) == "1.500000000"
    assert browse(oscar).post("/settings/prices/new/", {**data, "input": "-1"}).status_code == 422


@pytest.mark.parametrize(
    ("held", "role", "goes"),
    [
        ("auditor", "admin", False),
        ("auditor", "operator", False),
        ("operator", "group_admin", False),
        ("group_admin", "auditor", False),
        ("admin", "operator", True),
        ("admin", "group_admin", True),
    ],
)
def test_roles_that_do_not_go_together_are_refused(db: None, held: str, role: str, goes: bool) -> None:
    somebody = person("Sam Somebody", role=held)
    if goes:
        services.grant_access(person=somebody, role=role, actor=COMMAND)
        return
    with pytest.raises(RuleBroken, match="does not go with"):
        services.grant_access(person=somebody, role=role, actor=COMMAND)


def test_an_auditor_owns_no_project(cast: Cast) -> None:
    with pytest.raises(RuleBroken, match="does not go with"):
        services.grant_access(person=cast.bob, role="auditor", actor=COMMAND)
    with pytest.raises(RuleBroken, match="does not go with"):
        add_member(project=cast.triage, person=cast.erin, role="owner", actor=ACTOR)


def test_the_last_administrator_stays(cast: Cast) -> None:
    temporary = person("Tom Temporary", role="admin")
    temporary.role_grants.update(expires=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(RuleBroken, match="without an administrator"):
        services.revoke_access(person=cast.alice, actor=COMMAND)
    person("Arno Other", role="admin")
    services.revoke_access(person=cast.alice, actor=COMMAND)


def test_of_two_who_revoke_the_last_two_administrators_one_is_refused(clean_state: None) -> None:
    people = [person("Alice Admin", role="admin"), person("Arno Other", role="admin")]
    barrier, outcomes = threading.Barrier(2), []

    def revoke(who: Person) -> None:
        barrier.wait(10)
        try:
            services.revoke_access(person=who, actor=COMMAND)
            outcomes.append("revoked")
        except RuleBroken:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=revoke, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["refused", "revoked"]
    assert RoleGrant.objects.filter(role="admin").count() == 1


def test_a_role_for_a_time_ends_by_itself(cast: Cast, browse: Browse) -> None:
    given = services.grant_access(
        person=cast.carol, role="operator", expires=datetime.now(UTC) + timedelta(hours=1), actor=COMMAND
    )
    carol = browse(cast.carol)
    assert carol.get("/settings/prices/new/").status_code == 200
    RoleGrant.objects.filter(pk=given.pk).update(expires=datetime.now(UTC) - timedelta(seconds=1))
    assert carol.get("/settings/prices/new/").status_code == 403, (
        "it ends at the next request, not at the next job"
    )
    assert end_one_grant(actor=COMMAND)
    assert not end_one_grant(actor=COMMAND)
    assert not RoleGrant.objects.filter(pk=given.pk).exists()
    assert AuditEntry.objects.filter(action="grant.ended").count() == 1


def test_what_a_review_does_not_confirm_is_suspended(cast: Cast) -> None:
    start_review(actor=actor(cast.alice))
    with pytest.raises(RuleBroken):
        start_review(actor=actor(cast.alice))
    alices, erins = cast.alice.role_grants.get(), cast.erin.role_grants.get()
    oscar = person("Oscar Operator", role="operator")
    with pytest.raises(RuleBroken, match="your own"):
        confirm_grant(grant=alices, actor=actor(cast.alice))
    assert not close_one_review(actor=COMMAND)
    AccessReview.objects.update(due=datetime.now(UTC))
    assert close_one_review(actor=COMMAND)
    assert not close_one_review(actor=COMMAND)
    assert not roles_of(Person.objects.get(pk=cast.erin.pk))
    assert roles_of(Person.objects.get(pk=oscar.pk)), "given after the review had begun"
    assert roles_of(Person.objects.get(pk=cast.alice.pk)), "the last administrator stays"
    comments = set(AuditEntry.objects.filter(action="grant.suspended").values_list("comment", flat=True))
    assert len(comments) == 2
    confirm_grant(grant=erins, actor=actor(cast.alice))
    assert roles_of(Person.objects.get(pk=cast.erin.pk)) == {Role.AUDITOR}


def test_of_many_who_approve_at_once_one_does(clean_state: None) -> None:
    ApprovalPolicy.objects.create(roles=True)
    alice, carol = person("Alice Admin", role="admin"), person("Carol Member")
    deciders = [person(f"Ada {number}", role="admin") for number in range(8)]
    made = grant_or_ask(
        person=carol,
        role="auditor",
        group=None,
        expires=None,
        requester=alice,
        actor=actor(alice),
        reason="the audit",
    )
    assert isinstance(made, Request)
    barrier, outcomes = threading.Barrier(len(deciders)), []

    def decide(who: Person) -> None:
        barrier.wait(10)
        try:
            approve(request=made, decider=who, actor=actor(who))
            outcomes.append("approved")
        except RuleBroken:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=decide, args=(who,)) for who in deciders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["approved"] + ["refused"] * 7
    assert carol.role_grants.count() == 1
    assert AuditEntry.objects.filter(action="access.granted").count() == 1
