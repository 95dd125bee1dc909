"""An environment with LiteLLM in it, apart from the portal's: `.venv-litellm`, made from requirements.txt once.

`python -m tests.litellm.environment` makes it. The pins come from, in this
directory, `uv pip compile --universal --generate-hashes --python-version 3.11 requirements.in -o requirements.txt`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from portal import env

DIRECTORY = env.REPO / ".venv-litellm"
PYTHON = DIRECTORY / "bin" / "python"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class NotMade(Exception):
    """The environment could not be made; the text says why."""


def make() -> Path:
    """Return the Python of the environment; make or renew it when it is not that of requirements.txt."""
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    mark = DIRECTORY / "requirements.sha256"
    with (Path(sys.prefix) / "litellm.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (mark.exists() and mark.read_text() == wanted and PYTHON.exists()):
            _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(DIRECTORY)])
            _install()
            mark.write_text(wanted)
    return PYTHON


def _install() -> None:
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        command = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--python", str(PYTHON)]
        command += ["-r", str(_REQUIREMENTS)]
        for more in ([], ["--system-certs"]):
            try:
                return _run([*command, *more])
            except NotMade:
                pass
    # Where only pip is told about a mirror; the hashes are the same.
    command = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    return _run([*command, "--disable-pip-version-check", "--require-hashes", "-r", str(_REQUIREMENTS)])


def _run(words: list[str]) -> None:
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=600)
    if done.returncode:
        raise NotMade(f"{' '.join(words[:4])}: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
