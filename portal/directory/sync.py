"""One run of the synchronization: people first, then groups, then the certificates.

Every step compares states and commits by itself; links are kept only after what they led to. So a run may be killed at
any line, and the next one goes on or does the same again, to the same end.
"""

from collections import Counter
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from audit.actors import Actor
from groups.lookup import look_up
from groups.models import Group
from groups.selectors import linked_groups
from portal.accounts import changes, graph
from portal.accounts.conf import microsoft, sync_seconds
from portal.accounts.graph import DirectoryUnavailable, StartAgain
from portal.accounts.models import Person
from portal.decision.jobs import only_one
from portal.directory import services
from portal.directory.models import DirectoryState, SyncRun, WatchedGroup
from portal.lib.errors import RuleBroken, Unavailable
from tokens.models import UserToken

_LOCK = 7345020
RETRY = timedelta(seconds=60)  # after a run that failed
REREAD = timedelta(days=1)  # a group is read at least so often, whatever Graph says of changes
KEPT_RUNS = 500


def sync(*, actor: Actor, asked_by: str = "") -> SyncRun:
    """Run once and return what happened; one that failed says so. Raise RuleBroken while another one runs."""
    with only_one(_LOCK) as mine:
        if not mine:
            raise RuleBroken("A synchronization is running already.")
        return _Sync(actor, asked_by).perform()


def sync_when_due(*, actor: Actor) -> SyncRun | None:
    """Run if it is time, or somebody asked; None otherwise, and where no directory is configured."""
    if not microsoft.graph_client_id or not microsoft.tenant_id:
        return None
    state = DirectoryState.objects.filter(pk=1).first()
    is_wanted = state is not None and state.wanted is not None
    last = SyncRun.objects.order_by("-id").first()
    if not is_wanted and last is not None:
        failed = last.outcome == SyncRun.Outcome.FAILED
        wait = RETRY if failed else timedelta(seconds=sync_seconds())
        if last.outcome and timezone.now() - last.started < wait:
            return None
    try:
        return sync(actor=actor, asked_by=state.wanted_by if state and is_wanted else "")
    except RuleBroken:
        return None  # another worker is at it


class _Sync:
    """The run at hand. It holds the lock, so a run without an outcome was cut off."""

    def __init__(self, actor: Actor, asked_by: str) -> None:
        self.actor, self.counts = actor, Counter[str]()
        self.tid = UUID(microsoft.tenant_id) if microsoft.tenant_id else None
        SyncRun.objects.filter(outcome="").update(
            outcome=SyncRun.Outcome.CUT_OFF, finished=timezone.now(), problem="The process ended."
        )
        self.state, _ = DirectoryState.objects.get_or_create(pk=1)
        self._keep(wanted=None, wanted_by="")
        self.run = SyncRun.objects.create(asked_by=asked_by, step="Reading people")

    def perform(self) -> SyncRun:
        """Do everything; what the directory does not answer ends the run as failed."""
        try:
            self._people()
            self._groups()
            self._tell("Looking at certificates")
            self.counts["certificates_ending"] = services.tell_of_ending_certificates()
        except Unavailable as problem:
            return self._finish(SyncRun.Outcome.FAILED, str(problem))
        except StartAgain:
            return self._finish(SyncRun.Outcome.FAILED, "Microsoft Graph refuses to begin a reading.")
        old = SyncRun.objects.order_by("-id").values_list("pk", flat=True)[KEPT_RUNS : KEPT_RUNS + 1]
        SyncRun.objects.filter(pk__lte=old[0] if old else 0).delete()
        return self._finish(SyncRun.Outcome.DONE)

    def _people(self) -> None:
        """Follow everybody who changed; without a link that Graph still knows, everybody there is."""
        if self.tid is None:
            raise DirectoryUnavailable("No directory is configured: set ENTRA_TENANT_ID and GRAPH_CLIENT_ID.")
        if not self.state.people_link:
            self._begin_full()
        try:
            page = changes.people_page(self.state.people_link)
        except StartAgain:
            self.counts["resyncs"] += 1
            self._begin_full()
            page = changes.people_page()
        while True:
            self._follow_page(page)
            if page.is_last:
                break
            self._keep(people_link=page.link)
            page = changes.people_page(page.link)
        if self.state.full_since is not None:
            self._look_for_missing()
        self._keep(people_link=page.link, full_since=None)
        self._suspend_what_came_later()

    def _begin_full(self) -> None:
        self._keep(people_link="", full_since=timezone.now())

    def _follow_page(self, page: changes.PeoplePage) -> None:
        oids = {found.oid for found in page.people} | page.gone
        known = {person.oid: person for person in Person.objects.filter(tid=self.tid, oid__in=oids)}
        for found in page.people:
            if person := known.get(found.oid):
                self.counts[services.follow(person=person, found=found, actor=self.actor) or "same"] += 1
        for oid in page.gone & known.keys():
            self._gone(known[oid])
        if self.state.full_since is not None:
            seen = [known[found.oid].pk for found in page.people if found.oid in known]
            Person.objects.filter(pk__in=seen).update(seen_in_directory=timezone.now())
        self.counts["people"] += len(oids)
        self._tell(f"Reading people: {self.counts['people']}")

    def _look_for_missing(self) -> None:
        """Whom a reading of everybody did not name is asked for by name: no answer is no proof, an absence is."""
        unseen = Q(seen_in_directory__isnull=True) | Q(seen_in_directory__lt=self.state.full_since)
        people = Person.objects.filter(unseen, tid=self.tid, oid__isnull=False)
        for person in people.exclude(left_because="deleted").iterator(chunk_size=200):
            found = graph.person(person.oid) if person.oid else None
            if found is None:
                self._gone(person)
            else:
                self.counts[services.follow(person=person, found=found, actor=self.actor) or "same"] += 1

    def _gone(self, person: Person) -> None:
        if services.depart(person=person, because="deleted", actor=self.actor):
            self.counts["left"] += 1

    def _suspend_what_came_later(self) -> None:
        held = UserToken.objects.active().filter(person__left__isnull=False)
        for person in Person.objects.filter(pk__in=held.values("person")):
            self.counts["suspended_later"] += services.suspend_what_is_left_on(
                person=person, actor=self.actor
            )

    def _groups(self) -> None:
        """Read the registered groups in which anything changed, then look at who was taken out of one."""
        changed: frozenset[UUID] | None = None
        try:
            if self.state.groups_link:
                found = changes.changed_groups(self.state.groups_link)
                changed, link = found.groups, found.link
                taken_out = Person.objects.filter(tid=self.tid, oid__in=found.taken_out)
                self._check_later(set(taken_out.values_list("pk", flat=True)))
            else:
                link = changes.groups_from_now()
        except StartAgain:
            self.counts["resyncs"] += 1
            link = changes.groups_from_now()
        to_read = [group for group in linked_groups().order_by("pk") if self._has_changed(group, changed)]
        for number, group in enumerate(to_read, 1):
            self._tell(f"Reading groups: {number} of {len(to_read)}")
            self._read(group)
        for pk in list(self.state.to_check):
            if person := Person.objects.filter(pk=pk).first():
                ended = services.end_memberships_without_group(person=person, actor=self.actor)
                self.counts["memberships_ended"] += len(ended)
            self._keep(to_check=[each for each in self.state.to_check if each != pk])
        self._keep(groups_link=link)

    def _has_changed(self, group: Group, changed: frozenset[UUID] | None) -> bool:
        watched = WatchedGroup.objects.filter(entra_id=group.entra_id).first() if group.entra_id else None
        if changed is None or watched is None or group.is_missing or group.looked_up is None:
            return True
        if timezone.now() - watched.read >= REREAD:
            return True
        return bool(changed & {watched.entra_id, *watched.nested})

    def _read(self, group: Group) -> None:
        if group.entra_id is None:
            return
        was_missing = group.is_missing
        # The groups inside first: one that comes meanwhile is a change, and read with the next run.
        nested = changes.nested_groups(group.entra_id)
        if look_up(group, actor=self.actor, before_leaving=self._check_later):
            self.counts["groups_changed"] += 1
        self.counts["groups"] += 1
        group.refresh_from_db()
        if group.is_missing and not was_missing:
            self.counts["groups_missing"] += 1
            services.tell_group_is_missing(pk=group.pk, name=group.name)
        WatchedGroup.objects.update_or_create(
            pk=group.entra_id, defaults={"nested": nested, "read": timezone.now()}
        )

    def _check_later(self, people: set[int]) -> None:
        if people - set(self.state.to_check):
            self._keep(to_check=sorted({*self.state.to_check, *people}))

    def _keep(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self.state, name, value)
        self.state.save(update_fields=list(values))

    def _tell(self, step: str) -> None:
        self.run.step, self.run.counts = step, dict(self.counts)
        self.run.is_full = self.run.is_full or self.state.full_since is not None
        self.run.save(update_fields=["step", "counts", "is_full"])

    def _finish(self, outcome: SyncRun.Outcome, problem: str = "") -> SyncRun:
        self.run.outcome, self.run.problem = outcome, problem[:500]
        self.run.finished, self.run.counts = timezone.now(), dict(self.counts)
        if outcome == SyncRun.Outcome.DONE:
            self.run.step = ""
        self.run.save()
        return self.run
