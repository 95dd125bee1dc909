"""Forms of the people page."""

from django import forms

from groups.models import Group
from portal.accounts.pages import listing
from portal.accounts.pickers import PersonField
from portal.accounts.policy import GRANTED_ROLES, Role
from portal.web.tables import FilterForm

ROLES = [(role.value, role.label) for role in GRANTED_ROLES]


class PeopleFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by name or address", max_length=100)
    role = forms.ChoiceField(label="Role", choices=[("", "Any role"), *listing.ROLES])
    state = forms.ChoiceField(label="State", choices=[("", "Everybody"), *listing.STATES.items()])
    source = forms.ChoiceField(
        label="Rights from", choices=[("", "Rights from anywhere"), *listing.SOURCES.items()]
    )


class GrantForm(forms.Form):
    """Give somebody a role."""

    use_required_attribute = False

    person = PersonField(label="Person")
    role = forms.ChoiceField(label="Role", choices=ROLES, initial=Role.AUDITOR)
    group = forms.ModelChoiceField(
        Group.objects.none(),
        label="Group",
        required=False,
        empty_label="Every group the person belongs to",
        help_text="For group administrators only.",
    )
    expires = forms.DateField(
        label="Until the end of",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Then the role ends by itself. Leave empty for good.",
        error_messages={"invalid": "Enter a day, such as 2027-03-31."},
    )
    reason = forms.CharField(label="Reason", max_length=200, help_text="For the audit log.", required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["group"].queryset = Group.objects.current()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, object]:
        """Refuse a group where the role has none."""
        cleaned: dict[str, object] = super().clean() or {}
        if cleaned.get("group") and cleaned.get("role") != Role.GROUP_ADMIN:
            self.add_error(
                "group", "Only a group administrator is given a group. Leave it, or change the role."
            )
        return cleaned


class ReasonForm(forms.Form):
    """Why, for the audit log."""

    reason = forms.CharField(label="Reason", max_length=200, help_text="For the audit log.", required=False)


class LinkForm(ReasonForm):
    """Tie a person without identity to an account of the directory."""

    use_required_attribute = False
    field_order = ("person", "reason")

    person = PersonField(label="Entra ID account")
