"""Deleting a project that was never used. One that was is archived instead, so that its spend stays explained."""

from django.db import connection, transaction
from django.db.models import Q

from audit.actions import Action
from audit.actors import Actor
from audit.services import record
from portal.decision import subjects
from portal.decision.services import set_limit
from portal.lib.errors import RuleBroken
from portal.spend import scopes
from portal.spend.models import LedgerRow, Limit, Refusal, Rollup
from projects import standing
from projects.models import Project
from projects.services import label_of, publish, target_of


def traces_of(project: Project) -> list[str]:
    """Return what shows that the project was used, in words; nothing when it may be deleted."""
    found = []
    if number := project.tokens.count():
        found.append(f"{number:,} user token{'' if number == 1 else 's'} issued")
    if number := project.api_keys.count():
        found.append(f"{number:,} API key{'' if number == 1 else 's'} issued")
    has_usage = Rollup.objects.filter(scope_key=scopes.project(project.pk)).exists() or _is_in_inbox(project)
    if has_usage or LedgerRow.objects.filter(project=project.pk).exists():
        found.append("usage booked")
    if Refusal.objects.filter(project=project.pk).exists():
        found.append("requests refused")
    return found


def _is_in_inbox(project: Project) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM usage_inbox WHERE project = %s)", [project.pk])
        return bool(cursor.fetchone()[0])


def delete_project(*, project: Project, actor: Actor, reason: str = "") -> None:
    """Delete a project without a trace of use, with its limits and people; its audit entries stay."""
    with subjects.denying(), transaction.atomic(durable=True):
        project = Project.objects.select_for_update().get(pk=project.pk)
        if traces := traces_of(project):
            raise RuleBroken(f"{project.name} was used ({', '.join(traces)}). Archive it instead.")
        inside = Q(scope_key__startswith=f"pu:{project.pk}:") | Q(scope_key__startswith=f"pg:{project.pk}:")
        for limit in Limit.objects.filter(Q(scope_key=scopes.project(project.pk)) | inside):
            set_limit(
                scope_key=limit.scope_key,
                label=label_of(project),
                metric=limit.metric,
                window=limit.window,
                model=limit.model,
                amount=None,
                actor=actor,
                project=project.pk,
                group=project.group_id,
                reason="The project is deleted.",
                target=target_of(project),
            )
        # No credential leads to it any more; what the decision holds of it refuses whatever came all the same.
        project.state = Project.State.ARCHIVED
        publish(project)
        record(
            Action.PROJECT_DELETED,
            actor=actor,
            target=target_of(project),
            project=project.pk,
            group=project.group_id,
            changes={"code": (project.code, None), "name": (project.name, None)},
            comment=reason,
        )
        standing.forget([project.pk])
        project.delete()
