"""Known vulnerabilities of the packages in uv.lock; `not run` where the service that knows cannot be reached."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"


def main() -> int:
    """Audit what a deployment and the tests install; 1 when something is known."""
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory, "requirements.txt")
        words = [str(UV), "export", "--frozen", "--quiet", "--no-emit-project", "--output-file", str(wanted)]
        subprocess.run(words, cwd=REPO, check=True, stdout=subprocess.DEVNULL)
        options = ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        options += ["--disable-pip", "--require-hashes", "--requirement", str(wanted)]
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *options], capture_output=True, text=True, check=False
        )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return _not_run(reason[:160])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return _not_run("the service answered for none of the packages")
    found = [package for package in audited if package["vulns"]]
    for package in found:
        for known in package["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version"
            sys.stdout.write(f"{package['name']} {package['version']}: {known['id']}, mended in {fixed}\n")
    sys.stdout.write(
        f"{len(audited)} of {len(packages)} packages audited, {len(found)} with known vulnerabilities\n"
    )
    return 1 if found else 0


def _not_run(reason: str) -> int:
    sys.stdout.write(f"pip-audit: not run ({reason})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
