"""When, from where and through which gateway credentials were last used.

The decision notes each use in the hash `seen`, so that no call costs a write to Postgres; what is lost with it is
lost for good, and harmless. The fields: `ID` is the current secret of a credential, `ID~` the one before its last
rotation. While Postgres decides each web process notes uses in its memory, in the same form, and writes them itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from django.db import connection, transaction

_LOCK = 7345012
_heard: dict[bytes, bytes] = {}


@dataclass(slots=True)
class Use:
    """The last uses of one credential, in seconds since 1970; `gateway` and `address` are of the later one."""

    key_id: str
    current: int | None = None
    previous: int | None = None
    gateway: str = ""
    address: str = ""

    @property
    def at(self) -> int:
        """The later of the two."""
        return max(self.current or 0, self.previous or 0)


def read(fields: Mapping[bytes, bytes]) -> list[Use]:
    """Return the uses of each credential as the hash holds them."""
    uses: dict[str, Use] = {}
    for name, value in fields.items():
        key_id = name.decode().removesuffix("~")
        moment, gateway, address = [*value.decode().split("|", 2), "", ""][:3]
        use, at = uses.setdefault(key_id, Use(key_id)), int(moment)
        if at > use.at:
            use.gateway, use.address = gateway, _address(address)
        if name.endswith(b"~"):
            use.previous = at
        else:
            use.current = at
    return list(uses.values())


def hear(field: str, second: int, gateway: str = "", address: str = "") -> None:
    """Note a use that Valkey does not hear of."""
    _heard[field.encode()] = f"{second}|{gateway}|{address}".encode()


def write_heard() -> int:
    """Write what this process has heard; return of how many credentials and gateways."""
    global _heard
    heard, _heard = _heard, {}
    uses = read(heard)
    try:
        if uses:
            write(uses)
    except BaseException:
        _heard = heard | _heard
        raise
    return len(uses)


def write(uses: list[Use]) -> None:
    """Write the uses, one statement for each table; an older one never replaces a later one."""
    columns: list[Any] = [
        [use.key_id for use in uses],
        [use.at for use in uses],
        [use.gateway[:12] for use in uses],
        [use.address for use in uses],
        [use.current for use in uses],
        [use.previous for use in uses],
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        # Several processes may write the same rows at once, each in another order.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_GATEWAYS, columns[:2])
        # Lists are sorted by last use: the projects are queued to be brought up to date there.
        for update, values in ((_TOKENS, columns[:4]), (_KEYS, columns)):
            cursor.execute(
                f"WITH used AS ({update} RETURNING t.project_id)"  # noqa: S608  fixed texts
                " INSERT INTO spend_touched (project) SELECT DISTINCT project_id FROM used",
                values,
            )


def _address(text: str) -> str:
    """Return an address in its usual spelling; what a gateway reports may be anything."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


_GATEWAYS = """
    UPDATE gateway AS t SET last_used = to_timestamp(s.at)
    FROM unnest(%s::text[], %s::bigint[]) AS s (key_id, at)
    WHERE t.key_id = s.key_id AND (t.last_used IS NULL OR t.last_used < to_timestamp(s.at))
"""

_TOKENS = """
    UPDATE user_token AS t
    SET last_used = to_timestamp(s.at), last_used_gateway = s.gateway, last_used_from = s.address
    FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[]) AS s (key_id, at, gateway, address)
    WHERE t.key_id = s.key_id AND (t.last_used IS NULL OR t.last_used < to_timestamp(s.at))
"""

# What was noted for the current secret before the key was rotated was a use of the one that is now the previous.
_KEYS = """
    UPDATE api_key AS t
    SET last_used = to_timestamp(s.at), last_used_gateway = s.gateway, last_used_from = s.address,
        secret_used = greatest(
            t.secret_used,
            CASE WHEN t.rotated IS NULL OR to_timestamp(s.current) > t.rotated THEN to_timestamp(s.current) END
        ),
        previous_used = greatest(
            t.previous_used, to_timestamp(s.previous),
            CASE WHEN to_timestamp(s.current) <= t.rotated THEN to_timestamp(s.current) END
        )
    FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
        AS s (key_id, at, gateway, address, current, previous)
    WHERE t.key_id = s.key_id AND (t.last_used IS NULL OR t.last_used < to_timestamp(s.at))
"""
