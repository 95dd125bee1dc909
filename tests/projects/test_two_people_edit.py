"""Two people have the settings open: the later save is refused, shows both values and loses nothing."""

import re
from collections.abc import Callable

from django.test import Client

from portal.accounts.models import Person
from tests.factories import Cast

Browse = Callable[[Person], Client]
SETTINGS = "/projects/claims-triage/settings/"


def seen_on(page: str) -> str:
    """Return what a page says it was drawn from."""
    found = re.search(r'name="seen" value="([^"]+)"', page)
    assert found
    return found.group(1)


def test_the_later_save_is_refused_and_shows_both_values(cast: Cast, browse: Browse) -> None:
    alice, bob = browse(cast.alice), browse(cast.bob)
    seen = seen_on(bob.get(SETTINGS).content.decode())
    first = {"name": "Claims first", "group": cast.claims.pk, "cost_centre": "40", "tags": "chat, Pilot"}
    first["seen"] = seen_on(alice.get(SETTINGS).content.decode())
    assert alice.post(SETTINGS, first).status_code == 302
    answer = bob.post(SETTINGS, {"name": "Claims second", "description": "Mine", "seen": seen})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "now “Claims first”. You entered “Claims second”." in page
    assert 'value="Claims second"' in page
    assert "Mine" in page
    assert "now “chat, pilot”. The form has the new value." in page
    assert 'value="chat, pilot"' in page
    cast.triage.refresh_from_db()
    assert (cast.triage.name, cast.triage.tags) == ("Claims first", ["chat", "pilot"])

    again = {"name": "Claims second", "description": "Mine", "tags": "chat, pilot", "seen": seen_on(page)}
    assert bob.post(SETTINGS, again).status_code == 302
    cast.triage.refresh_from_db()
    assert (cast.triage.name, cast.triage.cost_centre) == ("Claims second", "40")


def test_a_group_is_shown_by_its_name(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    seen = seen_on(alice.get(SETTINGS).content.decode())
    alice.post(SETTINGS, {"name": "Claims triage", "group": "", "seen": seen})
    page = alice.post(SETTINGS, {"name": "Claims 2", "group": cast.claims.pk, "seen": seen}).content.decode()
    assert "Changed meanwhile, now empty. The form has the new value." in page


def test_an_altered_mark_saves_nothing(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.bob).post(SETTINGS, {"name": "Forged", "seen": "nonsense"})
    assert answer.status_code == 422
    cast.triage.refresh_from_db()
    assert cast.triage.name == "Claims triage"
