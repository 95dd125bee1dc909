"""People who may not come in, and those who may no longer stay."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from audit.models import AuditEntry
from groups.models import Group
from portal.accounts import services
from portal.accounts.models import Person
from projects.models import Project
from tests.accounts.cast import ADMIN, person
from tests.factories import signed_in
from tests.identity_fixtures import Browser, StandIn, known


def test_person_without_role_is_told_to_get_access_and_has_no_session(browser: Browser) -> None:
    answer = browser.sign_in("dave")

    assert_no_access(browser, answer)
    assert "dave@northgate.example" in answer.content.decode()
    assert not browser.has_session
    assert not Person.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome) == ("session.refused", "refused")
    assert "Dave Whitlock" in entry.actor_display


def test_person_without_role_may_use_another_account(browser: Browser) -> None:
    page = browser.sign_in("dave").content.decode()
    assert 'name="another"' in page

    address = browser.begin(another="1")

    assert browser.come_back(browser.choose(address, "alice")).status_code == 302


def test_unknown_app_role_counts_for_nothing(browser: Browser, standin: StandIn) -> None:
    standin.change("dave", roles=["Portal.Root", "portal.admin", "Admin"])

    assert_no_access(browser, browser.sign_in("dave"))


def test_person_who_lost_the_last_role_is_out_everywhere(
    browsers: Callable[[], Browser], standin: StandIn
) -> None:
    there, here = browsers(), browsers()
    there.sign_in("alice")
    assert there.is_signed_in()
    standin.change("alice", roles=[])

    answer = here.sign_in("alice")

    assert_no_access(here, answer)
    assert not here.has_session
    assert not there.is_signed_in()
    assert not Person.objects.get().role_grants.exists()


def test_role_given_back_reaches_the_same_person(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    before = Person.objects.get()
    standin.change("alice", roles=[])
    browser.sign_in("alice")
    standin.change("alice", roles=["Portal.Auditor"])

    assert browser.sign_in("alice").status_code == 302

    assert Person.objects.get() == before
    assert [grant.role for grant in before.role_grants.all()] == ["auditor"]


def test_demotion_holds_from_the_next_sign_in(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    standin.change("alice", roles=["Portal.Auditor"])

    browser.sign_in("alice")

    assert [grant.role for grant in Person.objects.get().role_grants.all()] == ["auditor"]
    changed = AuditEntry.objects.filter(action="roles.changed").last()
    assert changed is not None
    assert changed.changes == {"entra_roles": [["admin"], ["auditor"]]}


def test_role_granted_here_survives_what_entra_takes(browser: Browser, standin: StandIn) -> None:
    browser.sign_in("alice")
    services.grant_access(person=Person.objects.get(), role="operator", actor=ADMIN)
    standin.change("alice", roles=[])

    assert browser.sign_in("alice").status_code == 302

    assert [grant.role for grant in Person.objects.get().role_grants.all()] == ["operator"]


def test_disabled_person_is_refused_and_signed_out(browsers: Callable[[], Browser]) -> None:
    there, here = browsers(), browsers()
    there.sign_in("alice")
    Person.objects.update(is_active=False)

    answer = here.sign_in("alice")

    assert answer.status_code == 403
    assert "Your account is disabled" in answer.content.decode()
    assert not here.has_session
    assert not there.is_signed_in()


def test_guest_is_refused_by_default(browser: Browser) -> None:
    answer = browser.sign_in("guest.consultant")

    assert answer.status_code == 403
    assert "Guest accounts cannot sign in" in answer.content.decode()
    assert not Person.objects.exists()


@pytest.mark.parametrize("claims", [{"acct": 1}, {"acct": "1"}, {"idp": "live.com"}])
def test_each_sign_of_a_guest_is_seen(browser: Browser, standin: StandIn, claims: dict[str, Any]) -> None:
    standin.distort(claims=claims)

    assert browser.sign_in("alice").status_code == 403
    assert not browser.is_signed_in()


def test_guest_who_is_let_in_gets_no_right_over_the_portal(browser: Browser, standin: StandIn) -> None:
    with override_settings(ENTRA_ALLOW_GUESTS=True):
        assert_no_access(browser, browser.sign_in("guest.consultant"))
        paula = known(standin, "guest.consultant")
        Project.objects.create(code="p", name="P").memberships.create(person=paula)

        assert browser.sign_in("guest.consultant").status_code == 302

    assert not paula.role_grants.exists()


def test_guest_holds_a_role_by_exception_only(browser: Browser, standin: StandIn) -> None:
    paula = known(standin, "guest.consultant")
    standin.change("guest.consultant", roles=["Portal.GroupAdmin"])
    Project.objects.create(code="p", name="P").memberships.create(person=paula)
    with override_settings(ENTRA_ALLOW_GUESTS=True):
        assert browser.sign_in("guest.consultant").status_code == 302
        assert not paula.role_grants.exists()
        admin = signed_in(person("Elena Marsh", role="admin"))
        wanted = {"person": str(paula.oid), "role": "operator"}
        refused = admin.post("/accounts/people/grant/", wanted)
        assert refused.status_code == 422
        assert "allow roles for this guest first" in refused.content.decode()
        assert admin.post(f"/accounts/people/{paula.pk}/guest/", {}).status_code == 422
        assert admin.post(f"/accounts/people/{paula.pk}/guest/", {"reason": "audit firm"}).status_code == 302

        browser.sign_in("guest.consultant")

    assert {grant.role for grant in paula.role_grants.all()} == {"group_admin"}
    assert AuditEntry.objects.get(action="guest.excepted").comment == "audit firm"
    admin.post(f"/accounts/people/{paula.pk}/revoke/")
    paula.refresh_from_db()
    assert (paula.guest_exception, paula.role_grants.count()) == ("", 0)


def test_token_without_groups_takes_none_away_that_the_directory_still_has(
    browser: Browser, standin: StandIn
) -> None:
    group = Group.objects.create(code="data", name="Data", entra_id=standin.group("data"))
    Project.objects.create(code="p", name="P").group_access.create(group=group)
    browser.sign_in("carol")
    standin.distort(drop=["groups"])

    browser.sign_in("carol")

    assert group.members.exists()
    standin.distort(drop=["groups"])
    standin.outage("graph")
    assert browser.sign_in("carol").status_code == 503
    assert group.members.exists()


def test_member_of_a_group_with_access_comes_in(browser: Browser, standin: StandIn) -> None:
    group = Group.objects.create(code="data", name="Data", entra_id=standin.group("data"))
    Project.objects.create(code="p", name="P").group_access.create(group=group)

    assert browser.sign_in("carol").status_code == 302

    assert browser.is_signed_in()
    assert group.members.get().person == Person.objects.get()
    standin.change("carol", groups=[])
    assert_no_access(browser, browser.sign_in("carol"))
    assert not group.members.exists()


def test_member_of_a_deleted_group_does_not(browser: Browser, standin: StandIn) -> None:
    group = Group.objects.create(
        code="data", name="Data", entra_id=standin.group("data"), deleted="2026-01-01T00:00:00Z"
    )
    Project.objects.create(code="p", name="P").group_access.create(group=group)

    assert_no_access(browser, browser.sign_in("carol"))


def test_too_many_groups_for_the_token_are_looked_up(browser: Browser, standin: StandIn) -> None:
    standin.change("omar", roles=[])
    group = Group.objects.create(code="share", name="Share", entra_id=standin.group("share-250"))
    Project.objects.create(code="p", name="P").group_access.create(group=group)

    assert browser.sign_in("omar").status_code == 302

    assert browser.is_signed_in()
    assert standin.counters()[f"/v1.0/users/{standin.person('omar')['id']}/getMemberObjects"] == 1


@pytest.mark.parametrize("claims", [{"hasgroups": True}, {"_claim_names": {"groups": "src1"}}])
def test_too_many_groups_and_no_directory_is_no_sign_in(
    browser: Browser, standin: StandIn, claims: dict[str, Any]
) -> None:
    standin.outage("graph")
    standin.distort(claims=claims)

    answer = browser.sign_in("alice")  # an administrator: rights are neither dropped nor kept quietly

    assert answer.status_code == 503
    assert "Microsoft does not answer" in answer.content.decode()
    assert not browser.is_signed_in()
    assert not Person.objects.exists()


def assert_no_access(browser: Browser, answer: Any) -> None:
    assert answer.status_code == 403
    assert "You need to be granted access" in answer.content.decode()
    assert not browser.is_signed_in()
