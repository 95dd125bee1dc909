"""Forms of the group pages."""

from typing import Any
from uuid import UUID

from django import forms

from groups.models import Group
from groups.services import editable
from portal.accounts.pickers import GroupField, PersonField
from portal.web.forms import EditForm, PortalForm
from portal.web.tables import FilterForm


class GroupFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by name or code", max_length=100)
    state = forms.ChoiceField(
        label="Entra ID",
        choices=[
            ("", "Linked or not"),
            ("linked", "Linked to Entra ID"),
            ("unlinked", "Not linked"),
            ("missing", "Not in Entra ID any more"),
        ],
    )


class MemberFilters(FilterForm):
    """The filters above the members."""

    q = forms.CharField(label="Search by name or address", max_length=100)


class EditGroupForm(EditForm):
    """Name, code and the group of Entra ID of a group that exists."""

    name = forms.CharField(label="Name", max_length=120)
    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text="Addresses and reports name the group by it.",
    )
    entra_id = forms.CharField(required=False, label="Group of Entra ID", widget=forms.HiddenInput)
    entra = GroupField(
        label="Another group of Entra ID",
        required=False,
        help_text="The members known now then lose their access through this group, and those of the other get it.",
    )
    unlink = forms.BooleanField(
        label="Take the link to Entra ID away",
        required=False,
        help_text="The group keeps its projects and has no members any more.",
    )

    def __init__(self, *args: Any, group: Group, **kwargs: Any) -> None:
        super().__init__(*args, current=editable(group), **kwargs)
        if group.entra_id is None:
            del self.fields["unlink"]
            self.fields["entra"].label = "Group of Entra ID"
            self.fields["entra"].help_text = "Its members are read from the directory."
        self.group = group

    @property
    def link(self) -> UUID | None:
        """The object id the group is to have: another, none, or the one it has."""
        if self.cleaned_data["entra"]:
            return UUID(str(self.cleaned_data["entra"].oid))
        return None if self.cleaned_data.get("unlink") else self.group.entra_id


class AdminForm(PortalForm):
    """Somebody who is to administer a group."""

    person = PersonField(label="Person")
    expires = forms.DateField(
        label="Until the end of",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Leave empty for good.",
        error_messages={"invalid": "Enter a day, such as 2027-03-31."},
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=200, help_text="Kept in the audit log."
    )


class GroupForm(PortalForm):
    """A new group: chosen in Entra ID, or named by hand."""

    entra = GroupField(
        label="Group of Entra ID",
        required=False,
        help_text="Its members are read from the directory. Without one, the group only collects projects.",
    )
    name = forms.CharField(
        label="Name", required=False, max_length=120, help_text="Left empty, the name it has in Entra ID."
    )
    code = forms.CharField(
        label="Code",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text="Small letters, digits and hyphens. Left empty, it is made from the name.",
    )

    def clean(self) -> dict[str, Any]:
        """A group needs a name, its own or the directory's."""
        cleaned: dict[str, Any] = super().clean() or {}
        if "entra" in cleaned and not cleaned["entra"] and not cleaned.get("name"):
            self.add_error("name", "Choose a group of Entra ID, or enter a name.")
        return cleaned
