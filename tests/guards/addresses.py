"""Every address of the portal."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.urls import URLResolver, get_resolver


def addresses(patterns: Sequence[Any] | None = None, namespace: str = "") -> Iterator[str]:
    """Return the names of all addresses, with their namespaces."""
    for each in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(each, URLResolver):
            inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
            yield from addresses(each.url_patterns, inner)
        else:
            yield f"{namespace}{each.name}"
