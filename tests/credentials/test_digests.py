"""What is kept of a secret: an HMAC under a numbered pepper, compared in constant time."""

import hmac
from typing import Any

import pytest
from django.conf import settings

from portal.credentials import digests
from portal.lib.secrets import generate, parse

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture(autouse=True)
def peppers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PEPPERS", {1: OLD, 2: NEW})


def test_a_new_secret_uses_the_newest_pepper_and_keeps_no_copy() -> None:
    issued = digests.issue("api_key")
    assert issued.pepper_id == 2
    assert issued.digest == hmac.digest(NEW, issued.secret.encode(), "sha256")
    assert issued.secret[22:-4] not in issued.hint
    found = parse(issued.secret)
    assert found is not None
    assert found.key_id == issued.key_id


def test_a_rotated_secret_keeps_the_id_and_nothing_else() -> None:
    first = digests.issue("gateway")
    second = digests.issue("gateway", key_id=first.key_id)
    assert first.key_id == second.key_id
    assert first.secret != second.secret
    assert not digests.matches(first.secret, second.pepper_id, second.digest)


@pytest.mark.parametrize("number", [1, 2])
def test_a_secret_matches_under_the_pepper_it_was_made_with(number: int) -> None:
    secret = generate("user_token")[1]
    stored = digests.digest(secret, number)
    assert digests.matches(secret, number, stored)
    assert digests.matches(secret, number, memoryview(stored))  # type: ignore[arg-type]  # as Postgres gives it
    assert not digests.matches(secret, 3 - number, stored)
    assert not digests.matches(generate("user_token")[1], number, stored)
    assert digests.digests(secret)[number] == stored


def test_an_unknown_id_costs_a_comparison_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    real = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secret = generate("user_token")[1]
    assert not digests.matches(secret, None, None)
    assert not digests.matches(secret, 9, b"x" * 32)
    assert not digests.matches(secret, 1, b"x" * 32)
    assert len(compared) == 3
