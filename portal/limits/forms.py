"""The one form of any limit: what it is set on, what it limits, how much and how strictly."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from audit.actors import Actor
from groups.models import Group
from portal.decision.one_limit import change_limit, editable
from portal.decision.services import stored_amount
from portal.lib.errors import RuleBroken
from portal.lib.money import from_nano
from portal.limits.places import FIXED, KINDS, Place, place_of
from portal.limits.selectors import MEASURES
from portal.spend import scopes
from portal.spend.models import Limit
from portal.web.forms import EditForm
from portal.web.tables import FilterForm
from projects.commands import person_known
from projects.models import Project

MODES = (
    (Limit.Mode.ENFORCE, "Enforce: refuse what does not fit"),
    (Limit.Mode.OBSERVE, "Observe: admit it and record"),
)
# Which of the fields that name something each kind of scope needs.
NEEDS = {
    "u": ("user",), "g": ("group",), "p": ("project",), "pu:*": ("project",), "pu": ("project", "user"),
    "pg": ("project", "group"), "c": ("credential",),
}  # fmt: skip


class LimitFilters(FilterForm):
    """What narrows the list of limits."""

    kind = forms.ChoiceField(label="Set on", choices=[("", "Set on anything"), *KINDS])
    measure = forms.ChoiceField(label="What it limits", choices=[("", "Any measure"), *MEASURES])
    mode = forms.ChoiceField(
        label="Mode", choices=[("", "Any mode"), ("enforce", "Enforced"), ("observe", "Observed")]
    )
    model = forms.CharField(
        label="Model", max_length=200, widget=forms.TextInput(attrs={"placeholder": "Model"})
    )


class AmountForm(EditForm):
    """How much and how strictly. ``amount`` is typed as money or as a count, whatever the limit counts."""

    amount = forms.CharField(
        label="Amount",
        max_length=40,
        help_text="0 refuses everything.",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    mode = forms.ChoiceField(
        label="Mode", choices=MODES, widget=forms.RadioSelect, initial=Limit.Mode.ENFORCE
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )

    def __init__(self, data: QueryDict | None = None, *, limit: Limit | None = None) -> None:
        self.limit = limit
        current = {} if limit is None else editable(limit)
        super().__init__(data, current=current)
        if limit is None:
            self.initial["mode"] = Limit.Mode.ENFORCE

    @property
    def metric(self) -> str:
        """What is limited."""
        return self.limit.metric if self.limit else ""

    def clean(self) -> dict[str, Any] | None:
        """Read the amount by what it counts."""
        data: dict[str, Any] = self.cleaned_data
        if "amount" in data and self.metric:
            text = data["amount"].strip().lstrip("$€£¥₹").replace(",", "").replace(" ", "")
            try:
                data["stored"] = stored_amount(self.metric, text)
            except RuleBroken as broken:
                self.add_error("amount", broken.message)
        return data


class NewLimitForm(AmountForm):
    """A limit where there is none yet. ``place`` is what it is set on, once the fields name something that exists."""

    kind = forms.ChoiceField(label="Set on", choices=KINDS)
    project = forms.CharField(label="Project code", required=False, max_length=40)
    group = forms.CharField(label="Group code", required=False, max_length=40)
    user = forms.EmailField(label="User’s e-mail", required=False, max_length=320)
    credential = forms.CharField(label="Id of the token or key", required=False, max_length=60)
    measure = forms.ChoiceField(label="What it limits", choices=MEASURES)
    model = forms.CharField(
        label="Only for models",
        required=False,
        max_length=200,
        help_text="A name, or a beginning with * at its end. Empty: all.",
        widget=forms.TextInput(attrs={"list": "priced-models", "autocomplete": "off"}),
    )

    field_order: Sequence[str] = (
        "kind", "project", "group", "user", "credential", "measure", "model", "amount", "mode", "reason",
    )  # fmt: skip

    def __init__(self, data: QueryDict | None = None, *, given: Mapping[str, str]) -> None:
        super().__init__(data)
        self.place: Place | None = None
        names = ("project", "group", "user", "credential", "kind")
        self.initial = {**self.initial, **{name: given[name] for name in names if given.get(name)}}

    @property
    def metric(self) -> str:
        """What is limited, as chosen."""
        return str(self.cleaned_data.get("measure", "")).partition("|")[0]

    @property
    def window(self) -> str:
        """The window, as chosen."""
        return str(self.cleaned_data.get("measure", "")).partition("|")[2]

    def clean(self) -> dict[str, Any] | None:
        """Look up what the fields name; what may be seen of it the gate tells."""
        data = super().clean() or {}
        kind = data.get("kind", "")
        for name in NEEDS.get(kind, ()):
            if not data.get(name) and name not in self.errors:
                self.add_error(name, "Fill this in.")
        if kind and not self.errors.keys() & {"kind", "project", "group", "user", "credential"}:
            key = self._key(kind, data)
            self.place = place_of(key) if key else None
            if key and self.place is None:
                self.add_error("credential", "There is no such user token or API key.")
        return data

    def _key(self, kind: str, data: Mapping[str, Any]) -> str:
        if kind in FIXED:
            return FIXED[kind]
        if kind == "c":
            return scopes.credential(data["credential"].strip())
        needs, found = NEEDS[kind], {}
        if "project" in needs:
            found["project"] = (
                Project.objects.filter(code=data["project"].strip()).values_list("pk", flat=True).first()
            )
        if "group" in needs:
            group = Group.objects.current().filter(code=data["group"].strip())
            found["group"] = group.values_list("pk", flat=True).first()
        if "user" in needs:
            person = person_known(data["user"])
            found["user"] = person.pk if person else None
        for name, sentence in (("project", "There is no project with this code."),
                               ("group", "There is no group with this code."),
                               ("user", "The portal knows nobody with this address.")):  # fmt: skip
            if name in found and found[name] is None:
                self.add_error(name, sentence)
        if None in found.values():
            return ""
        parts = {"u": ("u", "user"), "g": ("g", "group"), "p": ("p", "project"), "pu": ("pu", "project", "user"),
                 "pg": ("pg", "project", "group")}.get(kind)  # fmt: skip
        if kind == "pu:*":
            return scopes.project_each_user(found["project"] or 0)
        assert parts  # noqa: S101  every other kind is above
        return ":".join([parts[0], *(str(found[name]) for name in parts[1:])])


def save(form: AmountForm, place: Place, *, most_raise: int | None, actor: Actor) -> bool:
    """Save the limit of the form; tell whether it worked, else the form says why beside the fields."""
    limit, data = form.limit, form.cleaned_data
    metric = limit.metric if limit else form.metric
    try:
        change_limit(
            scope_key=place.key,
            label=place.label,
            metric=metric,
            window=limit.window if limit else getattr(form, "window", ""),
            model=limit.model if limit else data.get("model", "").strip(),
            amount=from_nano(data["stored"]) if metric == "spend" else data["stored"],
            mode=data["mode"],
            seen=form.seen if limit else None,
            is_new=limit is None,
            actor=actor,
            project=place.project.pk if place.project else None,
            group=place.group.pk if place.group else None,
            reason=data["reason"],
            target=place.target,
            most_raise=most_raise,
        )
    except RuleBroken as broken:
        form.add_broken_rule(broken)
    return not form.errors
