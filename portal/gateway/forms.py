"""Forms of the gateway pages."""

from django import forms

from portal.web.forms import PortalForm
from portal.web.tables import FilterForm


class GatewayFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Name or last 4", max_length=100)
    status = forms.ChoiceField(
        label="Status", choices=[("", "Any status"), ("active", "Active"), ("revoked", "Revoked")]
    )


class RegisterForm(PortalForm):
    """Register a gateway."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
        help_text="Where it runs, such as “litellm-eu”. Refusals and reports name it.",
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )


class ConfirmForm(PortalForm):
    """Why a gateway gets another secret or is revoked."""

    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )
