"""Forms of user tokens."""

from typing import Any

from django import forms

from portal.accounts.models import Person
from portal.credentials.forms import MODELS_HELP, NETWORKS_HELP, NetworkListField, say_zone
from portal.organization.models import Organization
from portal.spend.forms import MomentField
from portal.web.forms import EditForm, MoneyField, PortalForm
from projects.forms import ModelListField
from projects.models import Project
from projects.selectors import people_who_may_hold_tokens
from tokens.models import UserToken


class IssueForm(PortalForm):
    """Issue a token: to anybody of the project, or to oneself alone (`only`)."""

    person = forms.ModelChoiceField(Person.objects.none(), label="Person", empty_label="Choose a person")
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=120,
        help_text="What it is for, such as “laptop” or “notebook server”.",
    )
    days = forms.IntegerField(
        label="Valid for", widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    )
    not_before = MomentField(label="Valid from", required=False)
    daily_limit = MoneyField(label="Daily limit", required=False)
    monthly_limit = MoneyField(label="Monthly limit", required=False)
    allowed_models = ModelListField(label="Allowed models", required=False, help_text=MODELS_HELP)

    def __init__(
        self,
        *args: Any,
        project: Project,
        organization: Organization,
        only: Person | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        people = people_who_may_hold_tokens(project)
        if only is not None:
            people = people.filter(pk=only.pk)
            self.fields["person"].initial = only.pk
        self.fields["person"].queryset = people  # type: ignore[attr-defined]
        self.fields["person"].label_from_instance = _label  # type: ignore[attr-defined]
        self.fields["days"].initial = organization.token_days_default
        say_zone(self.fields["not_before"], organization.time_zone)
        self.fields["days"].help_text = f"At most {organization.token_days_max} days."


def _label(person: Person) -> str:
    return f"{person.name} ({person.email})" if person.email and person.email != person.name else str(person)


class ChangeForm(EditForm):
    """Change what a token may do; the person and the expiry stay."""

    name = forms.CharField(label="Name", max_length=120)
    allowed_models = ModelListField(label="Allowed models", required=False, help_text=MODELS_HELP)
    networks = NetworkListField(label="Allowed addresses", required=False, help_text=NETWORKS_HELP)
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, *args: Any, token: UserToken, **kwargs: Any) -> None:
        names = ("name", "allowed_models", "networks")
        super().__init__(*args, current={name: getattr(token, name) for name in names}, **kwargs)
