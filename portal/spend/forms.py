"""Forms of the price book."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from portal.lib.money import from_nano, to_nano
from portal.spend import price_book
from portal.spend.models import Price
from portal.web.forms import CountField, MoneyField, PortalForm
from portal.web.tables import FilterForm

_MOST_TOKENS = 2**31 - 1

CONFIRMATION = "import"


class PriceFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Model or alias", max_length=100)
    source = forms.ChoiceField(
        label="Source", choices=[("", "Any source"), ("entered", "Entered here"), ("imported", "Imported")]
    )
    used = forms.ChoiceField(
        label="Use", choices=[("", "All models"), ("recent", "Used in the last 30 days")]
    )


class MomentField(forms.DateTimeField):
    """A day and minute as clocks of a time zone show them; empty is None."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def __init__(self, *, zone: str = "UTC", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zone = zone

    def to_python(self, value: Any) -> datetime | None:
        """Read the moment in the time zone."""
        with timezone.override(ZoneInfo(self.zone)):
            return super().to_python(value)


class PriceForm(PortalForm):
    """A new version of a model's price. A change by more than a factor of ten must be confirmed."""

    model = forms.CharField(
        label="Model",
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text="As the gateway calls it.",
    )
    input = MoneyField(label="Input")
    cached_input = MoneyField(label="Cached input", required=False, help_text="Empty: as input.")
    cache_write = MoneyField(label="Cache write", required=False, help_text="Empty: as input.")
    output = MoneyField(label="Output")
    context_window = CountField(
        label="Context window",
        required=False,
        max_value=_MOST_TOKENS,
        help_text="Reserved when a call does not say how long its input is.",
    )
    ceiling = CountField(
        label="Most output",
        required=False,
        max_value=_MOST_TOKENS,
        help_text="Reserved when a call sets no cap on its output. Empty: the context window.",
    )
    effective = MomentField(label="In force from", required=False)
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )
    sure_of = forms.CharField(required=False, widget=forms.HiddenInput)
    sure = forms.CharField(
        label="Type the name of the model to confirm",
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}
        ),
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, model: str, currency: str, zone: str
    ) -> None:
        self.currency = currency
        super().__init__(data, initial={"model": model, **_values(price_book.price_in_force(model))})
        effective = self.fields["effective"]
        assert isinstance(effective, MomentField)  # noqa: S101  declared above
        effective.zone = zone
        effective.help_text = f"Empty: from now on. In {zone}; never before usage that was priced already."
        self.large: list[str] = []

    def clean_model(self) -> str:
        """A name that stands for another model has no price of its own."""
        name = str(self.cleaned_data["model"])
        if model := price_book.alias_of(name):
            raise ValidationError(f"{name} is another name of {model}. Set the price of {model}.")
        return name

    def clean(self) -> dict[str, Any]:
        """Ask about a price that moves the decimal point."""
        cleaned: dict[str, Any] = super().clean() or {}
        self.large = self._large(cleaned)
        asked = "; ".join(self.large)
        is_typed = cleaned.get("sure") == cleaned.get("model")
        if self.large and not (is_typed and cleaned.get("sure_of") == asked):
            self.add_error("sure", f"Look at the prices again, then type {cleaned.get('model')}.")
            self.data = {**{name: self.data.get(name) for name in self.data}, "sure_of": asked, "sure": ""}
        return cleaned

    def values(self) -> dict[str, Any]:
        """Return what portal.decision.services.set_price takes."""
        cleaned = dict(self.cleaned_data)
        for name in ("sure", "sure_of"):
            del cleaned[name]
        amounts = {name: cleaned[name] for name in price_book.PRICES}
        return cleaned | {name: None if nano is None else from_nano(nano) for name, nano in amounts.items()}

    def _large(self, cleaned: Mapping[str, Any]) -> list[str]:
        amounts = {name: cleaned.get(name) for name in price_book.PRICES}
        prices = {name: None if nano is None else from_nano(nano) for name, nano in amounts.items()}
        return price_book.large_changes(cleaned.get("model", ""), prices, self.currency)


def _values(price: Price | None) -> dict[str, Any]:
    """Return a price as the fields of the form take it."""
    if price is None:
        return {}
    amounts = {name: getattr(price, name) for name in price_book.PRICES}
    return {
        **{name: None if amount is None else to_nano(amount) for name, amount in amounts.items()},
        "ceiling": price.ceiling,
        "context_window": price.context_window,
    }


class ImportForm(PortalForm):
    """Import the published prices at a rate."""

    rate = forms.DecimalField(
        max_digits=18,
        decimal_places=9,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    sure = forms.CharField(
        label=f"Type {CONFIRMATION} to confirm",
        required=False,
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, currency: str, rate: Decimal | None) -> None:
        super().__init__(data, initial={"rate": None if rate is None else f"{rate.normalize():f}"})
        self.fields["rate"].label = f"{currency} for one US dollar"
        self.fields["rate"].help_text = "Published prices are in US dollars. Kept with each price."
        self.fields["rate"].error_messages["invalid"] = "Enter a rate, such as 0.92."
