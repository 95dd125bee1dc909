"""What a client claims about itself in headers counts for nothing unless our own proxies wrote it."""

from typing import Any

import pytest
from django.test import Client, override_settings

from audit.models import AuditEntry
from portal.web.conf import security_settings
from tests.factories import Cast, signed_in
from tests.identity_fixtures import STATIC_FILES

FORGED = "198.51.100.7"


def noted(who: Any, forwarded: str, hops: int, settings: Any) -> str | None:
    """Return the address that the log has of somebody who renames themselves in a project they own."""
    settings.PORTAL_TRUSTED_PROXIES = hops
    headers = {"X-Forwarded-For": forwarded, "Forwarded": f"for={FORGED}", "X-Real-IP": FORGED}
    path = "/projects/claims-triage/settings/"
    browser = signed_in(who)
    seen = browser.get(path).context["form"]["seen"].value()
    answer = browser.post(path, {"name": forwarded, "seen": seen}, headers=headers)
    assert answer.status_code == 302, answer.content.decode()
    entry = AuditEntry.objects.filter(action="project.changed").order_by("-id").first()
    assert entry is not None
    return entry.ip


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        (FORGED, 0, "127.0.0.1"),
        (f"{FORGED}, 203.0.113.9", 1, "203.0.113.9"),
        (f"{FORGED}, 203.0.113.9, 10.0.0.1", 2, "203.0.113.9"),
        ("203.0.113.9", 2, None),
        ("not an address", 1, None),
        (f"{FORGED}, ", 2, None),
    ],
)
def test_an_address_counts_as_far_as_our_proxies_wrote_it(
    cast: Cast, settings: Any, forwarded: str, hops: int, expected: str | None
) -> None:
    assert noted(cast.bob, forwarded, hops, settings) == expected


@pytest.mark.parametrize(("proxies", "status"), [(0, 301), (1, 200)])
def test_a_claim_to_come_by_https_is_believed_only_behind_a_proxy(
    db: None, proxies: int, status: int
) -> None:
    claim = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "444"}
    strict = {**security_settings("https://testserver", proxies=proxies), **STATIC_FILES}
    with override_settings(**strict, ALLOWED_HOSTS=["testserver"]):
        answer = Client().get("/accounts/sign-in/", headers=claim)
    assert answer.status_code == status
    assert answer.headers.get("Location", "") in ("", "https://testserver/accounts/sign-in/")
    assert "evil" not in answer.content.decode()
