"""Which projects have changed since their standings were last brought up to date (`projects.standing`)."""

from collections.abc import Iterable

from django.db import connection


def touch(projects: Iterable[int]) -> None:
    """Queue the projects, in the transaction of the change. Usage queues them by itself when it is moved."""
    ids = sorted(set(projects))
    if ids:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO spend_touched (project) SELECT unnest(%s::bigint[])", [ids])


def take(most: int) -> list[int]:
    """Take up to ``most`` projects off the queue, in the transaction that brings them up to date."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH taken AS (DELETE FROM spend_touched WHERE project IN"
            " (SELECT project FROM spend_touched GROUP BY project ORDER BY min(id) LIMIT %s) RETURNING project)"
            " SELECT DISTINCT project FROM taken ORDER BY project",
            [most],
        )
        return [row[0] for row in cursor.fetchall()]
