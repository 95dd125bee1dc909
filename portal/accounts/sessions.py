"""The session engine: sessions lie in the database with whose they are, so that they can be listed and ended."""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY as PERSON
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils.http import url_has_allowed_host_and_scheme

SIGNED_IN = "signed_in"  # when, in seconds since the epoch
SEEN = "seen"  # the last request, to the minute
SID = "sid"  # Microsoft's id of the session there
CHECKED = "checked"  # when Microsoft last confirmed the account; only sessions that began there have it
HINTS = "logout_hints"  # what tells Microsoft whose session is meant
ADDRESS, BROWSER = "address", "browser"  # where it was started from


def mark_of(key: str) -> str:
    """Return what names a session in pages and in the audit log without being one."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def safe_next(target: str) -> str:
    """Return where to go after sign-in: a path of this portal, or the start page."""
    is_path = target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return target if is_path and len(target) <= 2000 else str(settings.LOGIN_REDIRECT_URL)


class SessionStore(DatabaseStore):
    """Django's, in a table that also says whose session it is. What is in the columns is in the data too."""

    @classmethod
    def get_model_class(cls) -> Any:
        """Return the table, which cannot be imported before the apps are ready."""
        from portal.accounts.models import Session

        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """Return the row for `data`."""
        row: Any = super().create_model_instance(data)
        row.mark = mark_of(row.session_key)
        row.person_id = int(data[PERSON]) if data.get(PERSON) else None
        row.sid = str(data.get(SID, ""))[:200]
        row.started, row.seen = data.get(SIGNED_IN), data.get(SEEN)
        row.address = data.get(ADDRESS)
        row.browser = str(data.get(BROWSER, ""))[:300]
        return row
