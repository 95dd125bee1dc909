"""Forms and filters of alerts, webhooks and deliveries."""

from typing import Any

from django import forms

from portal.accounts.models import Person
from portal.notifications.models import Delivery, Kind, Webhook
from portal.notifications.webhooks import editable
from portal.web.forms import EditForm, PortalForm
from portal.web.tables import FilterForm

KINDS = [(kind.value, kind.label) for kind in Kind if kind != Kind.TEST]
_KINDS_HELP = "Choose none to be told about everything, what comes later included."


class WebhookForm(PortalForm):
    """A new webhook."""

    name = forms.CharField(label="Name", max_length=120, help_text="Where it leads, such as Duty channel.")
    format = forms.ChoiceField(label="Receiver", choices=Webhook.Format.choices, widget=forms.RadioSelect)
    address = forms.CharField(
        label="Address",
        max_length=2000,
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Begins with https:// and is reachable from the internet. Kept encrypted, shown in part.",
    )
    kinds = forms.MultipleChoiceField(
        label="Tell it about",
        choices=KINDS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_KINDS_HELP,
    )


class ChangeForm(EditForm):
    """Name and kinds of a webhook; its address is changed by adding another one."""

    name = forms.CharField(label="Name", max_length=120)
    kinds = forms.MultipleChoiceField(
        label="Tell it about",
        choices=KINDS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_KINDS_HELP,
    )

    def __init__(self, *args: Any, webhook: Webhook, **kwargs: Any) -> None:
        super().__init__(*args, current=editable(webhook), **kwargs)


class RecipientForm(PortalForm):
    """Somebody who is to get every alert."""

    person = forms.CharField(
        label="Name or e-mail address",
        max_length=320,
        help_text="Somebody the portal knows. They get every alert, whatever their role.",
    )

    def clean_person(self) -> Person:
        """Return the one person who is meant."""
        text = self.cleaned_data["person"].strip()
        people = Person.objects.active()
        found = list(people.filter(email__iexact=text)[:2]) or list(people.filter(name__iexact=text)[:2])
        if not found:
            raise forms.ValidationError("Nobody has this name or address. Enter it as People shows it.")
        if len(found) > 1:
            raise forms.ValidationError("Several people have it. Enter the e-mail address of one.")
        return found[0]


class AlertFilters(FilterForm):
    """What narrows the alerts of a person."""

    q = forms.CharField(label="Search in alerts", max_length=100)
    kind = forms.ChoiceField(label="Kind", choices=[("", "Any kind"), *KINDS])
    seen = forms.ChoiceField(
        label="Seen", choices=[("", "Seen or not"), ("no", "Not seen yet"), ("yes", "Seen")]
    )


class DeliveryFilters(FilterForm):
    """What narrows the deliveries."""

    q = forms.CharField(label="Search by alert or recipient", max_length=100)
    state = forms.ChoiceField(label="State", choices=[("", "Any state"), *Delivery.State.choices])
    channel = forms.ChoiceField(label="Channel", choices=[("", "Any channel"), *Delivery.Channel.choices])
