"""Fields that the forms of user tokens and API keys share."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portal.lib.errors import RuleBroken
from portal.lib.networks import checked_networks
from portal.web.forms import PortalForm


class NetworkListField(forms.CharField):
    """Addresses and CIDR blocks, one a line; empty is None: from anywhere."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocapitalize": "none"})

    def prepare_value(self, value: Any) -> Any:
        """Return the blocks as a person would enter them; what was typed stays as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str] | None:
        """Return the blocks in one spelling."""
        try:
            return checked_networks((super().clean(value) or "").replace(",", "\n").split())
        except RuleBroken as broken:
            raise ValidationError(broken.message) from None


NETWORKS_HELP = "One a line, such as 203.0.113.7 or 10.20.0.0/16. Leave empty for any address."
MODELS_HELP = "One a line. Leave empty for every model that the project allows."


def say_zone(field: forms.Field, zone: str) -> None:
    """Let a moment from which a credential is valid be read in the time zone, and say so."""
    field.zone = zone  # type: ignore[attr-defined]
    field.help_text = f"Empty: at once. In {zone}; its days are counted from then on."


class SuspendForm(PortalForm):
    """Why a credential is switched off; its page shows it."""

    reason = forms.CharField(
        label="Reason",
        required=False,
        max_length=300,
        help_text="Shown on its page and kept in the audit log.",
    )
