"""The filters above the log."""

from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.http import QueryDict

from audit.actions import Action, Outcome
from audit.reading import TARGETS, action_name, short_name
from audit.selectors import Wanted
from portal.lib.windows import midnight, to_datetime
from portal.web.tables import FilterForm

PERIODS = [
    ("", "Any time"),
    ("1", "Last 24 hours"),
    ("7", "Last 7 days"),
    ("30", "Last 30 days"),
    ("dates", "Choose dates…"),
]


def day_field(label: str) -> forms.DateField:
    """Return a field for a day; it shows while the period beside it is to be chosen by dates."""
    return forms.DateField(label=label, widget=forms.DateInput(attrs={"type": "date", "class": "by-dates"}))


class PeriodFilters(FilterForm):
    """Filters of a list of what happened: a period up to now, or days of the organization's calendar."""

    def since_and_until(self, now: datetime, zone: str) -> tuple[datetime | None, datetime | None]:
        """Return since when and until when, both None for any time; the last day is meant whole."""
        chosen = self.value("period")
        if chosen and chosen != "dates":
            return now - timedelta(days=int(chosen)), None
        if chosen != "dates":
            return None, None
        first: date | None = self.cleaned_data.get("first")
        last: date | None = self.cleaned_data.get("last")
        return (
            to_datetime(midnight(first, zone)) if first else None,
            to_datetime(midnight(last + timedelta(days=1), zone)) if last else None,
        )


class EntryFilters(PeriodFilters):
    """`actors` are id and name, `projects` id and name, of what the person may read."""

    q = forms.CharField(label="Object, person or entry number", max_length=100)
    action = forms.ChoiceField(label="Action")
    actor = forms.ChoiceField(label="Made by")
    target = forms.ChoiceField(label="Kind of object")
    project = forms.ChoiceField(label="Project")
    outcome = forms.ChoiceField(label="Outcome")
    period = forms.ChoiceField(label="Period", choices=PERIODS)
    first = day_field("From")
    last = day_field("To")

    def __init__(
        self, query: QueryDict, *, actors: list[tuple[str, str]], projects: list[tuple[int, str]]
    ) -> None:
        super().__init__(query)
        people = sorted(((actor_id, short_name(name)) for actor_id, name in actors), key=lambda pair: pair[1])
        actions = [(action.value, action_name(action.value)) for action in Action]
        choices: dict[str, list[Any]] = {
            "action": [("", "Any action"), *sorted(actions, key=lambda pair: pair[1])],
            "actor": [("", "Anyone"), *people],
            "target": [("", "Any object"), *TARGETS.items()],
            "project": [("", "Any project"), *((str(pk), name) for pk, name in projects)],
            "outcome": [("", "Any outcome"), *Outcome.choices],
        }
        for name, offered in choices.items():
            self.fields[name].choices = offered  # type: ignore[attr-defined]
        if not projects:
            del self.fields["project"]
        self.full_clean()

    def wanted(self, now: datetime, zone: str) -> Wanted:
        """Return what narrows the log."""
        since, until = self.since_and_until(now, zone)
        return Wanted(
            text=self.value("q"),
            action=self.value("action"),
            actor=self.value("actor"),
            target_type=self.value("target"),
            project=int(self.value("project") or 0) or None,
            outcome=self.value("outcome"),
            since=since,
            until=until,
        )
