"""Forms of user tokens."""

from typing import Any

from django import forms

from portal.accounts.models import Person
from portal.organization.models import Organization
from portal.web.forms import PortalForm
from projects.models import Project
from projects.selectors import people_who_may_hold_tokens


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
        self.fields["days"].help_text = f"At most {organization.token_days_max} days."


def _label(person: Person) -> str:
    return f"{person.name} ({person.email})" if person.email and person.email != person.name else str(person)
