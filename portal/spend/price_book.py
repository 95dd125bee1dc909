"""Questions about the price book: the price in force of each model, its history, and what an import would change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Case, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from portal.lib.money import currency_sign
from portal.spend import imports, selectors
from portal.spend.imports import Offer
from portal.spend.models import ModelAlias, Price, UnpricedModel

PRICES = ("input", "cached_input", "cache_write", "output")
NAMES = {
    "input": "Input",
    "cached_input": "Cached input",
    "cache_write": "Cache write",
    "output": "Output",
}
ENTERED = "entered"
# A change by more than this factor is more often a slip of the decimal point than a new price.
LARGE = 10


@dataclass(frozen=True, slots=True)
class Amounts:
    """A price per million tokens, as text; empty where it is the one of input."""

    input: str
    cached_input: str
    cache_write: str
    output: str


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A version of a price as a list shows it; ``next`` is the version that follows, if one is known already."""

    price: Price
    amounts: Amounts
    aliases: Sequence[str] = ()
    next: Price | None = None
    is_in_force: bool = True
    is_upcoming: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What an import would do to one model."""

    model: str
    before: Amounts | None
    after: Amounts
    is_large: bool = False
    is_entered: bool = False


@dataclass(frozen=True, slots=True)
class ImportPreview:
    """What an import would do: how many models, and some of the changes, the largest first."""

    source: str
    new: int
    changed: int
    unchanged: int
    aliases: int
    large: int
    entered: int
    samples: Sequence[Change]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to import."""
        return not (self.new or self.changed or self.aliases)


def shown_price(amount: Decimal, currency: str) -> str:
    """Return a price with all its digits, at least two after the point: ``$0.025``, ``$15.00``."""
    exact = amount.normalize()
    exponent = exact.as_tuple().exponent
    digits = max(2, -exponent if isinstance(exponent, int) else 2)
    sign = currency_sign(currency)
    return f"{sign}{' ' if sign.isalpha() else ''}{exact:,.{digits}f}"


def amounts_of(price: Price | Offer, currency: str) -> Amounts:
    """Return the four prices as text."""
    found = (getattr(price, name) for name in PRICES)
    return Amounts(*("" if amount is None else shown_price(amount, currency) for amount in found))


def shown_prices(*, text: str = "", source: str = "", models: Iterable[str] | None = None) -> QuerySet[Price]:
    """Return one price for each model: the one in force, else the next to come.

    ``text`` is looked for in names and aliases, ``source`` is ``entered`` or ``imported``.
    """
    now = timezone.now()
    rank = Case(When(effective__lte=now, then=Value(0)), default=Value(1), output_field=IntegerField())
    best = Price.objects.filter(model=OuterRef("model")).order_by(rank, "-effective", "-id")
    prices = Price.objects.filter(id=Subquery(best.values("id")[:1]))
    if text:
        named = ModelAlias.objects.filter(alias__icontains=text).values("model")
        prices = prices.filter(Q(model__icontains=text) | Q(model__in=named))
    if source:
        entered = Q(source=ENTERED)
        prices = prices.filter(entered if source == ENTERED else ~entered)
    return prices if models is None else prices.filter(model__in=list(models))


def models_used(first: date, last: date) -> list[str]:
    """Return the models that were called on the local days ``first <= day < last``."""
    return [model for model, _ in selectors.usage_by_model("o", first, last, most=1000)]


def price_rows(prices: Sequence[Price], currency: str) -> list[PriceRow]:
    """Return the rows of a list with the aliases of each model and the version that comes next."""
    now, models = timezone.now(), {price.model for price in prices}
    aliases: dict[str, list[str]] = {}
    for alias in ModelAlias.objects.filter(model__in=models).order_by("alias"):
        aliases.setdefault(alias.model, []).append(alias.alias)
    later = Price.objects.filter(model__in=models, effective__gt=now).order_by("-effective", "-id")
    following = {price.model: price for price in later}
    return [
        PriceRow(
            price,
            amounts_of(price, currency),
            aliases.get(price.model, ()),
            None if price.effective > now else following.get(price.model),
            is_in_force=price.effective <= now,
            is_upcoming=price.effective > now,
        )
        for price in prices
    ]


def price_in_force(model: str) -> Price | None:
    """Return the price that holds now."""
    versions = Price.objects.filter(model=model, effective__lte=timezone.now())
    return versions.order_by("-effective", "-id").first()


def history_rows(prices: Sequence[Price], model: str, currency: str) -> list[PriceRow]:
    """Return versions of one model's price, with the one in force and those to come marked."""
    current, now = price_in_force(model), timezone.now()
    return [
        PriceRow(
            price,
            amounts_of(price, currency),
            is_in_force=price == current,
            is_upcoming=price.effective > now,
        )
        for price in prices
    ]


def alias_of(name: str) -> str | None:
    """Return the model that the name is an alias of."""
    return ModelAlias.objects.filter(pk=name).values_list("model", flat=True).first()


def unpriced_models() -> QuerySet[UnpricedModel]:
    """Return the models somebody asked for that have no price, those asked for most first."""
    return UnpricedModel.objects.order_by("-calls", "model")


def is_large(before: Decimal, after: Decimal) -> bool:
    """Tell whether a price changes by more than the factor that is asked about."""
    low, high = sorted((before, after))
    return high > low * LARGE


def is_large_change(before: Price, offer: Offer) -> bool:
    """Tell whether one of the prices changes by more than that factor."""
    pairs = ((getattr(before, name), getattr(offer, name)) for name in PRICES)
    return any(old is not None and new is not None and is_large(old, new) for old, new in pairs)


def large_changes(model: str, prices: Mapping[str, Decimal | None], currency: str) -> list[str]:
    """Return those of the new prices that are more than ten times the one in force, or less than a tenth of it."""
    before = price_in_force(model)
    found = []
    for name in PRICES if before else ():
        old, new = getattr(before, name), prices.get(name)
        if old is not None and new is not None and is_large(old, new):
            shown = " to ".join(shown_price(each, currency) for each in (old, new))
            found.append(f"{NAMES[name]} from {shown}")
    return found


def preview_import(rate: Decimal, currency: str) -> ImportPreview:
    """Return what importing the published prices would do; raise RuleBroken for a rate that cannot be."""
    rate = imports.checked_rate(rate, currency)
    found = imports.difference(rate)
    changes = [
        Change(
            offer.model,
            amounts_of(before, currency),
            amounts_of(offer, currency),
            is_large_change(before, offer),
            before.source == ENTERED,
        )
        for before, offer in found.changed
    ]
    changes.sort(key=lambda change: (not change.is_large, not change.is_entered, change.model))
    new = [Change(offer.model, None, amounts_of(offer, currency)) for offer in found.new]
    return ImportPreview(
        imports.source(),
        new=len(new),
        changed=len(changes),
        unchanged=len(imports.offered(rate)[0]) - len(new) - len(changes),
        aliases=len(found.aliases),
        large=sum(change.is_large for change in changes),
        entered=sum(change.is_entered for change in changes),
        samples=[*changes[:10], *new[:10]],
    )


def last_rate() -> Decimal | None:
    """Return the rate of the latest import."""
    imported = Price.objects.exclude(source=ENTERED).order_by("-id")
    return imported.values_list("rate", flat=True).first()
