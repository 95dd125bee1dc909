"""Scope keys: one grammar for limits, counters and roll-ups.

``o`` organization · ``g:G`` group · ``p:P`` project · ``pg:P:G`` group in project · ``pu:P:U`` user in project
(``pu:P:*`` each user) · ``u:U`` user (``u:*`` each user) · ``c:ID`` user token or API key.
"""

from dataclasses import dataclass

ORGANIZATION = "o"
EACH_USER = "u:*"


def group(pk: int) -> str:
    return f"g:{pk}"


def project(pk: int) -> str:
    return f"p:{pk}"


def project_group(project_pk: int, group_pk: int) -> str:
    return f"pg:{project_pk}:{group_pk}"


def project_user(project_pk: int, person_pk: int) -> str:
    return f"pu:{project_pk}:{person_pk}"


def project_each_user(project_pk: int) -> str:
    return f"pu:{project_pk}:*"


def user(pk: int) -> str:
    return f"u:{pk}"


def credential(key_id: str) -> str:
    return f"c:{key_id}"


@dataclass(frozen=True, slots=True)
class Scope:
    """A parsed scope key."""

    key: str

    @property
    def code(self) -> str:
        """The name of the scope in the Gateway API; ``credential`` for a token or key (the kind is the subject's)."""
        head = self.key.split(":", 1)[0]
        return {
            "o": "organization",
            "g": "group",
            "p": "project",
            "pg": "project_group",
            "pu": "project_user",
            "u": "user",
            "c": "credential",
        }[head]

    @property
    def is_each(self) -> bool:
        """Whether it is a general row with one counter for each user."""
        return self.key.endswith(":*")

    @property
    def project(self) -> int | None:
        """The project it lies in, if any."""
        parts = self.key.split(":")
        return int(parts[1]) if parts[0] in ("p", "pg", "pu") else None

    @property
    def group(self) -> int | None:
        """The group it names, if any."""
        parts = self.key.split(":")
        return int(parts[-1]) if parts[0] in ("g", "pg") else None


def of_call(
    *, project_pk: int, group_pk: int | None, person_pk: int | None, draws_on: int | None, key_id: str
) -> list[str]:
    """Return the keys of every scope that one call counts in, widest first."""
    keys = [ORGANIZATION]
    if group_pk:
        keys.append(group(group_pk))
    keys.append(project(project_pk))
    if draws_on:
        keys.append(project_group(project_pk, draws_on))
    if person_pk:
        keys += [project_user(project_pk, person_pk), user(person_pk)]
    keys.append(credential(key_id))
    return keys
