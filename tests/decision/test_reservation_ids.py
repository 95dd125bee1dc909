"""A reservation id says whose call it is, and nobody else can write one."""

import base64
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from portal.decision import reservation
from portal.decision.reservation import Reservation

WHOLE = st.integers(0, 2**53)  # ids and moments, as the function in Valkey can count
AMOUNT = st.integers(0, 2**63 - 1)
ID = st.text("0123456789ABCDEFabcdef", min_size=12, max_size=12)


@given(WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, AMOUNT, AMOUNT, ID, ID, st.binary(min_size=12, max_size=12))
def test_an_id_says_all_it_was_made_of(
    moment: int, project: int, group: int, person: int, draws: int, price: int, amount: int, tokens: int,
    credential: str, gateway: str, request: bytes,
) -> None:  # fmt: skip
    held = Reservation(
        moment, project, group, person, draws, price, amount, tokens, credential, gateway, request
    )
    text = reservation.encode(held)
    assert reservation.decode(text) == held
    assert len(text) <= 200


def example() -> str:
    request = reservation.request_hash("request")
    return reservation.encode(Reservation(1, 2, 3, 4, 5, 6, 7, 8, "A" * 12, "B" * 12, request))


def test_an_id_with_any_other_bit_is_nobody_s() -> None:
    raw = base64.urlsafe_b64decode(example() + "=" * (-len(example()) % 4))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert reservation.decode(base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("=")) is None


def test_an_id_cut_lengthened_or_made_up_is_nobody_s() -> None:
    text, random = example(), Random(5)
    for length in range(len(text)):
        assert reservation.decode(text[:length]) is None
    for _ in range(300):
        letters = "".join(random.choices("ABCDEFGHabcdefgh0123456789-_", k=random.randrange(200)))
        assert reservation.decode(letters) is None
        assert reservation.decode(text + letters[:20] + "x") is None


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert reservation.decode(text) is None
