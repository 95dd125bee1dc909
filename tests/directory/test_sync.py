"""The synchronization with Entra ID, through the command, the stand-in and the Gateway API."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from audit.actors import Actor
from audit.models import AuditEntry
from portal.accounts import changes
from portal.accounts.models import Person, Session
from portal.directory import sync
from portal.directory.models import DirectoryState, SyncRun
from portal.directory.tasks import sync_directory
from portal.notifications.models import Message
from projects.models import Project
from tests import factories
from tests.directory.conftest import run, state, token_of
from tests.identity_fixtures import Browser, StandIn, known
from tokens.models import UserToken
from tokens.services import suspend_token

ACTOR = factories.ACTOR


def test_first_run_reads_everybody_and_later_ones_what_changed(carol: Person, standin: StandIn) -> None:
    first = run()
    assert (first["outcome"], first["full"], first["left"]) == ("done", True, 0)
    assert first["people"] > 60

    assert run() | {"groups": 0} == {**first, "full": False, "people": 0, "groups": 0}
    standin.change("carol", name="Carol Jensen-Roth")

    later = run()

    assert (later["people"], later["changed"]) == (1, 1)
    carol.refresh_from_db()
    assert carol.name == "Carol Jensen-Roth"
    assert AuditEntry.objects.get(action="person.changed").changes["name"] == [
        "Carol Jensen",
        "Carol Jensen-Roth",
    ]


def test_disabled_person_loses_sessions_and_has_tokens_suspended(
    browser: Browser, standin: StandIn, project: Project
) -> None:
    browser.sign_in("carol")
    carol = Person.objects.get(name="Carol Jensen")
    token = token_of(carol, project)
    run()
    assert browser.is_signed_in()
    standin.change("carol", enabled=False)

    answer = run()

    assert answer["left"] == 1
    assert not Session.objects.filter(person=carol).exists()
    assert not browser.is_signed_in()
    assert state(token) == "suspended"
    entry = AuditEntry.objects.get(action="person.left")
    assert entry.changes == {"account": ["enabled", "disabled"], "tokens_suspended": [None, 1]}
    assert entry.actor_type == "command"
    assert run()["left"] == 0
    assert AuditEntry.objects.filter(action="person.left").count() == 1


def test_person_who_returns_has_back_what_the_directory_took_and_nothing_else(
    standin: StandIn, carol: Person, project: Project
) -> None:
    token, by_hand = token_of(carol, project), token_of(carol, project)
    suspend_token(token=by_hand, reason="lost laptop", actor=ACTOR)
    run()
    standin.change("carol", enabled=False)
    run()
    standin.change("carol", enabled=True)

    assert run()["returned"] == 1

    carol.refresh_from_db()
    assert (carol.is_active, carol.left) == (True, None)
    assert (state(token), state(by_hand)) == ("active", "suspended")
    assert project.memberships.filter(person=carol).exists()


def test_deleted_person_has_left_also_when_only_a_whole_reading_shows_it(
    standin: StandIn, carol: Person, project: Project
) -> None:
    token = token_of(carol, project)
    run()
    standin.control("DELETE", "people/carol")
    standin.control("POST", "forget-changes")  # Graph answers 410 to the link that is kept

    answer = run()

    assert (answer["full"], answer["resyncs"] > 0, answer["left"]) == (True, True, 1)
    carol.refresh_from_db()
    assert carol.left_because == "deleted"
    assert state(token) == "suspended"


def test_deleted_person_is_seen_among_the_changes(standin: StandIn, carol: Person) -> None:
    run()
    standin.control("DELETE", "people/carol")

    answer = run()

    assert (answer["full"], answer["left"]) == (False, 1)


def test_people_without_identity_and_of_other_tenants_are_left_alone(standin: StandIn, db: None) -> None:
    Person.objects.create(name="carol@northgate.example", email="carol@northgate.example")
    Person.objects.create(tid=uuid.uuid4(), oid=uuid.uuid4(), name="Guest")

    assert run()["left"] == 0


def test_outage_fails_the_run_and_changes_nothing(standin: StandIn, carol: Person) -> None:
    run()
    standin.change("carol", enabled=False)
    standin.outage("graph")

    answer = run(expected=1)

    assert answer["outcome"] == "failed"
    assert "Microsoft Graph" in answer["problem"]
    carol.refresh_from_db()
    assert carol.is_active
    standin.outage()
    assert run()["left"] == 1


@pytest.mark.parametrize(
    "line",
    ["tokens.services._suspend", "portal.directory.services._tell", "portal.directory.sync._Sync._groups"],
)
def test_run_that_is_killed_is_done_again_to_the_same_end(
    standin: StandIn, carol: Person, project: Project, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    token = token_of(carol, project)
    run()
    standin.change("carol", enabled=False)

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(line, killed)
        with pytest.raises(KeyboardInterrupt):
            sync.sync(actor=ACTOR)

    assert run()["outcome"] == "done"

    assert state(token) == "suspended"
    assert SyncRun.objects.filter(outcome="cut_off").count() == 1
    assert AuditEntry.objects.filter(action="person.left").count() == 1
    assert AuditEntry.objects.filter(action="token.suspended").count() == 1


def test_whole_reading_goes_on_where_it_was_cut_off(
    standin: StandIn, carol: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    real = changes.people_page

    def second_page_kills(link: str = "") -> changes.PeoplePage:
        pages.append(link)
        if len(pages) == 2:
            raise KeyboardInterrupt
        page = real(link)
        if len(pages) == 1:  # as if there were more
            return changes.PeoplePage(page.people[:10], page.gone, page.link, is_last=False)
        return page

    monkeypatch.setattr(changes, "people_page", second_page_kills)
    with pytest.raises(KeyboardInterrupt):
        sync.sync(actor=ACTOR)
    kept = DirectoryState.objects.get()
    assert kept.people_link == pages[1]
    assert kept.full_since is not None

    assert run()["left"] == 0

    assert pages[2] == pages[1]
    assert DirectoryState.objects.get().full_since is None


def test_only_one_run_at_a_time(standin: StandIn, transactional_db: None) -> None:
    import psycopg

    settings = connection.get_connection_params()
    allowed = {
        name: settings[name] for name in ("dbname", "user", "password", "host", "port") if settings.get(name)
    }
    with psycopg.connect(**allowed) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [sync._LOCK])
        with pytest.raises(Exception, match="running already"):
            call_command("sync_directory")
        assert sync.sync_when_due(actor=ACTOR) is None
    assert not SyncRun.objects.exists()


def test_administrators_are_told_when_somebody_leaves_what_nobody_else_owns(
    standin: StandIn, project: Project, carol: Person
) -> None:
    alice = known(standin, "alice")
    alice.role_grants.create(role="admin", source="portal")
    run()
    standin.change("carol", enabled=False)
    run()
    assert not Message.objects.exists()  # Carol owned nothing
    standin.change("bob", enabled=False)

    run()

    message = Message.objects.get()
    assert message.title == "Bob Nakamura has left: somebody else must take over"
    assert "1 project with no other owner: Claims letters" in message.text
    assert [each.person_id for each in message.deliveries.all()] == [alice.pk]


def test_certificate_that_ends_within_thirty_days_is_told_once_a_stage(
    standin: StandIn, db: None, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = known(standin, "alice")
    alice.role_grants.create(role="admin", source="portal")
    run()
    assert not Message.objects.exists()
    from portal.directory import certificates

    real = certificates.certificates()[0]
    for days in (20, 19, 6):
        ending = certificates.Certificate(
            real.use, real.serial, timezone.now() + timedelta(days=days, hours=1)
        )
        monkeypatch.setattr(certificates, "certificates", lambda ending=ending: [ending])
        assert run()["certificates_ending"] == 1

    assert Message.objects.filter(title="The certificate for reading the directory ends soon").count() == 2


def test_job_runs_every_few_minutes_or_when_asked(
    standin: StandIn, carol: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_directory()
    sync_directory()
    assert SyncRun.objects.count() == 1
    DirectoryState.objects.update(wanted=timezone.now(), wanted_by="Lars Holt")

    sync_directory()
    sync_directory()

    assert [each.asked_by for each in SyncRun.objects.order_by("id")] == ["", "Lars Holt"]
    SyncRun.objects.update(started=timezone.now() - timedelta(seconds=241))
    sync_directory()
    assert SyncRun.objects.count() == 3


def test_token_that_appears_after_somebody_left_is_suspended_too(
    standin: StandIn, carol: Person, project: Project
) -> None:
    token = token_of(carol, project)
    run()
    standin.change("carol", enabled=False)
    run()
    UserToken.objects.filter(pk=token.pk).update(suspended=None, cause="")

    assert run()["suspended_later"] == 1


def test_refused_without_a_directory(db: None, settings: Any) -> None:
    settings.GRAPH_CLIENT_ID = settings.ENTRA_TENANT_ID = ""

    assert "No directory is configured" in run(expected=1)["problem"]
    assert sync.sync_when_due(actor=Actor.job("x")) is None
