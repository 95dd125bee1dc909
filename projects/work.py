"""The lines of a checked file, done a few with each request, so that a long one shows how far it has come."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.core import signing

from portal.lib.errors import RuleBroken, Unavailable

STEP, _HOUR = 25, 3600


@dataclass(slots=True)
class Work:
    """What is left of a file that a person (``by``) has seen; ``failures`` are line, name and why not."""

    by: int
    rows: list[dict[str, Any]]
    total: int = 0
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = self.total or len(self.rows)

    @classmethod
    def opened(cls, text: str, salt: str) -> "Work":
        """Return what was signed; raise BadSignature for what was not, or is older than an hour."""
        by, rows, total, failures = signing.loads(text, salt=salt, max_age=_HOUR)
        return cls(by, rows, total, [tuple(failure) for failure in failures])

    def signed(self, salt: str) -> str:
        """Return it as a form carries it; empty when nothing is left."""
        work = [self.by, self.rows, self.total, self.failures]
        return signing.dumps(work, salt=salt, compress=True) if self.rows else ""

    def step(self, do: Callable[[dict[str, Any]], object], name: str) -> None:
        """Do the next few lines; one that fails is told by its number and its cell called `name`."""
        now, self.rows = self.rows[:STEP], self.rows[STEP:]
        for row in now:
            try:
                do(row)
            except (RuleBroken, Unavailable) as error:
                self.failures.append((row["line"], row[name], str(error)))

    @property
    def done(self) -> int:
        """How many lines have worked."""
        return self.total - len(self.rows) - len(self.failures)

    def progress(self, salt: str, **more: Any) -> dict[str, Any]:
        """Return what the page of the progress shows."""
        return {
            "failures": self.failures,
            "total": self.total,
            "done": self.total - len(self.rows),
            "work": self.signed(salt),
            **more,
        }
