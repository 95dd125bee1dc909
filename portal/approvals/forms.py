"""Forms of the requests' pages."""

from django import forms

from portal.approvals.models import Request
from portal.web.forms import PortalForm
from portal.web.tables import FilterForm


class RequestFilters(FilterForm):
    """The filters above the list."""

    q = forms.CharField(label="Search by object or person", max_length=100)
    kind = forms.ChoiceField(label="Kind", choices=[("", "Every kind"), *Request.Kind.choices])
    state = forms.ChoiceField(label="State", choices=[("", "Any state"), *Request.State.choices])


class ApproveForm(PortalForm):
    """A word with an approval."""

    reason = forms.CharField(
        label="Note",
        required=False,
        max_length=500,
        help_text="Told to who asked, and kept in the audit log.",
    )


class EndForm(PortalForm):
    """Why a request is declined or withdrawn."""

    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Told to who asked, and kept in the audit log.",
        error_messages={"required": "Say why."},
    )
