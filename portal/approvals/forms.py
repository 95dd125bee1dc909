"""Forms of the requests' pages."""

from typing import Any

from django import forms

from portal.approvals.models import ApprovalPolicy, Request
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


class PolicyForm(PortalForm):
    """What needs a second person. It remembers the version that the person saw."""

    roles = forms.BooleanField(label="Making somebody administrator or auditor", required=False)
    prices = forms.BooleanField(label="A change of the price book", required=False)
    most_raise = forms.IntegerField(
        label="Raising a limit by more than",
        required=False,
        min_value=0,
        max_value=100_000,
        help_text="For those who set limits. 0: every raise; empty: none.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )
    overcommit = forms.ChoiceField(
        label="Limits of a group’s projects that come to more than the group’s",
        choices=ApprovalPolicy.Overcommit.choices,
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )
    seen = forms.IntegerField(widget=forms.HiddenInput, min_value=0)

    def __init__(self, data: Any = None, *, policy: ApprovalPolicy) -> None:
        names = ("roles", "prices", "most_raise", "overcommit")
        initial = {name: getattr(policy, name) for name in names} | {"seen": policy.version}
        super().__init__(data, initial=initial)

    def look_again(self, now: ApprovalPolicy) -> None:
        """After a change by somebody else: show both values, and let the next save replace them knowingly."""
        for name in ("roles", "prices", "most_raise", "overcommit"):
            found = getattr(now, name)
            if found != self.cleaned_data.get(name):
                value = {True: "ticked", False: "not ticked", None: "empty"}.get(found, found)
                self.add_error(name, f"It is now: {value}.")
        self.data = {**{name: self.data.get(name) for name in self.data}, "seen": now.version}
