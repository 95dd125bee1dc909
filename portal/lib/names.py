"""Names and codes that people choose."""

import re
import unicodedata
from collections.abc import Iterable

from portal.lib.errors import RuleBroken

_CODE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
# Words that stand in addresses where a code could: /projects/new/.
_TAKEN = frozenset({"new", "export", "import", "bulk"})
MOST_TAGS = 12


def checked_code(code: str) -> str:
    """Return the code, or raise RuleBroken saying how a code looks."""
    code = code.strip()
    if not _CODE.fullmatch(code):
        raise RuleBroken("Use small letters, digits and hyphens, up to 40 characters.", field="code")
    if code in _TAKEN:
        raise RuleBroken(f"{code} cannot be a code. Choose another.", field="code")
    return code


def suggested_code(name: str) -> str:
    """Return a code made from a name, or an empty text when nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-")


def checked_name(name: str, *, field: str = "name", most: int = 120) -> str:
    """Return the name without surrounding space, or raise RuleBroken saying what is wrong."""
    name = " ".join(name.split())
    if not name:
        raise RuleBroken("Enter a name.", field=field)
    if len(name) > most:
        raise RuleBroken(f"Use at most {most} characters.", field=field)
    if not name.isprintable():
        raise RuleBroken("Use characters that can be printed.", field=field)
    return name


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Return the tags in small letters, each once and sorted, or raise RuleBroken saying what is wrong."""
    found = sorted({" ".join(tag.split()).lower() for tag in tags} - {""})
    for tag in found:
        if len(tag) > 40 or not tag.isprintable() or "," in tag:
            raise RuleBroken(
                f"“{tag[:60]}” is no tag. Use up to 40 characters without a comma.", field="tags"
            )
    if len(found) > MOST_TAGS:
        raise RuleBroken(f"Use at most {MOST_TAGS} tags.", field="tags")
    return found
