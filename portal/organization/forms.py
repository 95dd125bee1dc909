"""The form of the organization's settings."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portal.lib.money import format_money
from portal.organization.models import Organization
from portal.organization.resets import zone_names
from portal.web.forms import CountField, EditForm, MoneyField

FIELDS = (
    "name",
    "currency",
    "time_zone",
    "token_days_default",
    "token_days_max",
    "reminder_days",
    "unused_flag_days",
    "unused_suspend_days",
    "failure_policy",
    "failure_amount",
)
ZONES_ID = "time-zones"
_LONGEST = 3650


class OrganizationForm(EditForm):
    """Name, currency, time zone and the policies that hold everywhere; without the currency once it is fixed."""

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
    reminder_days = forms.CharField(
        label="Remind before expiry",
        max_length=60,
        help_text="Days, with commas. Owners and the holder are told; API keys also remind by webhook.",
    )
    unused_flag_days = CountField(label="Flag when unused for", min_value=1, max_value=_LONGEST)
    unused_suspend_days = CountField(label="Suspend when unused for", min_value=1, max_value=_LONGEST)
    failure_policy = forms.ChoiceField(
        label="While nobody can decide",
        choices=Organization.FailurePolicy.choices,
        widget=forms.RadioSelect,
        help_text="Only when neither Valkey nor Postgres answers. Gateways keep the policy they last received.",
    )
    failure_amount = MoneyField(
        label="Admit up to",
        required=False,
        help_text="Each gateway, in one outage. For “Admit up to an amount”.",
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(
        self, *args: Any, organization: Organization, is_currency_fixed: bool, **kwargs: Any
    ) -> None:
        current = {name: getattr(organization, name) for name in FIELDS}
        initial = {**current, "reminder_days": organization.reminder_days.replace(",", ", ")}
        super().__init__(*args, current=current, initial=initial, **kwargs)
        self.money = organization.currency
        if is_currency_fixed:
            del self.fields["currency"]
            self.see()
        self.fields["time_zone"].widget.attrs |= {
            "list": ZONES_ID,
            "autocomplete": "off",
            "autocapitalize": "none",
            "spellcheck": "false",
        }

    def clean_reminder_days(self) -> str:
        """Return the list as it is kept, so that spaces make no difference."""
        return re.sub(r"\s", "", self.cleaned_data["reminder_days"])

    def clean_failure_amount(self) -> int:
        """Nothing entered is nothing admitted."""
        return self.cleaned_data["failure_amount"] or 0

    def shown(self, name: str, value: Any) -> str:
        """Return a value in words, money as money."""
        if name == "failure_amount":
            return format_money(value or 0, self.money)
        return super().shown(name, value)

    def clean_currency(self) -> str:
        """Codes are capital letters."""
        return str(self.cleaned_data["currency"]).upper()

    def clean_time_zone(self) -> str:
        """The name is one of the list, or the one in force."""
        name = str(self.cleaned_data["time_zone"])
        if name not in (*zone_names(), self.initial["time_zone"]):
            raise ValidationError("Choose a time zone from the list, such as Europe/Berlin.")
        return name


ALERT_FIELDS = ("alert_thresholds", "alert_owners", "alert_group_admins", "alert_admins")


class AlertsForm(EditForm):
    """At what share of a limit people are told, and who they are."""

    alert_thresholds = forms.CharField(
        label="Thresholds",
        max_length=60,
        help_text="Percent of a limit, with commas; each tells once a window.",
    )
    alert_owners = forms.BooleanField(label="Owners of the project", required=False)
    alert_group_admins = forms.BooleanField(label="Administrators of its group", required=False)
    alert_admins = forms.BooleanField(label="Administrators", required=False)

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        current = {name: getattr(organization, name) for name in ALERT_FIELDS}
        initial = {**current, "alert_thresholds": organization.alert_thresholds.replace(",", ", ")}
        super().__init__(*args, current=current, initial=initial, **kwargs)

    def clean_alert_thresholds(self) -> str:
        """Return the list as it is kept, so that spaces and percent signs make no difference."""
        return re.sub(r"[\s%]", "", self.cleaned_data["alert_thresholds"])
