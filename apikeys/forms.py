"""Forms of API keys."""

from typing import Any

from django import forms

from portal.accounts.models import Person
from portal.organization.models import Organization
from portal.web.forms import PortalForm
from projects.models import Project
from projects.selectors import people_who_may_hold_tokens


class IssueForm(PortalForm):
    """Create a key for a system of the project."""

    name = forms.CharField(
        label="Name", max_length=120, help_text="The system that uses it, such as “intake-batch”."
    )
    owner = forms.ModelChoiceField(
        Person.objects.none(),
        label="Owner",
        required=False,
        empty_label="Nobody",
        help_text="Who answers for it.",
    )
    days = forms.IntegerField(
        label="Valid for", widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    )

    def __init__(self, *args: Any, project: Project, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = people_who_may_hold_tokens(project)  # type: ignore[attr-defined]
        self.fields["days"].initial = organization.token_days_default
        self.fields["days"].help_text = f"At most {organization.token_days_max} days."
