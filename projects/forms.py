"""Forms of the project pages; their choices hold only what the person may reach."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from groups.access import groups_with
from groups.models import Group
from portal.accounts.models import Person
from portal.accounts.pickers import PersonField
from portal.accounts.policy import Right
from portal.lib.errors import RuleBroken
from portal.lib.names import checked_tags
from portal.web.forms import EditForm, MoneyField, PortalForm
from portal.web.tables import FilterForm
from projects.allowed import known_models, unknown_in
from projects.bulk import What
from projects.models import GroupAccess, Membership, Project, ProjectQuerySet
from projects.services import editable

GOVERNED = ("group", "cost_centre", "allowed_models")
"""The fields of a project that its owners do not change themselves."""

STATES = [
    ("", "Any state"),
    ("active", "Active"),
    ("near", "Near a limit"),
    ("blocked", "Blocked"),
    ("paused", "Paused"),
    ("archived", "Archived"),
]


class ProjectFilters(FilterForm):
    """The filters above the list; `groups` are codes and names, None when there are too many to choose from."""

    q = forms.CharField(label="Search by name or code", max_length=100)
    group = forms.ChoiceField(label="Group")
    owner = forms.CharField(label="Owner", max_length=200)
    tag = forms.CharField(label="Tag", max_length=40)
    state = forms.ChoiceField(label="State", choices=STATES)

    def __init__(self, query: Any, *, groups: list[tuple[str, str]] | None) -> None:
        super().__init__(query)
        if groups is None:
            self.fields["group"] = forms.CharField(label="Group code", max_length=40, required=False)
            self.fields["group"].widget.attrs["aria-label"] = "Group code"
        else:
            self.fields["group"].choices = [("", "All groups"), *groups]  # type: ignore[attr-defined]
        for name in ("group", "owner", "tag"):
            field = self.fields[name]
            if isinstance(field.widget, forms.TextInput):
                field.widget.attrs |= {"placeholder": field.label, "size": 12}
        self.full_clean()


def _day() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class ActivityFilters(FilterForm):
    """The filters above what was done in a project."""

    q = forms.CharField(label="Search by person or thing", max_length=100)
    about = forms.ChoiceField(
        label="About",
        choices=[
            ("", "About anything"),
            ("project", "The project"),
            ("limit", "Limits"),
            ("member", "Members"),
            ("group", "Groups with access"),
            ("token", "User tokens"),
            ("api_key", "API keys"),
            ("request", "Requests"),
            ("list", "Exports"),
        ],
    )
    first = forms.DateField(label="From", widget=_day())
    last = forms.DateField(label="To", widget=_day())


class ModelListField(forms.CharField):
    """Names of models, one a line; empty is None: every model that has a price."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "none"})

    def prepare_value(self, value: Any) -> Any:
        """Return the names as a person would enter them; what was typed stays as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str] | None:
        """Return the names, each of a model that has a price (``name*`` stands for all that begin so)."""
        names = list(dict.fromkeys((super().clean(value) or "").replace(",", "\n").split()))
        unknown = unknown_in(names, known_models())
        if unknown:
            raise ValidationError(f"The price book has no {unknown[0]}. Remove it, or have it priced first.")
        return names or None


class TagField(forms.CharField):
    """Tags, with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        """Return the tags as a person would enter them; what was typed stays as it is."""
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Return the tags, each once."""
        try:
            return checked_tags((super().clean(value) or "").split(","))
        except RuleBroken as broken:
            raise ValidationError(broken.message) from broken


class ProjectForm(PortalForm):
    """A new project."""

    name = forms.CharField(label="Name", max_length=120)
    code = forms.CharField(
        label="Code",
        max_length=40,
        required=False,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text="Small letters, digits and hyphens. Left empty, it is made from the name.",
    )
    group = forms.ModelChoiceField(Group.objects.none(), label="Group", empty_label="No group")
    description = forms.CharField(
        label="Description", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
    )
    cost_centre = forms.CharField(label="Cost centre", required=False, max_length=60)
    tags = TagField(label="Tags", required=False, max_length=600, help_text="With commas between them.")
    owners = PersonField(label="Owners", required=False, several=True)
    daily_limit = MoneyField(label="Daily limit", required=False)
    monthly_limit = MoneyField(label="Monthly limit", required=False)
    allowed_models = ModelListField(
        label="Allowed models",
        required=False,
        help_text="One a line. Leave empty for every model that has a price.",
    )

    def __init__(self, *args: Any, person: Person, needs_group: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.fields["group"]
        group.queryset = groups_with(person, Right.CREATE_PROJECT)  # type: ignore[attr-defined]
        group.required = needs_group
        if not needs_group:
            group.help_text = "May be chosen later."


class SettingsForm(EditForm):
    """What can be changed about a project; who does not govern it changes name, description and tags only."""

    name = forms.CharField(label="Name", max_length=120)
    description = forms.CharField(
        label="Description", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
    tags = TagField(label="Tags", required=False, max_length=600, help_text="With commas between them.")
    members_issue_tokens = forms.BooleanField(
        label="Members may issue their own tokens",
        required=False,
        help_text="Otherwise owners and administrators issue them.",
    )
    group = forms.ModelChoiceField(
        Group.objects.none(),
        label="Group",
        required=False,
        empty_label="No group",
        help_text="What was spent before stays with the group it was spent under.",
    )
    cost_centre = forms.CharField(label="Cost centre", required=False, max_length=60)
    allowed_models = ModelListField(
        label="Allowed models",
        required=False,
        help_text="One a line. Leave empty for every model that has a price.",
    )

    def __init__(self, *args: Any, project: Project, person: Person, can_govern: bool, **kwargs: Any) -> None:
        super().__init__(*args, current=editable(project), **kwargs)
        groups = groups_with(person, Right.CREATE_PROJECT)
        if not can_govern:
            for name in GOVERNED:
                del self.fields[name]
        elif project.group_id and not groups.filter(pk=project.group_id).exists():
            del self.fields["group"]
        else:
            self.fields["group"].queryset = groups  # type: ignore[attr-defined]
        self.see()


class MemberForm(PortalForm):
    """Add people to a project; owners are added by those who govern it."""

    people = PersonField(label="People", several=True)
    role = forms.ChoiceField(label="As", choices=Membership.Role.choices, initial=Membership.Role.MEMBER)

    def __init__(self, *args: Any, can_govern: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not can_govern:
            del self.fields["role"]


class GroupAccessForm(PortalForm):
    """Give a group access to a project."""

    group = forms.ModelChoiceField(
        Group.objects.none(),
        label="Group",
        empty_label="Choose a group",
        help_text="Its members may hold user tokens in this project.",
    )

    def __init__(self, *args: Any, project: Project, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        admitted = GroupAccess.objects.filter(project=project).values("group")
        self.fields["group"].queryset = groups_with(person).exclude(pk__in=admitted)  # type: ignore[attr-defined]


class ReasonForm(PortalForm):
    """Why, for the audit log."""

    reason = forms.CharField(
        label="Reason", required=False, max_length=300, help_text="Kept in the audit log."
    )


class ChooseProjectForm(PortalForm):
    """The first step: which project."""

    project = forms.ModelChoiceField(
        Project.objects.none(), label="Project", empty_label="Choose a project", to_field_name="code"
    )

    def __init__(self, *args: Any, projects: ProjectQuerySet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].queryset = projects.exclude(state=Project.State.ARCHIVED)  # type: ignore[attr-defined]


class BulkForm(PortalForm):
    """What is to become of the selected projects; read from the address, so that the preview can be shown again."""

    to = forms.ModelChoiceField(
        Group.objects.none(), label="Move to", empty_label="Choose a group", to_field_name="code"
    )
    daily = MoneyField(label="Daily limit", required=False, help_text="Leave empty to keep each as it is.")
    monthly = MoneyField(
        label="Monthly limit", required=False, help_text="Leave empty to keep each as it is."
    )

    def __init__(self, *args: Any, what: What, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if what == What.MOVE:
            self.fields["to"].queryset = groups_with(person, Right.CREATE_PROJECT)  # type: ignore[attr-defined]
        else:
            del self.fields["to"]
        if what != What.LIMITS:
            del self.fields["daily"], self.fields["monthly"]
