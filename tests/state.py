"""What tests that commit leave behind, and how it goes: tables as their owner, Valkey with everything in it."""

from django.core.cache import cache
from django.db import connection

from portal.decision import configuration, valkey

# Kept between tests: what migrations have put there, not what a test has.
_KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def reset() -> None:
    """Empty every table and Valkey; the next decision finds nothing and rebuilds."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        )
        tables = sorted(row[0] for row in cursor.fetchall() if row[0] not in _KEPT)
        # The audit log forbids TRUNCATE to everybody, so its triggers rest meanwhile.
        cursor.execute(
            "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 32 <> 0"
        )
        guarded = [row[0] for row in cursor.fetchall()]
        for table in guarded:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"TRUNCATE {', '.join(map(quote, tables))} RESTART IDENTITY CASCADE")
        for table in guarded:
            # As they were made: always, also for a session that claims to be a replica.
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table]
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    valkey.command("FLUSHALL")
    configuration.forget()
    cache.clear()
