"""Forms of the group pages."""

from typing import Any

from django import forms

from portal.accounts.pickers import GroupField
from portal.web.forms import PortalForm
from portal.web.tables import FilterForm


class GroupFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by name or code", max_length=100)


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
