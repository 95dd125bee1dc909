"""The format of secrets: what is mistyped, cut or made up is recognized before anything is looked up."""

import string
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.decision import decide
from portal.decision.decide import Call, Refused
from portal.lib import secrets
from portal.lib.secrets import ALPHABET, PATTERNS, generate, parse

KINDS = st.sampled_from(sorted(secrets.PREFIXES))


@given(KINDS)
def test_a_secret_is_parsed_again(kind: str) -> None:
    key_id, secret = generate(kind)
    assert parse(secret) == secrets.Parsed(kind, key_id)
    assert PATTERNS[kind].fullmatch(secret)
    assert len(secret) == 60
    assert secrets.hint(secret) == f"{secret[:21]}_…{secret[-4:]}"


@given(KINDS, st.data())
def test_no_single_typing_mistake_passes(kind: str, data: st.DataObject) -> None:
    _, secret = generate(kind)
    at = data.draw(st.integers(0, len(secret) - 1))
    other = data.draw(st.sampled_from(ALPHABET + string.punctuation + " é\x00"))
    if other != secret[at]:
        assert parse(secret[:at] + other + secret[at + 1 :]) is None


@given(st.text(max_size=80))
def test_other_texts_are_no_secret(text: str) -> None:
    assert parse(text) is None


def mutations(secret: str, count: int) -> list[str]:
    """Return so many texts that are almost the secret."""
    random = Random(4711)
    found: list[str] = []
    while len(found) < count:
        at, letter = random.randrange(len(secret)), random.choice(ALPHABET)
        found.append(
            random.choice(
                (
                    secret[:at] + letter + secret[at + 1 :],
                    secret[:at] + secret[at + 1 :],
                    secret[:at] + letter + secret[at:],
                    secret[: at - 1] + secret[at] + secret[at - 1] + secret[at + 1 :] if at else secret[::-1],
                    secret.swapcase(),
                    f" {secret}",
                    f"{secret}\n",
                )
            )
        )
        if found[-1] == secret:
            found.pop()
    return found


def test_a_thousand_mutated_gateway_secrets_are_refused_without_asking_anybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No access to the database in this test, and none to Valkey.
    def nobody(*arguments: Any) -> Any:
        raise AssertionError(arguments)

    monkeypatch.setattr("portal.decision.valkey.command", nobody)
    for text in mutations(generate("gateway")[1], 1000):
        assert decide.authorize(text, Call("", "m", "r")) == Refused("gateway_unknown")
        assert decide.check_gateway(text) is None
