"""`set_price` and `import_prices`."""

import json
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from portal.decision.services import update_organization
from portal.spend import imports
from portal.spend.models import ModelAlias, Price, UnpricedModel
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db


def run(*words: str) -> dict[str, Any]:
    """Run a command with --json and return its answer."""
    out = StringIO()
    call_command(*words, "--json", stdout=out, stderr=StringIO())
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def refused(*words: str) -> CommandError:
    """Run a command that is refused and return the error."""
    with pytest.raises(CommandError) as error:
        call_command(*words, stdout=StringIO(), stderr=StringIO())
    return error.value


def test_a_price_is_set_exactly() -> None:
    UnpricedModel.objects.create(model="own-model", calls=3)
    answer = run(
        *("set_price", "own-model", "--input", "0.000000001", "--output", "2.5", "--ceiling", "8000"),
        *("--from", "2031-01-01T00:00:00Z", "--reason", "contract"),
    )
    price = Price.objects.get(pk=answer["id"])
    assert (price.input, price.output, price.cached_input) == (Decimal("0.000000001"), Decimal("2.5"), None)
    assert (price.ceiling, price.effective.year, price.source) == (8000, 2031, "entered")
    assert not UnpricedModel.objects.exists()
    assert AuditEntry.objects.get(action="price.set").comment == "contract"


@pytest.mark.parametrize(
    "words",
    [
        ("--input", "x", "--output", "1"),
        ("--input", "-1", "--output", "1"),
        ("--input", "0.0000000001", "--output", "1"),
        ("--input", "1", "--output", "1", "--ceiling", "0"),
    ],
)
def test_a_price_that_is_none_is_refused(words: tuple[str, ...]) -> None:
    assert refused("set_price", "own-model", *words).returncode == 1
    assert not Price.objects.exists()


def test_a_bad_moment_is_wrong_usage() -> None:
    assert refused("set_price", "m", "--input", "1", "--output", "1", "--from", "soon").returncode == 2


def test_published_prices_come_once() -> None:
    first, again = run("import_prices"), run("import_prices")
    assert first["new"] == Price.objects.count() > 1000
    assert first["aliases"] == ModelAlias.objects.count()
    assert (again["new"], again["changed"], again["aliases"]) == (0, 0, 0)
    assert AuditEntry.objects.filter(action="prices.imported").count() == 1


def test_a_changed_price_is_a_new_row_and_nothing_else() -> None:
    run("import_prices")
    run("set_price", "gpt-5-mini", "--input", "9", "--output", "9", "--confirm")
    assert run("import_prices", "--confirm")["changed"] == 1
    assert Price.objects.filter(model="gpt-5-mini").count() == 3


def test_a_price_moves_its_decimal_point_only_when_confirmed() -> None:
    change = ("set_price", "own-model", "--output", "2")
    run(*change, "--input", "2.5")
    assert "Input from $2.50 to $25.01" in str(refused(*change, "--input", "25.01"))
    assert "Input from $2.50 to $0.24" in str(refused(*change, "--input", "0.24"))
    assert run(*change, "--input", "25")["input"].startswith("25")
    assert run(*change, "--input", "0.3", "--confirm")["input"].startswith("0.3")


def test_an_import_moves_decimal_points_only_when_confirmed() -> None:
    run("import_prices")
    run("set_price", "gpt-5-mini", "--input", "9", "--output", "9", "--confirm")
    assert "gpt-5-mini" in str(refused("import_prices"))
    assert Price.objects.filter(model="gpt-5-mini").count() == 2


def test_another_currency_is_converted_at_the_rate_which_is_kept() -> None:
    update_organization(currency="EUR", actor=ACTOR)
    run("import_prices", "--rate", "0.9")
    price, offer = Price.objects.get(model="gpt-5-mini"), imports.offered()[0]["gpt-5-mini"]
    assert price.input == offer.input * Decimal("0.9")
    assert price.rate == Decimal("0.9")


@pytest.mark.parametrize("rate", ["0", "-1", "much", "1.5"])
def test_a_rate_that_makes_no_sense_is_refused(rate: str) -> None:
    assert refused("import_prices", "--rate", rate).returncode == 1
    assert not Price.objects.exists()


def test_names_follow_one_rule() -> None:
    offers, names = imports.offered()
    assert names["openai/gpt-5-mini"] == names["gpt-5-mini-2025-08-07"] == "gpt-5-mini"
    assert "claude-sonnet-4-5" in offers
    assert "google/claude-sonnet-4-5" in offers
    assert not set(names) & set(offers)
    assert set(names.values()) <= set(offers)


def test_the_dearest_tier_holds() -> None:
    offer = imports.offered()[0]["gemini-2.5-pro"]
    assert offer.input == Decimal("2.5")
    assert offer.output == Decimal(15)


def test_a_model_asked_for_by_a_dated_name_becomes_an_alias() -> None:
    UnpricedModel.objects.create(model="claude-sonnet-4-5-20250929", calls=2)
    run("import_prices")
    assert ModelAlias.objects.get(pk="claude-sonnet-4-5-20250929").model == "claude-sonnet-4-5"
    assert not UnpricedModel.objects.exists()
