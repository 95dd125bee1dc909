"""Processes and servers are hit under load: no usage is lost, none counted twice, no limit exceeded unexplained."""

import pytest

from tests.crash import chaos
from tests.crash.engine import run_seed

pytestmark = pytest.mark.slow


def test_the_books_agree_after_kills_at_random(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    try:
        run_seed(1, 2000, said.append)
    finally:
        print("\n".join(said))  # noqa: T201  shown when the test fails


def test_histories_and_books_agree_after_hits_at_random(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    try:
        chaos.run_seed(1, 5, said.append)
    finally:
        print("\n".join(said))  # noqa: T201  shown when the test fails
