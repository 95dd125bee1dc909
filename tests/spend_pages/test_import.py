"""Import the published prices: the preview says what will happen, and then it happens."""

from collections.abc import Callable
from decimal import Decimal

from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.organization.models import Organization
from portal.spend import imports
from portal.spend.models import ModelAlias, Price
from tests.factories import Cast

Browse = Callable[[Person], Client]
PAGE = "/settings/prices/import/"


def entered(model: str, amount: Decimal) -> None:
    """Put a price of our own into the book."""
    Price.objects.create(model=model, input=amount, output=amount, effective=timezone.now(), source="entered")


def test_preview_and_import_agree(cast: Cast, browse: Browse) -> None:
    offers, _ = imports.offered()
    entered("gpt-5-mini", offers["gpt-5-mini"].input * 2)
    alice = browse(cast.alice)
    preview = alice.get(PAGE).context["preview"]
    assert (preview.new, preview.changed, preview.unchanged) == (len(offers) - 1, 1, 0)
    assert (preview.entered, preview.samples[0].model) == (1, "gpt-5-mini")
    assert Price.objects.count() == 1

    answer = alice.post(PAGE, {"rate": "1", "reason": "quarterly"}, follow=True)
    assert f"{preview.new:,} new prices, 1 changed" in answer.content.decode()
    assert Price.objects.count() == len(offers) + 1
    assert ModelAlias.objects.count() == preview.aliases
    assert AuditEntry.objects.get(action="prices.imported").comment == "quarterly"
    assert "Nothing to import." in alice.get(PAGE).content.decode()


def test_in_another_currency_a_rate_is_needed(cast: Cast, browse: Browse) -> None:
    Organization.objects.create(currency="EUR")
    alice = browse(cast.alice)
    page = alice.get(PAGE)
    assert page.context["preview"] is None
    assert "EUR for one US dollar" in page.content.decode()
    for rate in ("", "0", "-1", "much", "1e999", "NaN"):
        assert alice.post(PAGE, {"rate": rate}).status_code == 422
        assert alice.get(PAGE, {"rate": rate}).context["preview"] is None
    region = alice.get(PAGE, {"rate": "0.5"}, headers={"HX-Request": "true"}).content.decode()
    assert region.lstrip().startswith('<div class="region stack" id="import-preview">')
    assert not Price.objects.exists()

    assert alice.post(PAGE, {"rate": "0.5"}).status_code == 302
    offers, _ = imports.offered(Decimal("0.5"))
    price = Price.objects.get(model="gpt-5-mini")
    assert (price.input, price.rate) == (offers["gpt-5-mini"].input, Decimal("0.5"))
    # The rate is remembered, so that the next preview is of what the market did.
    assert alice.get(PAGE).context["preview"].is_empty


def test_a_rate_that_moves_the_decimal_point_must_be_confirmed(cast: Cast, browse: Browse) -> None:
    Organization.objects.create(currency="EUR")
    alice = browse(cast.alice)
    alice.post(PAGE, {"rate": "0.9"})
    before = Price.objects.count()
    answer = alice.post(PAGE, {"rate": "90"})
    assert answer.status_code == 422
    assert "by more than ten times" in answer.content.decode()
    assert Price.objects.count() == before
    assert alice.post(PAGE, {"rate": "90", "sure": "on"}).status_code == 422
    assert alice.post(PAGE, {"rate": "90", "sure": "import"}).status_code == 302
    assert Price.objects.count() > before


def test_dollars_are_imported_as_they_are(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    assert alice.post(PAGE, {"rate": "0.9"}).status_code == 422
    assert "the rate is 1" in alice.post(PAGE, {"rate": "0.9"}).content.decode()
    assert not Price.objects.exists()
