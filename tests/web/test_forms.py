"""Amounts and counts that people type."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.money import MAX_NANO
from portal.web.forms import CountField, MoneyField


@pytest.mark.parametrize(
    ("typed", "nano"),
    [
        ("", None),
        ("0", 0),
        ("4,500", 4500 * 10**9),
        ("$ 4 500.50", 4500_500_000_000),
        ("0.000000001", 1),
        (" €12 ", 12 * 10**9),
    ],
)
def test_an_amount_is_read_as_people_write_it(typed: str, nano: int | None) -> None:
    assert MoneyField(required=False).clean(typed) == nano


@pytest.mark.parametrize("typed", ["x", "-1", "1e999", "NaN", "Infinity", "0.0000000001", "9" * 30, "1.2.3"])
def test_what_is_no_amount_is_told(typed: str) -> None:
    with pytest.raises(ValidationError):
        MoneyField().clean(typed)


@given(st.integers(0, MAX_NANO))
def test_an_amount_survives_being_shown_and_sent_back(nano: int) -> None:
    field = MoneyField()
    assert field.clean(field.prepare_value(nano)) == nano
    assert not field.has_changed(nano, field.prepare_value(nano))


def test_a_count_may_have_separators() -> None:
    field = CountField()
    assert field.clean("6,000") == 6000
    assert field.prepare_value(6000) == "6,000"
    with pytest.raises(ValidationError, match="whole number"):
        field.clean("many")
    with pytest.raises(ValidationError):
        field.clean("-1")
