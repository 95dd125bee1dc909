"""The price book: the list, the queue of unpriced models, setting a price, its history."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.models import Subject
from portal.organization.models import Organization
from portal.spend.models import ModelAlias, Price, UnpricedModel
from portal.spend.price_book import shown_price
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]
PAGE = "/settings/prices/"
NEW = f"{PAGE}new/"
VALUES = {
    "model": "house/large",
    "input": "1.25",
    "output": "10",
    "cached_input": "0.125",
    "ceiling": "64,000",
}


def priced(model: str, each: str = "1", **fields: Any) -> Price:
    """Put a price into the book."""
    values = {
        "input": Decimal(each),
        "output": Decimal(each),
        "effective": timezone.now(),
        "source": "entered",
    }
    return Price.objects.create(model=model, **{**values, **fields})


def test_setting_a_price_takes_the_model_off_the_queue(cast: Cast, browse: Browse) -> None:
    UnpricedModel.objects.create(model="house/large", calls=7)
    alice = browse(cast.alice)
    page = alice.get(PAGE).content.decode()
    assert "7 calls refused" in page
    assert "/settings/prices/new/?model=house%2Flarge" in page
    answer = alice.post(NEW, {**VALUES, "reason": "contract"})
    assert answer["Location"] == "/settings/prices/history/?model=house%2Flarge"
    price = Price.objects.get()
    assert (price.input, price.output, price.cached_input) == (Decimal("1.25"), Decimal(10), Decimal("0.125"))
    assert (price.cache_write, price.ceiling, price.context_window) == (None, 64_000, None)
    assert not UnpricedModel.objects.exists()
    assert "house/large" in Subject.objects.get(pk="cfg").data["prices"]
    assert AuditEntry.objects.get(action="price.set").comment == "contract"
    shown = alice.get(PAGE).content.decode()
    assert "$0.125" in shown
    assert "as input" in shown


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": ""}, "Fill this in."),
        ({"input": ""}, "Fill this in."),
        ({"input": "-1"}, "Enter 0 or more."),
        ({"output": "1.0000000001"}, "at most nine digits"),
        ({"cache_write": "x"}, "Enter an amount"),
        ({"ceiling": "99999999999"}, "Enter 2147483647 or less."),
        ({"effective": "tomorrow"}, "Enter a valid date"),
        ({"model": "gpt-5-latest"}, "another name of gpt-5"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    cast: Cast, browse: Browse, change: dict[str, str], says: str
) -> None:
    ModelAlias.objects.create(alias="gpt-5-latest", model="gpt-5")
    answer = browse(cast.alice).post(NEW, {**VALUES, "reason": "kept", **change})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert 'value="kept"' in answer.content.decode()
    assert not Price.objects.exists()


def test_more_than_ten_times_must_be_confirmed(cast: Cast, browse: Browse) -> None:
    priced("house/large", "1")
    operator = browse(factories.person("Oscar Operator", role="operator"))
    assert operator.post(NEW, {**VALUES, "input": "10", "output": "0.1"}).status_code == 302
    asked = operator.post(NEW, {**VALUES, "input": "101", "output": "0.1"})
    assert asked.status_code == 422
    assert "Input from $10.00 to $101.00" in asked.content.decode()
    sure = {"sure": "house/large", "sure_of": asked.context["form"]["sure_of"].value()}
    # What was typed is for these amounts and no others.
    assert operator.post(NEW, {**VALUES, "input": "1010", "output": "0.1", **sure}).status_code == 422
    assert operator.post(NEW, {**VALUES, "input": "101", "output": "0.1", **sure}).status_code == 302
    assert Price.objects.filter(input=101).exists()
    assert operator.post(NEW, {**VALUES, "input": "1", "output": "0.1", "sure": "on"}).status_code == 422


def test_a_price_never_begins_before_usage_that_was_priced(cast: Cast, browse: Browse) -> None:
    Organization.objects.create(time_zone="Europe/Berlin")
    alice, now = browse(cast.alice), datetime.now(UTC)
    factories.usage(cast.triage, "1", is_moved=True)
    earlier = {**VALUES, "effective": f"{now - timedelta(days=2):%Y-%m-%dT%H:%M}"}
    answer = alice.post(NEW, earlier)
    assert answer.status_code == 422
    assert "A price cannot begin before usage" in answer.content.decode()
    # Clocks of the organization count.
    assert alice.post(NEW, {**VALUES, "effective": "2100-07-01T00:00"}).status_code == 302
    assert Price.objects.get().effective == datetime(2100, 6, 30, 22, tzinfo=UTC)
    assert "Not yet" in alice.get(PAGE).content.decode()


def test_history_keeps_every_version(cast: Cast, browse: Browse) -> None:
    now = timezone.now()
    priced("a/b?c&d", "1", effective=now - timedelta(days=9), source="genai-prices 1")
    priced("a/b?c&d", "2", effective=now - timedelta(days=1))
    priced("a/b?c&d", "3", effective=now + timedelta(days=9))
    ModelAlias.objects.create(alias="abcd", model="a/b?c&d")
    erin = browse(cast.erin)
    (row,) = erin.get(PAGE).context["page"].rows
    assert (row.amounts.input, row.aliases, row.next.input) == ("$2.00", ["abcd"], 3)
    answer = erin.get(f"{PAGE}history/", {"model": "a/b?c&d"})
    rows = answer.context["page"].rows
    assert [row.amounts.input for row in rows] == ["$3.00", "$2.00", "$1.00"]
    assert [(row.is_upcoming, row.is_in_force) for row in rows] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert "abcd" in answer.content.decode()
    assert erin.get(f"{PAGE}history/", {"model": "abcd"}).status_code == 404
    assert erin.get(f"{PAGE}history/", {"model": "\x00"}).status_code == 404
    assert erin.get(f"{PAGE}history/").status_code == 404


def test_the_list_is_searched_sorted_and_paged(
    cast: Cast, browse: Browse, django_assert_max_num_queries: Any
) -> None:
    for number in range(120):
        priced(f"maker/model-{number:03}", str(number), source="genai-prices 1" if number else "entered")
    ModelAlias.objects.create(alias="nick", model="maker/model-007")
    erin = browse(cast.erin)

    def models(**query: str) -> list[str]:
        return [row.price.model for row in erin.get(PAGE, query).context["page"].rows]

    with django_assert_max_num_queries(16):
        first = erin.get(PAGE)
    assert first.context["count"] == "120 models"
    assert len(first.context["page"].rows) == 50
    second = erin.get(PAGE, {"cursor": first.context["page"].next}).context["page"]
    assert second.rows[0].price.model == "maker/model-050"
    assert models(sort="-input")[0] == "maker/model-119"
    assert models(q="nick") == ["maker/model-007"]
    assert models(source="entered") == ["maker/model-000"]
    factories.usage(cast.triage, "1", model="maker/model-033")
    assert models(used="recent") == ["maker/model-033"]
    assert "No models match" in erin.get(PAGE, {"q": "none such"}).content.decode()


def test_auditors_read_and_others_see_nothing(cast: Cast, browse: Browse) -> None:
    erin = browse(cast.erin)
    assert "Set a price" not in erin.get(PAGE).content.decode()
    for who in (cast.erin, cast.bob):
        for path in (NEW, f"{PAGE}import/"):
            assert browse(who).get(path).status_code == 403
            assert browse(who).post(path, VALUES).status_code == 403
    assert browse(cast.bob).get(PAGE).status_code == 403
    assert not Price.objects.exists()


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("0.025000000", "USD", "$0.025"),
        ("15", "EUR", "€15.00"),
        ("1234.5", "USD", "$1,234.50"),
        ("1E+3", "CHF", "CHF 1,000.00"),
        ("0.000000001", "USD", "$0.000000001"),
        ("0", "USD", "$0.00"),
    ],
)
def test_prices_are_shown_with_all_their_digits(amount: str, currency: str, shown: str) -> None:
    assert shown_price(Decimal(amount), currency) == shown
