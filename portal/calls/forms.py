"""Forms of single calls: what to look for, what a call really used, and taking it back."""

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

from django import forms
from django.core import signing

from portal.decision.corrections import Used
from portal.spend.inbox import Totals
from portal.web.forms import CountField, EditForm, MoneyField
from portal.web.tables import FilterForm

_TOKENS = tuple(field.name for field in fields_of(Used))


def reason_field() -> forms.CharField:
    """Return the field every correction needs."""
    return forms.CharField(label="Reason", max_length=300, help_text="Kept in the audit log.")


class CallFilters(FilterForm):
    """What names a call."""

    q = forms.CharField(label="Request id or reservation id", max_length=200)
    gateway = forms.ChoiceField(label="Gateway")

    def __init__(self, query: Any, *, gateways: list[tuple[str, str]]) -> None:
        super().__init__(query)
        self.fields["gateway"].choices = [("", "Any gateway"), *gateways]  # type: ignore[attr-defined]
        self.full_clean()


class _CallForm(EditForm):
    """A form that remembers what the call came to when the person looked."""

    def shown(self, name: str, value: Any) -> str:
        """Return a number or an amount as the form shows it."""
        field = self.fields[name]
        if isinstance(value, int) and isinstance(field, MoneyField | CountField):
            value = field.prepare_value(value)
        return super().shown(name, value)


class CorrectForm(_CallForm):
    """What a call really used. The difference is shown before it is booked: ``reviewed`` names the numbers shown."""

    input_tokens = CountField(label="Input")
    output_tokens = CountField(label="Output")
    cached_input_tokens = CountField(label="Cached input", help_text="A part of the input.")
    cache_write_tokens = CountField(label="Cache write", help_text="A part of the input.")
    reasoning_tokens = CountField(label="Reasoning", help_text="A part of the output.")
    amount = MoneyField(
        label="Spend", required=False, help_text="Empty: at the price that was in force for the call."
    )
    reason = reason_field()
    calls = forms.IntegerField(required=False, widget=forms.HiddenInput)
    spend = MoneyField(required=False, widget=forms.HiddenInput)
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None, *, totals: Totals) -> None:
        super().__init__(data, current={name: getattr(totals, name) for name in (*_TOKENS, "calls", "spend")})

    @property
    def used(self) -> Used:
        """What was entered."""
        return Used(**{name: self.cleaned_data[name] for name in _TOKENS})

    @property
    def amount_entered(self) -> int | None:
        """What it is to come to instead of the amount by price."""
        amount: int | None = self.cleaned_data["amount"]
        return amount

    def is_reviewed(self, difference: tuple[int, ...]) -> bool:
        """Tell whether the person has seen this difference; if not, the form goes on with it as seen."""
        mark = signing.dumps(difference, salt="portal.calls.reviewed")
        try:
            sent = signing.loads(self.cleaned_data["reviewed"], salt="portal.calls.reviewed")
        except signing.BadSignature:
            sent = None
        self.data = {**{name: self.data.get(name) for name in self.data}, "reviewed": mark}
        return bool(sent == list(difference))


class VoidForm(_CallForm):
    """Take a call back as if it had never been."""

    reason = reason_field()
    calls = forms.IntegerField(required=False, widget=forms.HiddenInput)
    spend = MoneyField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None, *, totals: Totals) -> None:
        super().__init__(data, current={"calls": totals.calls, "spend": totals.spend})
