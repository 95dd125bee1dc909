"""A part of the monitoring page that fails says so; the others work."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from portal.accounts.models import Person
from tests import factories
from tests.factories import Cast

Browse = Callable[[Person], Client]


@pytest.fixture
def without_valkey() -> Iterator[None]:
    """An address at which no Valkey answers."""
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        yield


@pytest.mark.usefixtures("without_valkey")
def test_without_valkey_its_card_says_so_and_the_figures_stand(cast: Cast, browse: Browse) -> None:
    factories.usage(cast.triage, "12.5")
    page = browse(cast.alice).get("/")
    text = page.content.decode()
    assert page.status_code == 200
    assert "Valkey is away" in text
    assert "$12.50" in text
    assert not any(part.failure for part in page.context["parts"].values())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OperationalError("canceling statement"), "The database did not answer in time."),
        (RuntimeError("a bug"), "Something failed on our side."),
    ],
)
def test_a_part_that_fails_leaves_the_others(
    cast: Cast, browse: Browse, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise error

    factories.usage(cast.triage, "12.5")
    monkeypatch.setattr("portal.monitoring.selectors.last_hour", broken)
    page = browse(cast.alice).get("/")
    text = page.content.decode()
    assert page.status_code == 200
    assert sentence in text
    assert "$12.50" in text
    assert page.headers["X-Request-ID"] in text
    failed = {name for name, part in page.context["parts"].items() if part.failure}
    assert failed == {"requests", "health"}
