"""Many at once: work in threads, each with connections of its own that it closes."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

from portal.decision import valkey

_A = TypeVar("_A")
_T = TypeVar("_T")


def at_once(work: Callable[[_A], _T], arguments: Iterable[_A]) -> list[_T]:
    """Do the work for every argument in a thread each, all beginning together; return the answers in order."""
    arguments = list(arguments)
    barrier = Barrier(len(arguments))

    def run(argument: _A) -> _T:
        try:
            barrier.wait(30)
            return work(argument)
        finally:
            connection.close()
            valkey.disconnect()

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(run, arguments))
