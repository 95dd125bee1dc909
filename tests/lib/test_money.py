"""Money is exact: integers of nano-units, decimals at the edges."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib import money


@given(st.integers(-money.MAX_NANO, money.MAX_NANO))
def test_amounts_survive_the_way_out_and_in(nano: int) -> None:
    assert money.to_nano(money.from_nano(nano)) == nano
    assert money.to_nano(money.decimal_string(nano)) == nano
    assert Fraction(money.from_nano(nano)) == Fraction(nano, 10**9)


@given(st.integers(0, 10**21))
def test_sums_up_to_a_million_million_are_shown_exactly(nano: int) -> None:
    assert Fraction(money.decimal_string(nano)) == Fraction(nano, 10**9)
    assert Decimal(money.decimal_string(nano)) == money.from_nano(nano)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_division_rounds_half_to_even(numerator: int, denominator: int) -> None:
    assert money.half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("1", 10**9),
        ("0.000000001", 1),
        ("9000000000", 9 * 10**18),
        ("12.5", 12_500_000_000),
        ("1e3", 10**12),
    ],
)
def test_amounts_are_read(text: str, nano: int) -> None:
    assert money.to_nano(text) == nano
    assert money.to_nano(Decimal(text)) == nano


@pytest.mark.parametrize(
    "text", ["", "x", "NaN", "Infinity", "-Infinity", "0.0000000001", "9000000001", "1e30", "1e-30"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|digits|large"):
        money.to_nano(text)
