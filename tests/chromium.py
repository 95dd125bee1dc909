"""Where Chromium is, and what becomes of tests marked `browser` when there is none.

Loaded with `-p tests.chromium`. `python -m tests.chromium` prints the path, or fails.
"""

from __future__ import annotations

import os
import shutil
import sys

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


def find() -> str | None:
    """The path of a Chromium to drive: the variable CHROMIUM, else the first one on PATH."""
    if chosen := os.environ.get("CHROMIUM"):
        return chosen
    return next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.hookimpl(tryfirst=True)  # before fixtures that would need it
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") is None or find() is not None:
        return
    reason = "not run: there is no Chromium here"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


if __name__ == "__main__":
    found = find()
    sys.stdout.write(f"{found or ''}\n")
    sys.exit(found is None)
