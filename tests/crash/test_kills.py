"""Web, worker, Valkey and Postgres are killed in the middle of a replay: no usage is lost, none counted twice."""

import pytest

from tests.crash.engine import run_seed

pytestmark = pytest.mark.slow


def test_the_books_agree_after_kills_at_random(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    try:
        run_seed(1, 2000, said.append)
    finally:
        print("\n".join(said))  # noqa: T201  shown when the test fails
