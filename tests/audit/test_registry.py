"""Every field of what is audited is listed: plain, redacted or ignored; no secret can reach the log."""

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models

from audit import registry
from audit.actions import Action
from audit.actors import Actor, Target
from audit.models import AuditEntry
from audit.registry import AUDITED, NOT_AUDITED
from audit.services import record

OURS = {
    model._meta.label: model
    for model in apps.get_models()
    if (settings.BASE_DIR / model.__module__.partition(".")[0]).is_dir()
}
KINDS = ("plain", "redacted", "ignored")
SECRET_WORDS = ("digest", "secret", "session_key", "session_data", "password", "sealed")
NO_SECRETS = {"secret_used"}  # a moment


def test_every_model_is_audited_or_says_why_not() -> None:
    assert set(OURS) == {*AUDITED, *NOT_AUDITED}
    assert not set(AUDITED) & set(NOT_AUDITED)


@pytest.mark.parametrize("label", AUDITED)
def test_every_field_is_listed_once(label: str) -> None:
    listed = sorted(name for kind in KINDS for name in AUDITED[label].names(kind))
    assert listed == sorted(field.name for field in OURS[label]._meta.concrete_fields)


@pytest.mark.parametrize("label", AUDITED)
def test_no_field_that_bears_a_secret_is_plain(label: str) -> None:
    for field in OURS[label]._meta.concrete_fields:
        is_secret = isinstance(field, models.BinaryField) or any(word in field.name for word in SECRET_WORDS)
        if is_secret and field.name not in NO_SECRETS:
            assert field.name in AUDITED[label].names("redacted"), field.name


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("api_key", "digest"),
        ("api_key", "previous_digest"),
        ("webhook", "secret"),
        ("webhook", "address"),
        ("project", "digest"),
        ("person", "session_key"),
    ],
)
def test_a_secret_leaves_a_fingerprint_only(target: str, name: str) -> None:
    def written(before: object, after: object) -> list[object]:
        record(
            Action.WEBHOOK_CHANGED,
            actor=Actor.system(),
            target=Target(target, "1", "x"),
            changes={name: (before, after), "name": ("A", "B")},
        )
        entry = AuditEntry.objects.latest("id")
        assert "hush" not in entry.canonical
        assert "hush" not in str(entry.changes)
        assert entry.changes["name"] == ["A", "B"]
        return list(entry.changes[name])

    empty, first = written(None, "hush-1")
    assert empty is None
    assert isinstance(first, dict)
    assert (first["redacted"], first["changed"], len(first["fp"])) == (True, True, 12)
    same, other = written("hush-1", "hush-2")
    assert same == first
    assert other != first
    assert written(b"hush-1", memoryview(b"hush-1"))[0]["changed"] is False  # type: ignore[index]


@pytest.mark.django_db
def test_what_is_ignored_is_not_written() -> None:
    record(
        Action.WEBHOOK_CHANGED,
        actor=Actor.system(),
        target=Target("webhook", "1", "x"),
        changes={"version": (1, 2), "name": ("A", "B")},
    )
    assert AuditEntry.objects.latest("id").changes == {"name": ["A", "B"]}


def test_kinds_of_objects_are_those_that_entries_name() -> None:
    assert registry.is_redacted("webhook", "address")
    assert not registry.is_redacted("person", "address")
    assert registry.is_ignored("api_key", "last_used")
