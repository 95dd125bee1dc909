"""Limits and the reasons of refusals, in the words of people."""

from dataclasses import dataclass

from portal.decision.decide import Row
from portal.lib.money import NANO, format_money
from portal.lib.problems import PROBLEMS
from portal.spend.models import Limit

CODES = (
    "limit_exceeded",
    "credential_unknown",
    "credential_revoked",
    "credential_expired",
    "credential_suspended",
    "not_a_member",
    "address_not_allowed",
    "project_inactive",
    "model_not_allowed",
    "model_unpriced",
)
"""Every code a refusal can carry, the most frequent first."""

_EACH = {"minute": "per-minute", "day": "daily", "week": "weekly", "month": "monthly"}
_NOUNS = {"spend": "limit", "requests": "request limit", "tokens": "model token limit"}


def reason(code: str) -> str:
    """Return the title of a refusal."""
    return PROBLEMS[code][1] if code in PROBLEMS else code


def limit_name(metric: str, window: str, model: str = "") -> str:
    """Return what a limit is called: ``monthly limit``, ``per-minute request limit for gpt-5*``."""
    if metric == Limit.Metric.CONCURRENCY:
        name = "limit of calls in flight"
    else:
        name = f"{_EACH.get(window, '')} {_NOUNS.get(metric, 'limit')}".strip()
    return f"{name} for {model}" if model else name


def binding_parts(binding: str) -> tuple[str, str, str, str]:
    """Return scope, metric, window and model of a refusal's binding limit; all empty when none bound."""
    scope, metric, window, model = (f"{binding}|||".split("|"))[:4]
    return scope, metric, window, model


def amount(metric: str, value: int, currency: str) -> str:
    """Return an amount that was used or asked for: money, or a count."""
    return format_money(value, currency) if metric == Limit.Metric.SPEND else f"{value:,}"


def limit_amount(metric: str, value: int, currency: str) -> str:
    """Return the amount of a limit: money without decimals when it is whole."""
    if metric == Limit.Metric.SPEND and value % NANO == 0:
        return format_money(value, currency, 0)
    return amount(metric, value, currency)


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit as it was looked at; `binds` marks the one that decided. Hidden numbers belong to others."""

    row: Row
    currency: str
    binds: bool
    is_hidden: bool

    @property
    def failed(self) -> bool:
        return self.row.failed

    @property
    def would_refuse(self) -> bool:
        """Whether it only observes, and had no room."""
        return not self.row.has_room and not self.row.is_enforced

    @property
    def name(self) -> str:
        return limit_name(self.row.metric, self.row.window, self.row.model)

    @property
    def title(self) -> str:
        """Whose limit it is, and which."""
        return f"{self.row.label}: {self.name}"

    def _show(self, value: int) -> str:
        return amount(self.row.metric, value, self.currency)

    @property
    def _limit(self) -> str:
        return limit_amount(self.row.metric, self.row.limit, self.currency)

    @property
    def numbers(self) -> str:
        """What was used, held, asked for and left at that moment."""
        row = self.row
        if self.is_hidden:
            return (
                "Shared with others. It had room." if row.has_room else "Shared with others. It had no room."
            )
        if row.metric == Limit.Metric.CONCURRENCY:
            return f"{self._show(row.used)} in flight of {self._limit} allowed."
        verb = "spent" if row.metric == Limit.Metric.SPEND else "used"
        held = f", {self._show(row.reserved)} held by calls in flight" if row.reserved else ""
        text = f"{self._show(row.settled)} {verb} of {self._limit}{held}."
        if row.has_room:
            return text
        could = "could cost" if row.metric == Limit.Metric.SPEND else "could use"
        left = f"{self._show(row.remaining)} is left." if row.remaining else "Nothing is left."
        return f"{text} This request {could} up to {self._show(row.requested)}. {left}"

    @property
    def sentence(self) -> str:
        """Why it refused, in one sentence."""
        row, whose = self.row, self.row.label
        if self.is_hidden:
            return f"{whose} has no room left in its {self.name}."
        limit = self._limit
        if row.requested > row.limit:
            asked = self._show(row.requested)
            return f"This request could need {asked}, more than the whole {self.name} of {whose}, {limit}."
        if row.metric == Limit.Metric.CONCURRENCY:
            return f"{whose} has {self._show(row.used)} calls in flight of {limit} allowed."
        if not row.remaining:
            return f"{whose} has used all of its {self.name}, {self._show(row.used)} of {limit}."
        return (
            f"{whose} has {self._show(row.remaining)} left of its {self.name}, {limit};"
            f" this request could need {self._show(row.requested)}."
        )
