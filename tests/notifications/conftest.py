"""A receiver that the portal may reach, and what the tests of delivery share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.notifications.models import Delivery
from tests.notifications.receiver import Receiver, receiving


@pytest.fixture(autouse=True)
def mail_server(settings: Any) -> None:
    """A mail server is configured; the tests' one keeps what is sent."""
    settings.HAS_MAIL = True


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on this machine, which only a development may post to."""
    settings.WEBHOOK_PRIVATE = True
    with receiving() as found:
        yield found


def make_due() -> None:
    """Let the time pass until every waiting delivery is due."""
    Delivery.objects.filter(state="waiting").update(next_attempt=timezone.now() - timedelta(seconds=1))
