"""Prices of published models, as the package genai-prices knows them offline.

**Names.** A model of a first-party provider (its maker sells it) is priced under its bare id, ``gpt-5-mini``; where
two have the same id, the first in `FIRST_PARTY` has it. Every model, of whatever provider, also answers to
``provider/id``: an alias where it is the same price, a price of its own elsewhere. The exact names and beginnings by
which the package recognizes a first-party model (``gpt-5-2025-08-07``, ``claude-sonnet-4.5``) become aliases too.

**Amounts** are the exact decimals of the package (US dollars per million tokens) times the rate, rounded up to nine
digits. Nothing is metered too low: where a price depends on the length of the prompt or on the time of day the dearest
holds, and cache writes cost what the longest-lived one costs. Text is what is priced: a model that is priced by
anything but text tokens alone (seconds, pages, characters) is left out, and audio or image tokens of a model that also
reads text cost what text does, because a gateway's report does not tell them apart. Enter a price where that is wrong.

The most output tokens of a model are not known to the package; its context window bounds them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Context, Decimal
from functools import cache
from importlib.metadata import version

from django.db.models import OuterRef, Subquery
from django.utils import timezone
from genai_prices import data
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    TieredPrices,
    TimeOfDateConstraint,
)

from portal.lib.errors import RuleBroken
from portal.lib.money import to_nano
from portal.spend.models import ModelAlias, Price, UnpricedModel

FIRST_PARTY = (
    *(
        "openai",
        "anthropic",
        "google",
        "mistral",
        "x-ai",
        "deepseek",
        "cohere",
        "meta",
        "moonshotai",
        "minimax",
    ),
    *("zai", "perplexity", "voyageai", "arcee"),
)
_EXACT, _DIGITS = Context(prec=60), Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model costs, per million tokens in the currency of the organization."""

    model: str
    input: Decimal
    cached_input: Decimal | None
    cache_write: Decimal | None
    output: Decimal
    context_window: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What an import would do: models that are new, those whose price changes (before, after), and aliases."""

    new: list[Offer]
    changed: list[tuple[Price, Offer]]
    aliases: list[ModelAlias]


def source() -> str:
    """Return where imported prices come from: the package and its version."""
    return f"genai-prices {version('genai-prices')}"


def checked_rate(rate: Decimal, currency: str) -> Decimal:
    """Return the currency units for a US dollar, or raise RuleBroken saying what to enter."""
    try:
        if to_nano(rate) <= 0:
            raise ValueError("it is more than zero")
    except ValueError as error:
        raise RuleBroken(f"Enter how many {currency} a US dollar is: {error}.", field="rate") from error
    if currency == "USD" and rate != 1:
        raise RuleBroken("Amounts are in US dollars already: the rate is 1.", field="rate")
    return rate


def difference(rate: Decimal) -> Difference:
    """Compare the package's prices of today, times the rate, with those in force."""
    offers, names = offered(rate)
    now = current_prices()
    new = [offer for model, offer in offers.items() if model not in now]
    changed = [
        (now[model], offer) for model, offer in offers.items() if model in now and _differs(now[model], offer)
    ]
    known = set(ModelAlias.objects.values_list("alias", flat=True))
    asked = _asked_for(offers)
    aliases = [
        ModelAlias(alias=alias, model=model)
        for alias, model in (names | asked).items()
        if alias not in known and alias not in now
    ]
    return Difference(new, changed, aliases)


def prices_of(
    found: Difference, *, rate: Decimal, created_by: str, effective: datetime | None = None
) -> list[Price]:
    """Return the rows that an import adds, in force from `effective` (default: now) on."""
    begins, origin = effective or timezone.now(), source()
    return [
        Price(
            model=offer.model,
            input=offer.input,
            cached_input=offer.cached_input,
            cache_write=offer.cache_write,
            output=offer.output,
            context_window=offer.context_window,
            effective=begins,
            rate=rate,
            source=origin,
            created_by=created_by,
        )
        for offer in [*found.new, *(after for _, after in found.changed)]
    ]


