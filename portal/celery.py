"""The Celery application: it wakes the jobs; what they do is in each app's services."""

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Redelivery waits for the longest time limit, so that a slow task never runs twice at once.
_VISIBILITY = {"visibility_timeout": 900, "socket_timeout": 5, "socket_connect_timeout": 2}
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=240,
    task_time_limit=300,
    broker_transport_options=_VISIBILITY,
    worker_soft_shutdown_timeout=30,
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    timezone="UTC",
)


def _every(task: str, seconds: float) -> dict[str, Any]:
    # A wake-up that nobody took before the next one is worthless.
    return {"task": task, "schedule": seconds, "options": {"expires": max(seconds, 5)}}


app.conf.beat_schedule = {
    "move usage": _every("decision.move_usage", 1),
    "expire reservations": _every("decision.expire_reservations", 10),
    "move refusals": _every("decision.move_refusals", 2),
    "drain the outbox": _every("decision.drain_outbox", 5),
    "check limits": _every("decision.check_limits", 60),
    "send mail": _every("notifications.send_mail", 5),
    "send webhooks": _every("notifications.send_webhooks", 5),
    "note last use": _every("decision.note_last_use", 60),
    "refresh standings": _every("projects.refresh_standings", 5),
    "make partitions": _every("spend.make_partitions", 3600),
    "look up directory": _every("groups.look_up_members", 900),
    # At a time of day, not at an interval: that would begin anew whenever beat starts.
    "clear sessions": {
        "task": "accounts.clear_sessions",
        "schedule": crontab(hour="3", minute="40"),
        "options": {"expires": 3600},
    },
}
app.autodiscover_tasks(["portal.accounts", "portal.spend", "portal.notifications", "portal.decision", "groups", "projects"])


@worker_init.connect
def check_before_work(**_: Any) -> None:
    """A worker refuses to start where usage could be lost or credentials not be recognized."""
    from portal import checks  # needs the apps, which Celery sets up after this module

    checks.require_start()
