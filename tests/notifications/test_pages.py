"""Alerts of a person, Settings → Notifications, and the deliveries, through HTTP."""

import re
from collections.abc import Callable
from typing import Any

from django.test import Client

from audit.models import AuditEntry
from portal.accounts.models import Person
from portal.decision.services import set_limit
from portal.notifications import delivery, webhooks
from portal.notifications.models import Delivery, Kind, Recipient, Webhook
from portal.notifications.services import notify
from portal.organization.selectors import current
from portal.spend import scopes
from portal.spend.models import Limit
from tests.factories import ACTOR, Cast
from tests.notifications.receiver import Receiver

Browse = Callable[[Person], Client]
SETTINGS = "/settings/notifications/"
WEBHOOK: dict[str, Any] = {
    "name": "Duty",
    "format": "standard",
    "address": "https://hooks.example.com/in",
    "kinds": ["expiry"],
}


def told(*people: Person, number: int = 1, kind: Kind = Kind.THRESHOLD) -> None:
    """Tell people a number of things."""
    for index in range(number):
        title = f"Alert {index} of {people[0].name}"
        notify(kind, title=title, text="…", link="/alerts/", people=people, once=f"{kind}{title}")


def text(response: Any) -> str:
    """Return the text of a page, tags left out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def add(name: str = "Duty") -> Webhook:
    """Add a webhook."""
    return webhooks.add_webhook(actor=ACTOR, **{**WEBHOOK, "name": name, "kinds": []})[0]


def test_a_person_sees_their_alerts_and_marks_them_as_seen(cast: Cast, browse: Browse) -> None:
    told(cast.bob, number=3)
    told(cast.dave)
    bob = browse(cast.bob)
    page = bob.get("/alerts/")
    assert "3 alerts" in text(page)
    assert "of Dave" not in text(page)
    assert "Alerts 3 waiting for you" in text(page)  # the navigation
    theirs = Delivery.objects.get(person=cast.dave)
    first, second, third = Delivery.objects.filter(person=cast.bob).order_by("pk")
    answer = bob.post("/alerts/seen/?seen=no", {"alert": [first.pk, theirs.pk, "x"]})
    assert answer["Location"] == "/alerts/?seen=no"
    assert "2 alerts" in text(bob.get("/alerts/?seen=no"))
    bob.post("/alerts/seen/", {"until": str(second.pk)})
    assert list(Delivery.objects.filter(seen=None).order_by("pk")) == [third, theirs]


def test_the_list_is_paged_and_filtered(
    cast: Cast, browse: Browse, django_assert_max_num_queries: Any
) -> None:
    told(cast.bob, number=60)
    told(cast.bob, kind=Kind.EXPIRY)
    bob = browse(cast.bob)
    with django_assert_max_num_queries(14):
        page = bob.get("/alerts/")
    assert "61 alerts" in text(page)
    following = re.search(r'href="(\?cursor=[^"]+)" [^>]*rel="next"', page.content.decode())
    assert following is not None
    assert "Alert 1 of Bob" in text(bob.get(f"/alerts/{following[1]}"))
    assert "1 alert" in text(bob.get("/alerts/?kind=expiry"))
    assert "No alerts match" in text(bob.get("/alerts/?q=nothing"))
    assert "<html" not in bob.get("/alerts/", headers={"HX-Request": "true"}).content.decode()
    assert "No alerts" in text(browse(cast.carol).get("/alerts/"))


def test_the_link_of_an_alert_leads_to_the_limit_wherever_it_lies(cast: Cast, browse: Browse) -> None:
    places = {
        scopes.ORGANIZATION: "/settings/limits/",
        scopes.group(cast.claims.pk): "/groups/claims/",
        scopes.project_each_user(cast.triage.pk): "/projects/claims-triage/limits/",
    }
    for scope_key, href in places.items():
        set_limit(scope_key=scope_key, label="x", metric="spend", window="day", amount="1", actor=ACTOR)
        pk = Limit.objects.get(scope_key=scope_key).pk
        assert browse(cast.alice).get(f"/alerts/limits/{pk}/")["Location"] == href
        assert browse(cast.dave).get(f"/alerts/limits/{pk}/").status_code == 404


def test_an_administrator_says_when_and_who(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    seen = alice.get(SETTINGS).context["form"].initial["seen"]
    form = {"alert_thresholds": "90%, 60", "alert_owners": "on", "seen": seen}
    assert alice.post(SETTINGS, form)["Location"] == SETTINGS
    found = current()
    assert (found.thresholds, found.alert_owners, found.alert_admins) == ((60, 90), True, False)
    assert AuditEntry.objects.get(action="organization.changed").changes == {
        "alert_thresholds": ["50,80,95,100", "60,90"],
        "alert_admins": [True, False],
        "alert_group_admins": [True, False],
    }
    later = alice.post(SETTINGS, {**form, "alert_thresholds": "70"})
    assert later.status_code == 422
    assert "Changed meanwhile, now “60,90”. You entered “70”." in text(later)
    assert alice.post(SETTINGS, {"alert_thresholds": "0, 120"}).status_code == 422


def test_auditors_read_and_owners_do_not(cast: Cast, browse: Browse) -> None:
    add()
    page = text(browse(cast.erin).get(SETTINGS))
    assert "Only administrators change these settings." in page
    assert "Duty" in page
    assert browse(cast.erin).post(SETTINGS, {"alert_thresholds": "70"}).status_code == 403
    assert browse(cast.bob).get(SETTINGS).status_code == 403


def test_a_webhook_is_added_and_its_secret_shown_once(cast: Cast, browse: Browse) -> None:
    alice = browse(cast.alice)
    answer = alice.post(f"{SETTINGS}webhooks/add/", WEBHOOK)
    [secret] = re.findall(r"whsec_[\w+/=]+", answer.content.decode())
    assert answer["Cache-Control"] == "no-store"
    assert "It is kept encrypted to sign with, and no page shows it again." in text(answer)
    page = alice.get(SETTINGS)
    assert "https://hooks.example.com/in" in text(page)
    assert "Credential expires" in text(page)
    assert secret not in page.content.decode()
    entry = AuditEntry.objects.get(action="webhook.added")
    assert secret not in entry.canonical
    wrong = alice.post(
        f"{SETTINGS}webhooks/add/", {**WEBHOOK, "name": "Other", "address": "http://x.example/"}
    )
    assert wrong.status_code == 422
    assert "The address has to begin with https://." in text(wrong)
    assert 'value="http://x.example/"' in wrong.content.decode()
    assert "Another webhook has this name." in text(alice.post(f"{SETTINGS}webhooks/add/", WEBHOOK))


def test_a_webhook_is_changed_tested_rotated_and_removed(
    cast: Cast, browse: Browse, receiver: Receiver
) -> None:
    alice = browse(cast.alice)
    alice.post(f"{SETTINGS}webhooks/add/", {**WEBHOOK, "address": receiver.address})
    at = f"{SETTINGS}webhooks/{Webhook.objects.get().pk}/"
    alice.post(at, {"name": "Night desk", "kinds": ["drift"]})
    assert Webhook.objects.get().kinds == ["drift"]
    receiver.answers = [500]
    assert "Not delivered. The receiver answered 500." in text(alice.post(f"{at}test/"))
    assert "Delivered." in text(alice.post(f"{at}test/"))
    assert "whsec_" in text(alice.post(f"{at}secret/"))
    alice.post(f"{at}remove/")
    assert alice.get(at).status_code == 404
    actions = AuditEntry.objects.filter(target_type="webhook").order_by("occurred")
    assert list(actions.values_list("action", "outcome")) == [
        ("webhook.added", "success"),
        ("webhook.changed", "success"),
        ("webhook.tested", "failed"),
        ("webhook.tested", "success"),
        ("webhook.rotated", "success"),
        ("webhook.removed", "success"),
    ]


def test_somebody_is_told_about_everything(cast: Cast, browse: Browse) -> None:
    alice, at = browse(cast.alice), f"{SETTINGS}people/add/"
    assert "Nobody has this name" in text(alice.post(at, {"person": "Nobody"}))
    alice.post(at, {"person": "CAROL@northgate.example"})
    assert "already gets every alert" in text(alice.post(at, {"person": "Carol Member"}))
    assert "Carol Member" in text(alice.get(SETTINGS))
    alice.post(f"{SETTINGS}people/{Recipient.objects.get().pk}/remove/")
    assert not Recipient.objects.exists()
    assert AuditEntry.objects.filter(action__startswith="recipient.").count() == 2


def test_what_failed_is_shown_and_tried_again(cast: Cast, browse: Browse, receiver: Receiver) -> None:
    webhooks.add_webhook(actor=ACTOR, **{**WEBHOOK, "address": receiver.address, "kinds": []})
    receiver.answers = [410]
    told(cast.bob)
    delivery.send_webhooks()
    alice = browse(cast.alice)
    assert "1 delivery failed." in text(alice.get(SETTINGS))
    page = text(alice.get(f"{SETTINGS}deliveries/?state=failed&channel=webhook"))
    assert "1 delivery" in page
    assert "The receiver answered 410." in page
    pk = Delivery.objects.get(channel="webhook").pk
    assert browse(cast.erin).post(f"{SETTINGS}deliveries/{pk}/retry/").status_code == 403
    answer = alice.post(f"{SETTINGS}deliveries/{pk}/retry/", follow=True)
    assert "It is sent again within seconds" in text(answer)
    delivery.send_webhooks()
    assert "Delivered" in text(alice.get(f"{SETTINGS}deliveries/{pk}/"))
    again = alice.post(f"{SETTINGS}deliveries/{pk}/retry/", follow=True)
    assert "Not sent again. It has been delivered." in text(again)
    assert AuditEntry.objects.filter(action="delivery.retried").count() == 1


def test_the_mail_is_shown_as_it_is_sent(cast: Cast, browse: Browse) -> None:
    told(cast.bob)
    pk = Delivery.objects.get(person=cast.bob).pk
    page = text(browse(cast.erin).get(f"{SETTINGS}deliveries/{pk}/"))
    assert "You get this because of your role in the portal." in page
    assert "Bob Owner E-mail" in page
