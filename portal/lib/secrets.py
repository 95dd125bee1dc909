"""The format of our secrets: ``<prefix><12 base62 id>_<32 base62 secret><6 base62 CRC-32 of everything before>``.

190 secret bits; the checksum catches every typing mistake of one character before anything is looked up.
"""

import binascii
import re
import secrets as random
import string
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
USER_TOKEN = "llmgw_ut_"  # noqa: S105  a prefix
API_KEY = "llmgw_ak_"
GATEWAY = "llmgw_gw_"
PREFIXES = {"user_token": USER_TOKEN, "api_key": API_KEY, "gateway": GATEWAY}

ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 12, 32, 6
# Published, one for each kind: what a secret scanner looks for.
PATTERNS = {
    kind: re.compile(
        rf"{prefix}[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}[0-9A-Za-z]{{{CHECK_LENGTH}}}"
    )
    for kind, prefix in PREFIXES.items()
}
_ANYWHERE = re.compile(
    rf"(llmgw_(?:ut|ak|gw)_[0-9A-Za-z]{{{ID_LENGTH}}}_)[0-9A-Za-z]{{{SECRET_LENGTH + CHECK_LENGTH}}}"
)
_LENGTH = len(USER_TOKEN) + ID_LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH


@dataclass(frozen=True, slots=True)
class Parsed:
    """A string that has the form of a secret and the right checksum; whether it is known is another question."""

    kind: str
    key_id: str


def _checksum(body: str) -> str:
    value, digits = binascii.crc32(body.encode()), []
    for _ in range(CHECK_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def generate(kind: str, key_id: str | None = None) -> tuple[str, str]:
    """Return a new ``(key id, secret)`` of the kind ``user_token``, ``api_key`` or ``gateway``, or under a known id."""
    key_id = key_id or "".join(random.choice(ALPHABET) for _ in range(ID_LENGTH))
    body = f"{PREFIXES[kind]}{key_id}_" + "".join(random.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return key_id, body + _checksum(body)


def parse(text: str) -> Parsed | None:
    """Return kind and id when form and checksum are right, else None. Looks nothing up."""
    if len(text) != _LENGTH:
        return None
    for kind, pattern in PATTERNS.items():
        if pattern.fullmatch(text):
            body, check = text[:-CHECK_LENGTH], text[-CHECK_LENGTH:]
            if _checksum(body) != check:
                return None
            start = len(PREFIXES[kind])
            return Parsed(kind, text[start : start + ID_LENGTH])
    return None


def hint(secret: str) -> str:
    """Return what may be shown after the first time: prefix, id and the last four characters."""
    start = secret.index("_", len(USER_TOKEN)) if "_" in secret[len(USER_TOKEN) :] else len(secret)
    return f"{secret[:start]}_…{secret[-4:]}"


def without_secrets(text: str) -> str:
    """Return the text with every secret cut off behind its id: people paste them where they do not belong."""
    return _ANYWHERE.sub(r"\1…", text) if "llmgw_" in text else text
