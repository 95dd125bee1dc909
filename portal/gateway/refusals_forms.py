"""The filters above the refused requests."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django import forms

from audit.forms import PeriodFilters, day_field
from portal.gateway.refusals import Wanted
from portal.gateway.refusals_words import CODES, reason

PERIODS = [
    ("", "Last 7 days"),
    ("1", "Last 24 hours"),
    ("30", "Last 30 days"),
    ("all", "Any time"),
    ("dates", "Choose dates…"),
]


class RefusalFilters(PeriodFilters):
    """A list without a period in the address is of the last 7 days."""

    q = forms.CharField(label="Credential or request id", max_length=200)
    project = forms.ChoiceField(label="Project")
    person = forms.ChoiceField(label="Person")
    model = forms.ChoiceField(label="Model")
    code = forms.ChoiceField(
        label="Reason", choices=[("", "Any reason"), *((code, reason(code)) for code in CODES)]
    )
    limit = forms.ChoiceField(label="Limit")
    period = forms.ChoiceField(label="Period", choices=PERIODS)
    first = day_field("From")
    last = day_field("To")

    usual_days = 7

    def offer(
        self, projects: Sequence[tuple[int, str]], found: Mapping[str, Sequence[tuple[str, str]]]
    ) -> None:
        """Offer what the person may see; a choice made earlier that does not occur any more stays chosen."""
        offered = {"project": [(str(pk), name) for pk, name in projects], **found}
        for name, empty in (
            ("project", "Any project"),
            ("person", "Anybody"),
            ("model", "Any model"),
            ("limit", "Any limit"),
        ):
            choices = list(offered.get(name, ()))
            given = self.data.get(name, "")
            if name in ("model", "limit") and given and given not in dict(choices):
                choices.append((given, given.replace("|", " ").strip()))
            self.fields[name].choices = [("", empty), *choices]  # type: ignore[attr-defined]
        self.full_clean()

    def wanted(self, now: datetime, zone: str) -> Wanted:
        """Return what narrows the list."""
        since, until = self.since_and_until(now, zone)
        return Wanted(
            text=self.value("q"),
            code=self.value("code"),
            limit=self.value("limit"),
            project=int(self.value("project") or 0) or None,
            person=int(self.value("person") or 0) or None,
            model=self.value("model"),
            since=since,
            until=until,
        )
