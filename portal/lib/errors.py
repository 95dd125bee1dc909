"""Errors that carry a sentence for a person."""

from collections.abc import Mapping
from typing import Any


class RuleBroken(Exception):
    """A rule of the product refuses the change.

    ``message`` is one sentence that says what to do; ``field`` names the form field it belongs to, if any.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Unavailable(Exception):
    """A service this one depends on cannot be reached; the caller may try again."""


class ChangedMeanwhile(RuleBroken):
    """Somebody else saved other values after the person had opened the form; ``now`` has those of the fields."""

    def __init__(self, now: Mapping[str, Any]) -> None:
        super().__init__(
            "Somebody else changed this while you had it open. Look at both values, then save again."
        )
        self.now = now


def as_seen(value: Any) -> Any:
    """Return a value as two readings of it are compared: objects by their key, nothing as an empty text."""
    if isinstance(value, list | tuple):
        return [as_seen(each) for each in value]
    value = getattr(value, "pk", value)
    return "" if value is None or value is False else str(value)


def refuse_if_changed(seen: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raise ChangedMeanwhile when a value is no longer what was seen (None: nothing was). Call it under a lock."""
    changed = {
        name: now[name] for name, value in (seen or {}).items() if name in now and as_seen(now[name]) != value
    }
    if changed:
        raise ChangedMeanwhile(changed)
