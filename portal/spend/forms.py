"""Forms of the price book."""

from decimal import Decimal
from typing import Any

from django import forms

from portal.lib.money import from_nano
from portal.web.forms import CountField, MoneyField, PortalForm
from portal.web.tables import FilterForm

SHOW = [
    ("", "Every model"),
    ("used", "Used in the last month"),
    ("entered", "Entered here"),
    ("imported", "Imported"),
]


class PriceFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by model", max_length=100)
    show = forms.ChoiceField(label="Show", choices=SHOW)


class PriceForm(PortalForm):
    """Set what a model costs per million tokens."""

    model = forms.CharField(
        label="Model",
        max_length=200,
        help_text="As the gateway calls it.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    input = MoneyField(label="Input")
    output = MoneyField(label="Output")
    cached_input = MoneyField(label="Cached input", required=False, help_text="Empty: as input.")
    cache_write = MoneyField(label="Cache write", required=False, help_text="Empty: as input.")
    ceiling = CountField(
        label="Most output tokens",
        required=False,
        min_value=1,
        max_value=10**9,
        help_text="A call without a cap of its own reserves this much.",
    )
    context_window = CountField(label="Context window", required=False, min_value=1, max_value=10**9)
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def values(self) -> dict[str, Any]:
        """Return what the service takes: amounts as exact decimals."""
        data = self.cleaned_data
        amounts = {
            name: None if data[name] is None else from_nano(data[name])
            for name in ("input", "output", "cached_input", "cache_write")
        }
        return {
            "model": data["model"].strip(),
            **amounts,
            **{n: data[n] for n in ("ceiling", "context_window", "reason")},
        }


class ImportForm(PortalForm):
    """Import published prices, which are in US dollars."""

    rate = forms.DecimalField(
        label="Rate",
        initial=Decimal(1),
        max_digits=18,
        decimal_places=9,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, data: Any = None, *, currency: str) -> None:
        super().__init__(data)
        self.fields["rate"].help_text = f"How many {currency} one US dollar is. It is kept with each price."
        self.fields["rate"].disabled = currency == "USD"
