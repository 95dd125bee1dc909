"""The form that asks for a raise of a limit."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portal.decision.services import shown_amount
from portal.limits.requests import in_words, name_of
from portal.spend.models import Limit
from portal.web.forms import CountField, MoneyField, PortalForm


class RaiseForm(PortalForm):
    """Which limit, how high, until when and why. It remembers the limits as the person saw them."""

    limit = forms.ChoiceField(label="Limit", error_messages={"required": "Choose a limit."})
    amount = forms.CharField(
        label="New limit",
        required=False,
        max_length=30,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text="Leave empty to ask for no limit of its own.",
    )
    until = forms.DateField(
        label="Until the end of",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Then the limit as it is now comes back. Leave empty for good.",
        error_messages={"invalid": "Enter a day, such as 2027-03-31."},
    )
    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What for, so that who decides knows.",
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any = None, *, limits: Iterable[Limit], currency: str, chosen: str = "") -> None:
        self.limits = {str(limit.pk): limit for limit in limits}
        self.currency = currency
        now = {pk: self._now(limit) for pk, limit in self.limits.items()}
        chosen = chosen if chosen in now else next(iter(now), "")
        # Ids of its own: the dialog lies over a page with another form.
        first = {"seen": json.dumps(now), "limit": chosen}
        super().__init__(data, initial=first, auto_id="raise_%s")
        choices = [(pk, f"{_capital(name_of(limit))}, now {now[pk]}") for pk, limit in self.limits.items()]
        self.fields["limit"].choices = choices  # type: ignore[attr-defined]

    def _now(self, limit: Limit) -> str:
        return in_words(limit.metric, shown_amount(limit.metric, limit.amount), self.currency)

    def clean(self) -> dict[str, Any]:
        """Read the amount as the limit's metric has it; refuse where the limit was changed meanwhile."""
        cleaned: dict[str, Any] = super().clean() or {}
        limit = self.limits.get(cleaned.get("limit", ""))
        if limit is None:
            return cleaned
        try:
            field: forms.Field = MoneyField() if limit.metric == "spend" else CountField()
            field.required = False
            cleaned["amount"] = field.clean(cleaned.get("amount") or "")
        except ValidationError as error:
            self.add_error("amount", error)
        seen = _memory(cleaned.get("seen", "")).get(str(limit.pk))
        if seen is not None and seen != self._now(limit):
            self.add_error(
                "limit",
                f"It was {seen} when you opened this; it is {self._now(limit)} now. Look again, then ask.",
            )
            now = {pk: self._now(each) for pk, each in self.limits.items()}
            self.data = {**{name: self.data.get(name) for name in self.data}, "seen": json.dumps(now)}
        cleaned["limit"] = limit
        return cleaned

    @property
    def until_day(self) -> date | None:
        """The last day of the raise."""
        found: date | None = self.cleaned_data["until"]
        return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _memory(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
