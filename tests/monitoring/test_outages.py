"""Every degraded minute is on the page."""

from datetime import timedelta

from django.utils import timezone

from portal.decision.models import Outage
from tests.factories import Cast
from tests.monitoring.test_figures import Browse


def test_the_page_tells_when_a_server_was_away_and_what_was_decided_meanwhile(
    cast: Cast, browse: Browse
) -> None:
    now = timezone.now()
    Outage.objects.create(
        server="valkey",
        began=now - timedelta(minutes=10),
        ended=now - timedelta(minutes=8),
        admitted=12,
        refused=3,
    )
    Outage.objects.create(server="postgres", began=now - timedelta(minutes=1))
    page = browse(cast.alice).get("/").content.decode()
    assert "Valkey away" in page
    assert "for 2\xa0minutes" in page
    assert "12 admitted, 3 refused" in page
    assert "Postgres away" in page
    assert ", still" in page
