"""People paste secrets where they do not belong, and write what would be lines of a log."""

import io
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings

from audit.models import AuditEntry
from portal.lib import secrets
from tests.factories import Cast, signed_in

KEY_ID, SECRET = secrets.generate("user_token")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a process writes, as the settings have it."""
    written = io.StringIO()
    formatter = dict(settings.LOGGING["formatters"]["line"])  # type: ignore[index]
    handler = logging.StreamHandler(written)
    made = formatter.pop("()")
    module, _, name = made.rpartition(".")
    handler.setFormatter(getattr(__import__(module, fromlist=[name]), name)(formatter["format"], style="{"))
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


def test_a_secret_that_is_searched_for_does_not_enter_the_audit_log(cast: Cast) -> None:
    alice = signed_in(cast.alice)
    for page in ("/audit/export/csv/", "/tokens/export/"):
        b"".join(alice.get(page, {"q": f"who has {SECRET}?"}).streaming_content)  # type: ignore[attr-defined]
    entries = list(AuditEntry.objects.filter(action__in=["audit.exported", "list.exported"]))
    assert len(entries) == 2
    for entry in entries:
        assert SECRET not in entry.canonical
        assert f"llmgw_ut_{KEY_ID}_" in entry.canonical, "which one it was stays known"


def test_a_page_that_is_not_there_is_one_line_without_the_secret(cast: Cast, log: io.StringIO) -> None:
    signed_in(cast.alice).get(f"/nothing/{SECRET}/%0d%0a2026-11-24 CRITICAL portal forged/%E2%80%A8/")
    line = log.getvalue()
    assert "Not Found" in line
    assert len(line.splitlines()) == 1
    assert SECRET not in line
    assert KEY_ID in line


def test_what_a_mistake_says_holds_no_secret_either(log: io.StringIO) -> None:
    try:
        raise ValueError(f"cannot read {SECRET}")
    except ValueError:
        logging.getLogger("django.request").exception("a\nb %s", "c\u2028\x1b[2Jd")
    first, *rest = log.getvalue().splitlines()
    assert first.endswith(r"a\nb c\u2028\x1b[2Jd")
    assert any("ValueError: cannot read llmgw_ut_" in line for line in rest)
    assert SECRET not in log.getvalue()
