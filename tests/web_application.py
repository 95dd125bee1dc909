"""`portal.wsgi` on the servers of the tests, which trade safety against power failures for speed."""

from portal import checks

checks._DURABLE.clear()

from portal.wsgi import application  # noqa: E402

__all__ = ["application"]
