"""System checks that need the database: durability and peppers. Web and worker refuse to start when one fails."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.db import DatabaseError, connection, transaction

_DURABLE = {"synchronous_commit": ("on", "remote_apply"), "fsync": ("on",), "full_page_writes": ("on",)}


def peppers_in_use() -> dict[int, int]:
    """Return how many active credentials and gateways use each pepper."""
    with connection.cursor() as cursor:
        current = [
            f"SELECT pepper_id FROM {table}"  # noqa: S608  fixed names
            " WHERE revoked IS NULL AND (expires IS NULL OR expires > now())"
            for table in ("user_token", "api_key", "gateway")
        ]
        # While a key is rotated, its previous secret needs its pepper as well.
        previous = "SELECT previous_pepper_id FROM api_key WHERE revoked IS NULL AND previous_until > now()"
        held = " UNION ALL ".join([*current, previous])
        cursor.execute(f"SELECT pepper_id, count(*) FROM ({held}) AS used GROUP BY 1")  # noqa: S608
        return dict(cursor.fetchall())


@register("portal", "database")
def durable(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Usage is acknowledged after the commit: a commit that is not on disk would be a lie."""
    if not databases:
        return []
    messages: list[CheckMessage] = []
    with connection.cursor() as cursor:
        for name, good in _DURABLE.items():
            cursor.execute("SELECT current_setting(%s)", [name])
            value = cursor.fetchone()[0]
            if value not in good:
                messages.append(
                    Error(
                        f"Postgres has {name} = {value}.", hint=f"Set {name} to {good[0]}.", id="portal.E001"
                    )
                )
    return messages


@register("portal", "database")
def peppers(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Every pepper that an active credential uses must be there, or its holder is locked out."""
    if not databases:
        return []
    try:
        # A savepoint: before the first migration the tables are missing, and that is no finding.
        with transaction.atomic():
            used = peppers_in_use()
    except DatabaseError:
        return []
    return [
        Error(
            f"Pepper {number} is missing, but {count} active credentials use it.",
            hint="Put it back into PORTAL_PEPPERS, or revoke those credentials first.",
            id="portal.E002",
        )
        for number, count in sorted(used.items())
        if number not in settings.PEPPERS
    ]


def require_start() -> None:
    """Stop the process when a check of this module fails; without a database it may start and wait for one."""
    try:
        found = run_checks(tags=["portal"], databases=["default"])
    except DatabaseError:
        return
    finally:
        connection.close()
    serious = [message for message in found if message.is_serious()]
    if serious:
        raise SystemExit("\n".join(f"{message.msg} {message.hint or ''}" for message in serious))
