"""Set or remove one limit, on any scope."""

from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser

from apikeys.models import ApiKey
from apikeys.services import target_of as key_target
from audit.actors import Target
from groups.services import label_of as group_label
from groups.services import target_of as group_target
from portal.accounts.actors import target_of as person_target
from portal.accounts.models import Person
from portal.decision.services import set_limit, shown_amount
from portal.lib.errors import RuleBroken
from portal.organization.selectors import current as current_organization
from portal.spend import scopes
from portal.spend.models import Limit
from portal.web.commands import PortalCommand, UsageError
from projects.commands import group_named, person_known, project_named
from projects.services import label_of as project_label
from projects.services import target_of as project_target
from tokens.models import UserToken
from tokens.services import target_of as token_target


@dataclass(frozen=True, slots=True)
class Named:
    """The scope that the options name, how people call it, and where the audit log files it."""

    scope_key: str
    label: str
    target: Target
    project: int | None = None
    group: int | None = None


class Command(PortalCommand):
    """``set_limit SCOPE --metric M --window W --amount A|none [--model P] [--mode M]``."""

    help = "Set a limit; --amount none removes it. Spend takes up to nine digits after the point."

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options of this command."""
        parser.add_argument("--organization", action="store_true")
        parser.add_argument("--group", metavar="CODE")
        parser.add_argument("--project", metavar="CODE")
        parser.add_argument("--user", metavar="EMAIL", help="one person, everywhere or with --project in it")
        parser.add_argument("--each-user", action="store_true", help="one counter for each person")
        parser.add_argument("--in-group", metavar="CODE", help="with --project: those who draw on that group")
        parser.add_argument("--token", metavar="ID")
        parser.add_argument("--api-key", metavar="ID")
        parser.add_argument("--metric", required=True, choices=Limit.Metric.values)
        parser.add_argument("--window", choices=Limit.Window.values)
        parser.add_argument("--amount", required=True, help="a decimal, or none")
        parser.add_argument("--model", default="", help="a name, or a beginning that ends in *")
        parser.add_argument("--mode", choices=Limit.Mode.values, default=Limit.Mode.ENFORCE)

    def perform(
        self, *, metric: str, window: str | None, amount: str, model: str, mode: str, **options: Any
    ) -> None:
        """Set it; it holds from now on."""
        window = window or (Limit.Window.NONE if metric == Limit.Metric.CONCURRENCY else None)
        if window is None:
            raise UsageError(f"A limit on {metric} needs --window.")
        named = _named(options)
        limit = set_limit(
            scope_key=named.scope_key,
            label=named.label,
            metric=metric,
            window=window,
            amount=None if amount.lower() == "none" else amount,
            model=model,
            mode=mode,
            actor=self.actor,
            project=named.project,
            group=named.group,
            reason=options["reason"],
            target=named.target,
        )
        shown = None if limit is None else shown_amount(metric, limit.amount)
        answer = {
            "scope": named.scope_key,
            "metric": metric,
            "window": window,
            "model": model,
            "amount": shown,
        }
        words = (
            f"{metric}" + ("" if window == "none" else f" per {window}") + (f" of {model}" if model else "")
        )
        self.answer(
            answer | {"mode": mode}, f"{named.label}: {words} {'unlimited' if shown is None else shown}."
        )


def _named(options: dict[str, Any]) -> Named:
    """Return the scope of the options; raise UsageError for a combination that names none."""
    given = {name for name in _SCOPES | _WITHIN if options[name]}
    main = given & {"organization", "group", "project", "token", "api_key"} or given & {"user", "each_user"}
    within = given - main
    if len(main) != 1 or len(within) > 1 or (within and main != {"project"}):
        raise UsageError(
            "Name one scope: --organization, --group, --project [--user, --each-user or --in-group], --user,"
            " --each-user, --token or --api-key."
        )
    if main == {"organization"}:
        organization = current_organization()
        target = Target("organization", "1", organization.name)
        return Named(scopes.ORGANIZATION, organization.name, target)
    if main == {"group"}:
        group = group_named(options["group"])
        return Named(scopes.group(group.pk), group_label(group), group_target(group), group=group.pk)
    if main == {"project"}:
        return _in_project(options)
    if main == {"user"}:
        person = _person(options["user"])
        return Named(scopes.user(person.pk), str(person), person_target(person))
    if main == {"each_user"}:
        return Named(scopes.EACH_USER, "Each user", Target("organization", "1", "each user"))
    return _credential(options)


_SCOPES = {"organization", "group", "project", "token", "api_key"}
_WITHIN = {"user", "each_user", "in_group"}


def _in_project(options: dict[str, Any]) -> Named:
    project = project_named(options["project"])
    label, target, ids = project_label(project), project_target(project), (project.pk, project.group_id)
    if options["user"]:
        person = _person(options["user"])
        return Named(scopes.project_user(project.pk, person.pk), f"{person} in {project.name}", target, *ids)
    if options["each_user"]:
        return Named(
            scopes.project_each_user(project.pk), f"Each user of project {project.name}", target, *ids
        )
    if options["in_group"]:
        group = group_named(options["in_group"])
        key = scopes.project_group(project.pk, group.pk)
        return Named(key, f"{group.name} in {project.name}", target, project.pk, group.pk)
    return Named(scopes.project(project.pk), label, target, *ids)


def _credential(options: dict[str, Any]) -> Named:
    if options["token"]:
        token = UserToken.objects.select_related("project", "person").filter(key_id=options["token"]).first()
        if token is None:
            raise RuleBroken(f"There is no user token with the id {options['token']}.", field="token")
        label = f"User token {token.name}"
        return Named(
            scopes.credential(token.key_id),
            label,
            token_target(token),
            token.project_id,
            token.project.group_id,
        )
    key = ApiKey.objects.select_related("project").filter(key_id=options["api_key"]).first()
    if key is None:
        raise RuleBroken(f"There is no API key with the id {options['api_key']}.", field="api_key")
    return Named(
        scopes.credential(key.key_id),
        f"API key {key.name}",
        key_target(key),
        key.project_id,
        key.project.group_id,
    )


def _person(email: str) -> Person:
    person = person_known(email)
    if person is None:
        raise RuleBroken(f"The portal knows nobody with the address {email}.", field="user")
    return person
