"""Forms of API keys."""

from typing import Any

from django import forms

from apikeys.models import ApiKey
from apikeys.rotation import MOST_HOURS, USUAL_HOURS
from portal.accounts.models import Person
from portal.credentials.forms import MODELS_HELP, NETWORKS_HELP, NetworkListField, say_zone
from portal.organization.models import Organization
from portal.spend.forms import MomentField
from portal.web.forms import EditForm, MoneyField, PortalForm
from projects.forms import ModelListField
from projects.models import Project
from projects.selectors import people_who_may_hold_tokens

NAMES_USERS_HELP = (
    "For a service that calls on behalf of people of this project. A call may then name a person by e-mail, and"
    " counts against that person’s limits too; one that names somebody else is refused."
)


def _days() -> forms.IntegerField:
    return forms.IntegerField(
        label="Valid for", widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    )


class KeyFields(forms.Form):
    """What can be said about a key, when it is created and later."""

    name = forms.CharField(
        label="Name", max_length=120, help_text="The system that uses it, such as “intake-batch”."
    )
    owner = forms.ModelChoiceField(
        Person.objects.none(),
        label="Owner",
        empty_label="Choose a person",
        help_text="Who answers for it and is reminded before it expires.",
    )
    deputy = forms.ModelChoiceField(
        Person.objects.none(),
        label="Deputy",
        required=False,
        empty_label="Nobody",
        help_text="Who stands in for the owner.",
    )
    allowed_models = ModelListField(label="Allowed models", required=False, help_text=MODELS_HELP)
    networks = NetworkListField(label="Allowed addresses", required=False, help_text=NETWORKS_HELP)
    names_users = forms.BooleanField(
        label="Trusted to name its user", required=False, help_text=NAMES_USERS_HELP
    )

    def offer(self, project: Project) -> None:
        """Let only people of the project be chosen."""
        people = people_who_may_hold_tokens(project)
        for field in ("owner", "deputy"):
            self.fields[field].queryset = people  # type: ignore[attr-defined]


class IssueForm(KeyFields, PortalForm):
    """Create a key for a system of the project."""

    days = _days()
    never_expires = forms.BooleanField(
        label="Never expires", required=False, help_text="For what cannot be given another secret in time."
    )
    not_before = MomentField(label="Valid from", required=False)
    daily_limit = MoneyField(label="Daily limit", required=False)
    monthly_limit = MoneyField(label="Monthly limit", required=False)

    def __init__(
        self,
        *args: Any,
        project: Project,
        organization: Organization,
        person: Person,
        may_never_expire: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.offer(project)
        self.fields["owner"].initial = person.pk
        self.fields["days"].initial = organization.token_days_default
        say_zone(self.fields["not_before"], organization.time_zone)
        self.fields["days"].help_text = f"At most {organization.token_days_max} days."
        if not may_never_expire:
            del self.fields["never_expires"]
        elif self.data.get("never_expires"):
            self.fields["days"].required = False


class ChangeForm(KeyFields, EditForm):
    """Change what a key may do and who answers for it."""

    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, *args: Any, key: ApiKey, **kwargs: Any) -> None:
        names = ("name", "owner", "deputy", "allowed_models", "networks", "names_users")
        super().__init__(*args, current={name: getattr(key, name) for name in names}, **kwargs)
        self.offer(key.project)
        self.fields["owner"].required = key.owner is not None


class RotateForm(PortalForm):
    """How long the old secret goes on working, and how long the key."""

    overlap = forms.TypedChoiceField(
        label="How long should the old secret keep working?",
        coerce=int,
        widget=forms.RadioSelect,
        initial=USUAL_HOURS,
    )
    days = _days()
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, *args: Any, key: ApiKey, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["overlap"].choices = [  # type: ignore[attr-defined]
            (0, "Stop it now, for a secret that leaked"),
            (1, "1 hour"),
            (USUAL_HOURS, "24 hours"),
            (7 * 24, "7 days"),
            (MOST_HOURS, "30 days"),
        ]
        days = self.fields["days"]
        days.label, days.required = "Renew the key for", False
        days.help_text = (
            f"Days from now, at most {organization.token_days_max}. Leave empty to keep when it expires."
        )
        if key.expires is None:
            del self.fields["days"]
