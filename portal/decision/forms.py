"""The form that sets limits, the same for the organization, a group and a project."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core import signing

from audit.actors import Actor
from portal.decision import limits
from portal.decision.limits import Cell, LimitsChanged, LimitSheet, Preview
from portal.lib.errors import RuleBroken
from portal.lib.money import currency_sign, format_money
from portal.spend.selectors import Calendar
from portal.web.forms import CountField, MoneyField, PortalForm

_SALT = "portal.decision.forms"


class LimitForm(PortalForm):
    """Sets the limits of a sheet. It remembers what the person saw, so that nobody overwrites what another saved."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, sheet: LimitSheet, currency: str = "USD"
    ) -> None:
        rows = limits.read_amounts(sheet.cells)
        self.sheet = sheet
        self.now = {cell.name: rows[cell.name].amount if cell.name in rows else None for cell in sheet.cells}
        super().__init__(data, initial={**self.now, "seen": _signed(self.now)})
        for cell in sheet.cells:
            field: forms.Field = MoneyField() if cell.metric == "spend" else CountField()
            field.label, field.required = cell.label, False
            field.help_text = _help(cell, self.now[cell.name], currency)
            self.fields[cell.name] = field
        self.order_fields([*(cell.name for cell in sheet.cells), "reason", "seen"])
        self.currency = currency

    @property
    def symbol(self) -> str:
        """The sign that stands before an amount."""
        return currency_sign(self.currency)

    @property
    def amounts(self) -> list[tuple[forms.BoundField, str, str]]:
        """Each limit with the units before and after it."""
        return [
            (self[cell.name], self.symbol if cell.metric == "spend" else "", cell.suffix)
            for cell in self.sheet.cells
        ]

    def wanted(self) -> dict[str, int | None]:
        """Return the amounts as typed, those of a field with an error as they are now."""
        cleaned = getattr(self, "cleaned_data", {})
        return {cell.name: cleaned.get(cell.name, self.now[cell.name]) for cell in self.sheet.cells}

    def preview(self, calendar: Calendar) -> Preview:
        """Return what saving would do."""
        return limits.preview(self.sheet, self.wanted() if self.is_bound else self.now, calendar)

    def beyond(self) -> list[str]:
        """Return in words where limits of children add up to more than their parent's with the amounts typed."""
        found = limits.beyond_of(self.sheet, self.wanted() if self.is_bound else self.now)
        return [each.in_words(self.currency) for each in found]

    def toast(self, words: str) -> str:
        """Return what is said after saving, with what the limits add up to where that is too much."""
        return ". ".join([words, *self.beyond()])

    def save(self, *, actor: Actor) -> bool:
        """Save, and tell whether it worked; else the form says why beside the fields.

        After a change by somebody else the form remembers the new values: saving again replaces them knowingly.
        """
        try:
            limits.save_limits(
                sheet=self.sheet,
                wanted=self.wanted(),
                seen=_seen(self.cleaned_data.get("seen", ""), self.now),
                actor=actor,
                reason=self.cleaned_data.get("reason", ""),
            )
        except LimitsChanged as conflict:
            self.add_error(None, conflict.message)
            for name, sentence in conflict.sentences.items():
                self.add_error(name, sentence)
            self.data = {**{name: self.data.get(name) for name in self.data}, "seen": _signed(conflict.found)}
        except RuleBroken as broken:
            self.add_broken_rule(broken)
        return not self.errors


def _help(cell: Cell, amount: int | None, currency: str) -> str:
    if cell.help:
        return cell.help
    if amount is None:
        return "Now none. Leave empty for no limit of its own."
    if cell.metric == "spend":
        return f"Now {format_money(amount, currency, 2 if amount % 10**9 else 0)}. Leave empty for no limit of its own."
    return f"Now {amount:,}. Leave empty for no limit of its own."


def _signed(amounts: Mapping[str, int | None]) -> str:
    # As text: an amount in nano-units can be larger than what a browser's numbers hold.
    return signing.dumps(
        {name: str(amount) for name, amount in amounts.items() if amount is not None}, salt=_SALT
    )


def _seen(text: str, now: Mapping[str, int | None]) -> dict[str, int | None]:
    try:
        amounts: dict[str, str] = signing.loads(text, salt=_SALT)
    except signing.BadSignature:
        return dict.fromkeys(now)
    return {name: int(amounts[name]) if name in amounts else None for name in now}