def current_prices() -> dict[str, Price]:
    """Return the price in force of each model."""
    newest = Price.objects.filter(model=OuterRef("model"), effective__lte=timezone.now())
    newest_id = Subquery(newest.order_by("-effective", "-id").values("id")[:1])
    return {price.model: price for price in Price.objects.filter(id=newest_id)}


def offered(rate: Decimal = Decimal(1)) -> tuple[dict[str, Offer], dict[str, str]]:
    """Return the package's prices of today by model, and the aliases of those models."""
    offers: dict[str, Offer] = {}
    names: dict[str, str] = {}
    for provider, info in _models():
        price = _today(info)
        if price is None:
            continue
        full = f"{provider}/{info.id}"
        if provider in FIRST_PARTY and info.id not in offers:
            offers[info.id] = _offer(info.id, price, info.context_window, rate)
            names[full] = info.id
            for alias in _literals(info):
                names.setdefault(alias, info.id)
        else:
            offers[full] = _offer(full, price, info.context_window, rate)
    return offers, {
        alias: model for alias, model in names.items() if alias not in offers and len(alias) <= 200
    }


def _asked_for(offers: Mapping[str, Offer]) -> dict[str, str]:
    """Return aliases for models somebody asked for without a price that the package recognizes by a pattern."""
    found = {}
    for name in UnpricedModel.objects.values_list("model", flat=True):
        for provider, info in _models():
            if provider in FIRST_PARTY and info.id in offers and name not in offers and info.is_match(name):
                found[name] = info.id
                break
    return found


@cache
def _providers() -> list[tuple[str, list[ModelInfo]]]:
    rank = {provider: place for place, provider in enumerate(FIRST_PARTY)}
    ordered = sorted(data.providers, key=lambda provider: (rank.get(provider.id, len(rank)), provider.id))
    return [(provider.id, provider.models) for provider in ordered]


def _models() -> Iterator[tuple[str, ModelInfo]]:
    for provider, models in _providers():
        for info in models:
            if len(info.id) + len(provider) < 200:
                yield provider, info


def _today(info: ModelInfo) -> list[ModelPrice] | None:
    """Return every price that holds at some time of today; None when text tokens have none."""
    if isinstance(info.prices, ModelPrice):
        found = [info.prices]
    else:
        found, now = [], datetime.now(UTC)
        for conditional in reversed(info.prices):
            if isinstance(conditional.constraint, TimeOfDateConstraint):
                found.append(conditional.prices)
            elif conditional.constraint is None or conditional.constraint.active(now):
                found.append(conditional.prices)
                break
    return found if any(_highest([price], "input_mtok") is not None for price in found) else None


def _highest(prices: Iterable[ModelPrice], *fields: str) -> Decimal | None:
    amounts: list[Decimal] = []
    for price in prices:
        for field in fields:
            value = price.__dict__.get(field)
            if isinstance(value, TieredPrices):
                amounts += [value.base, *(tier.price for tier in value.tiers)]
            elif value is not None:
                amounts.append(value)
    return max(amounts, default=None)


def _offer(model: str, prices: list[ModelPrice], context_window: int | None, rate: Decimal) -> Offer:
    def amount(*fields: str) -> Decimal | None:
        highest = _highest(prices, *fields)
        if highest is None:
            return None
        return _EXACT.multiply(highest, rate).quantize(_DIGITS, rounding=ROUND_CEILING, context=_EXACT)

    return Offer(
        model,
        amount("input_mtok") or Decimal(0),
        amount("cache_read_mtok"),
        amount("cache_write_mtok", "cache_write_1h_mtok"),
        amount("output_mtok", "output_reasoning_mtok") or Decimal(0),
        context_window,
    )


def _literals(info: ModelInfo) -> Iterator[str]:
    clauses = info.match.or_ if isinstance(info.match, ClauseOr) else [info.match]
    for clause in clauses:
        if isinstance(clause, ClauseEquals):
            yield clause.equals
        elif isinstance(clause, ClauseStartsWith) and clause.starts_with[-1:].isalnum():
            yield clause.starts_with


def _differs(price: Price, offer: Offer) -> bool:
    return any(
        getattr(price, field) != getattr(offer, field)
        for field in ("input", "cached_input", "cache_write", "output", "context_window")
    )
