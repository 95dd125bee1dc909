"""`check --deploy` in an environment like a deployment's: an https address, own servers, real secrets."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the checks; warnings are failures."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "ENTRA_"))
    }
    environment |= {
        "PORTAL_BASE_URL": "https://portal.example.com",
        "PORTAL_SECRET_KEY": secrets.token_urlsafe(64),
        "PORTAL_PEPPERS": f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "PORTAL_TRUSTED_PROXIES": "1",
        "DATABASE_URL": "postgresql://portal_app:secret@postgres.example.com/portal",
        "REDIS_URL": "redis://valkey.example.com:6379/0",
        "ENTRA_TENANT_ID": "00000000-0000-4000-8000-000000000001",
        "ENTRA_CLIENT_ID": "00000000-0000-4000-8000-000000000002",
        "ENTRA_CLIENT_SECRET": secrets.token_urlsafe(32),
    }
    words = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(words, cwd=REPO, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
