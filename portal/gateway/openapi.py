"""The OpenAPI document of the Gateway API."""

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def document() -> bytes:
    """Return the document as JSON."""
    return Path(__file__).with_name("openapi.json").read_bytes()
