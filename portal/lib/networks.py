"""Lists of the addresses from which a credential may be used."""

from collections.abc import Iterable
from ipaddress import ip_network

from portal.lib.errors import RuleBroken

MOST = 50


def checked_networks(texts: Iterable[str] | None) -> list[str] | None:
    """Return addresses and CIDR blocks in one spelling, without repeats; None for an empty list: from anywhere.

    A block with host bits set is refused rather than widened: `10.1.2.3/8` is more likely a slip than a wish.
    """
    found: dict[str, None] = {}
    for text in texts or ():
        try:
            block = ip_network(text.strip())
        except ValueError:
            raise RuleBroken(
                f"{text.strip()[:50]} is no address or block. Write them like 203.0.113.7 or 10.20.0.0/16.",
                field="networks",
            ) from None
        if block.prefixlen == 0:
            raise RuleBroken(f"{block} is every address. Leave the list empty for that.", field="networks")
        found[str(block).removesuffix(f"/{block.max_prefixlen}")] = None
    if len(found) > MOST:
        raise RuleBroken(f"List at most {MOST} addresses and blocks.", field="networks")
    return list(found) or None
