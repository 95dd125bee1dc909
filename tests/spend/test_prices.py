"""What a call costs: the exact sum over token classes, rounded once, half to even, to a nano-unit."""

from fractions import Fraction

import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from portal.spend.pricing import ModelPrice

TOKENS = st.integers(0, 10**9)
NANO = st.integers(0, 4 * 10**15)


def price(input_: int, cached: int, written: int, output: int) -> ModelPrice:
    return ModelPrice(1, "m", 0, input_, cached, written, output, None, None)


@given(NANO, NANO, NANO, NANO, TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_cost_is_the_exact_sum_rounded_once(
    p_in: int, p_cached: int, p_written: int, p_out: int, plain: int, cached: int, written: int, out: int
) -> None:
    exact = (
        Fraction(p_in * plain)
        + Fraction(p_cached * cached)
        + Fraction(p_written * written)
        + Fraction(p_out * out)
    ) / 10**6
    cost = price(p_in, p_cached, p_written, p_out).cost(
        input_tokens=plain + cached + written,
        output_tokens=out,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )
    assert cost == round(exact)
    assert abs(cost - exact) <= Fraction(1, 2)


@given(NANO, NANO, NANO, NANO, TOKENS, TOKENS, st.data())
def test_the_estimate_is_never_below_the_cost(
    p_in: int, p_cached: int, p_written: int, p_out: int, size: int, out: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, size))
    written = data.draw(st.integers(0, size - cached))
    model = price(p_in, p_cached, p_written, p_out)
    cost = model.cost(
        input_tokens=size, output_tokens=out, cached_input_tokens=cached, cache_write_tokens=written
    )
    assert cost <= model.most_for(size, out)


@pytest.mark.parametrize(
    ("per_million", "tokens", "nano"),
    # Halves of a nano-unit: 0.5 → 0, 1.5 → 2, 2.5 → 2.
    [
        ("0.0005", 1, 0),
        ("0.0005", 3, 2),
        ("0.0005", 5, 2),
        ("0.000000001", 1, 0),
        ("2.5", 1, 2500),
        ("10", 1, 10000),
    ],
)
def test_halves_go_to_the_even_nano_unit(per_million: str, tokens: int, nano: int) -> None:
    model = price(int(Fraction(per_million) * 10**9), 0, 0, 0)
    assert model.cost(input_tokens=tokens, output_tokens=0) == nano


def test_published_prices_cost_what_exact_fractions_say() -> None:
    checked = 0
    for provider in providers:
        for model in provider.models:
            prices = model.prices
            if isinstance(prices, list) or not isinstance(
                prices.input_mtok, int | float | type(prices.output_mtok)
            ):
                continue
            try:
                per_million = [Fraction(str(prices.input_mtok)), Fraction(str(prices.output_mtok))]
            except ValueError:
                continue
            nano = [int(value * 10**9) for value in per_million]
            cost = price(nano[0], nano[0], nano[0], nano[1]).cost(input_tokens=123_457, output_tokens=8_191)
            assert abs(cost - (per_million[0] * 123_457 + per_million[1] * 8_191) * 1000) <= Fraction(1, 2)
            checked += 1
    assert checked > 200
