"""The form of the organization's settings."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portal.organization.models import Organization
from portal.organization.resets import zone_names
from portal.web.forms import CountField, PortalForm

FIELDS = ("name", "currency", "time_zone", "token_days_default", "token_days_max")
ZONES_ID = "time-zones"
_LONGEST = 3650


class OrganizationForm(PortalForm):
    """Name, currency, time zone and the policy of credentials; without the currency once it is fixed."""

    name = forms.CharField(
        label="Name", max_length=120, help_text="Stands on every page and in the audit log."
    )
    currency = forms.RegexField(
        r"^[A-Za-z]{3}$",
        label="Currency",
        error_messages={"invalid": "Enter three letters, such as USD or EUR."},
        help_text="Three letters of ISO 4217. Every limit, price and amount is in it; fixed by the first usage.",
    )
    time_zone = forms.CharField(
        label="Time zone", max_length=64, help_text="Type a city, then choose from the list."
    )
    token_days_default = CountField(label="Valid by default", min_value=1, max_value=_LONGEST)
    token_days_max = CountField(label="Valid at most", min_value=1, max_value=_LONGEST)
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(
        self, *args: Any, organization: Organization, is_currency_fixed: bool, **kwargs: Any
    ) -> None:
        initial = {name: getattr(organization, name) for name in FIELDS}
        super().__init__(*args, initial=initial, **kwargs)
        if is_currency_fixed:
            del self.fields["currency"]
        self.fields["time_zone"].widget.attrs |= {
            "list": ZONES_ID,
            "autocomplete": "off",
            "autocapitalize": "none",
            "spellcheck": "false",
        }

    def clean_currency(self) -> str:
        """Codes are capital letters."""
        return str(self.cleaned_data["currency"]).upper()

    def clean_time_zone(self) -> str:
        """The name is one of the list, or the one in force."""
        name = str(self.cleaned_data["time_zone"])
        if name not in (*zone_names(), self.initial["time_zone"]):
            raise ValidationError("Choose a time zone from the list, such as Europe/Berlin.")
        return name
