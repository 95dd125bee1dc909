"""The Celery application: it wakes the jobs; what they do is in each app's services."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init

from portal.schedule.turns import Daily, Every

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal", task_cls="portal.schedule.task:TurnTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Redelivery waits for the longest time limit, so that a slow task never runs twice at once.
_VISIBILITY = {"visibility_timeout": 900}
_PATIENCE = {"socket_timeout": 5, "socket_connect_timeout": 2}
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=240,
    task_time_limit=300,
    broker_transport_options=_VISIBILITY | _PATIENCE,
    result_backend_transport_options=_VISIBILITY,
    visibility_timeout=_VISIBILITY["visibility_timeout"],
    worker_soft_shutdown_timeout=30,
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_scheduler="portal.schedule.beat:Turns",
    beat_max_loop_interval=5,
)


def _every(task: str, seconds: float) -> dict[str, Any]:
    # A wake-up that nobody took before the next one is worthless.
    return {"task": task, "schedule": Every(seconds), "options": {"expires": max(seconds, 5)}}


def _daily(task: str, hour: int, minute: int) -> dict[str, Any]:
    # A turn that was missed is caught up until the next.
    return {"task": task, "schedule": Daily(hour, minute), "options": {"expires": 3600}}


app.conf.beat_schedule = {
    "move usage": _every("decision.move_usage", 1),
    "expire reservations": _every("decision.expire_reservations", 10),
    "move refusals": _every("decision.move_refusals", 2),
    "drain the outbox": _every("decision.drain_outbox", 5),
    "check limits": _every("decision.check_limits", 60),
    "foresee limits": _every("decision.foresee_limits", 3600),
    "send mail": _every("notifications.send_mail", 5),
    "send webhooks": _every("notifications.send_webhooks", 5),
    "note last use": _every("decision.note_last_use", 60),
    "refresh standings": _every("projects.refresh_standings", 5),
    "refresh named users": _every("apikeys.refresh_named_users", 300),
    "end grants": _every("accounts.end_grants", 60),
    "expire requests": _every("approvals.expire_requests", 300),
    "return limits": _every("limits.return_limits", 60),
    "make partitions": _every("spend.make_partitions", 3600),
    "sync directory": _every("directory.sync", 15),
    "anchor the audit log": _every("audit.keep_anchor", 300),
    "drop old rows": _daily("spend.drop_old", 2, 20),
    "freeze months": _daily("spend.freeze_months", 3, 10),
    "watch user tokens": _daily("tokens.watch", 5, 10),
    "watch api keys": _daily("apikeys.watch", 5, 20),
    "clear sessions": _daily("accounts.clear_sessions", 3, 40),
    "sweep": _every("schedule.sweep", 30),
}
app.autodiscover_tasks(
    [
        "portal.schedule",
        "audit",
        "portal.accounts",
        "portal.spend",
        "portal.notifications",
        "portal.decision",
        "portal.approvals",
        "projects",
        "tokens",
        "apikeys",
        "portal.directory",
        "portal.limits",
    ]
)


@worker_init.connect
def check_before_work(**_: Any) -> None:
    """A worker refuses to start where usage could be lost or credentials not be recognized."""
    from portal import checks  # needs the apps, which Celery sets up after this module

    checks.require_start()
