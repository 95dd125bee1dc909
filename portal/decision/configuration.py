"""What a decision needs besides counters: time zone, prices, aliases – one immutable copy for each version.

The copy a process holds is only a hint: every decision names its version, and the function in Valkey refuses an old
one together with the current number.
"""

import json
import threading
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from portal.decision import valkey
from portal.decision.models import Subject
from portal.lib.errors import Unavailable
from portal.spend.pricing import ModelPrice


class NotPublished(Unavailable):
    """Valkey holds no configuration: it has lost its data, or nothing was ever published."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One version of the configuration."""

    version: int
    zone: str
    currency: str
    organization: str
    aliases: dict[str, str]
    prices: dict[str, list[ModelPrice]]  # by model, oldest first
    by_id: dict[int, ModelPrice]
    failure: tuple[str, int] = (
        "closed",
        0,
    )  # what gateways do while nobody decides, up to so many nano-units

    def model(self, name: str) -> str:
        """Return the name in the price book for a gateway's name of a model."""
        return self.aliases.get(name, name)

    def price(self, model: str, moment_ms: int) -> ModelPrice | None:
        """Return the price of the model in force at the moment, if it has one."""
        versions = self.prices.get(model)
        if not versions:
            return None
        if versions[-1].effective <= moment_ms:
            return versions[-1]
        index = bisect_right(versions, moment_ms, key=lambda version: version.effective)
        return versions[index - 1] if index else None

    def first_price(self, model: str) -> ModelPrice | None:
        """Return the first price the model ever had: for usage that is older than its price."""
        versions = self.prices.get(model)
        return versions[0] if versions else None


def parse(version: int, text: str) -> Configuration:
    """Read a configuration as `portal.decision.publish` writes it."""
    data: dict[str, Any] = json.loads(text)
    prices = {
        model: [ModelPrice(row[0], model, *row[1:]) for row in rows] for model, rows in data["prices"].items()
    }
    return Configuration(
        version,
        data["zone"],
        data["currency"],
        data["organization"],
        data["aliases"],
        prices,
        {price.id: price for versions in prices.values() for price in versions},
        (data["failure"][0], data["failure"][1]) if "failure" in data else ("closed", 0),
    )


_lock = threading.Lock()
_current: Configuration | None = None


def current(at_least: int = 0) -> Configuration:
    """Return the configuration, not older than the version given; raise NotPublished when Valkey has none."""
    global _current
    held = _current
    if held is not None and held.version >= at_least:
        return held
    with _lock:
        if _current is not None and _current.version >= at_least:
            return _current
        text = valkey.command("GET", "cfg")
        if text is None:
            raise NotPublished("the configuration is not published")
        data = json.loads(text)
        _current = parse(data["version"], text)
        return _current


def best() -> Configuration:
    """Return the configuration this process holds, or Valkey's, or what Postgres says: booking needs no decider."""
    try:
        return current()
    except Unavailable:
        return of_record()


def of_record() -> Configuration:
    """Return the configuration that Postgres has."""
    subject = Subject.objects.get(pk="cfg")
    return parse(subject.version, json.dumps(subject.data))


def refresh() -> None:
    """Hold what Postgres says, if it is newer: while Valkey is away nobody else tells of changes."""
    global _current
    version = Subject.objects.filter(pk="cfg").values_list("version", flat=True).first()
    held = _current
    if version is not None and (held is None or held.version < version):
        _current = of_record()


def failure() -> tuple[str, int]:
    """Return the failure policy as this process last heard of it; it asks nobody."""
    held = _current
    return held.failure if held else ("closed", 0)


def forget() -> None:
    """Drop the copy this process holds."""
    global _current
    _current = None
