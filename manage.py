#!/usr/bin/env python
"""Django's commands, with the embedded servers when the environment names no others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from portal import env

# These work without a database; `demo` brings the servers up itself.
WITHOUT_SERVERS = {
    "", "help", "version", "--help", "-h", "--version", "demo", "check", "collectstatic", "findstatic",
    "diffsettings", "startapp", "startproject", "makemessages", "compilemessages", "test", "testserver",
}  # fmt: skip
# These change tables, so they sign in as the tables' owner.
AS_OWNER = {"migrate", "flush", "sqlflush", "createcachetable", "optimizemigration", "squashmigrations"}
# These are about migrations themselves, so none is applied before them.
WITHOUT_MIGRATING = AS_OWNER | {"makemigrations", "showmigrations", "sqlmigrate", "lintmigrations", "dbshell"}


def main() -> None:
    words = _take_data_dir(sys.argv)
    command = words[1] if len(words) > 1 else ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    with ExitStack() as stack:
        if env.is_embedded():
            asks_database = command not in WITHOUT_SERVERS or (command == "check" and "--database" in words)
            if asks_database and not {"-h", "--help"} & set(words):
                _use_embedded(stack, migrate=command not in WITHOUT_MIGRATING)
            else:
                env.remember(env.data_dir())
        if command in AS_OWNER:
            os.environ["DATABASE_URL"] = env.text("DATABASE_OWNER_URL") or os.environ.get("DATABASE_URL", "")
            os.environ.setdefault("PORTAL_STATEMENT_TIMEOUT", "0")
        from django.core.management import execute_from_command_line

        execute_from_command_line(words)


def _use_embedded(stack: ExitStack, *, migrate: bool) -> None:
    """Have the embedded servers as long as `stack` is open."""
    try:
        from portal.demo.lease import ensure_servers
        from portal.demo.servers import ServersError
    except ModuleNotFoundError:
        sys.exit("Set DATABASE_URL and REDIS_URL: the embedded servers are not installed here.")
    directory = env.data_dir()
    try:
        os.environ.update(stack.enter_context(ensure_servers(directory)))
    except ServersError as error:
        sys.exit(str(error))
    os.environ["PORTAL_DATA_DIR"] = str(directory)
    if migrate:
        _migrate(directory)


def _take_data_dir(words: list[str]) -> list[str]:
    """Accept `--data-dir DIR` for every command; returns the rest."""
    rest, given = [], iter(words)
    for word in given:
        if word == "--data-dir":
            directory = next(given, "")
        elif word.startswith("--data-dir="):
            directory = word.partition("=")[2]
        else:
            rest.append(word)
            continue
        if not directory:
            _refuse("--data-dir needs a directory.")
        os.environ["PORTAL_DATA_DIR"] = str(Path(directory).expanduser().resolve())
    return rest


def _refuse(text: str) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    sys.exit(2)


def _migrate(directory: Path) -> None:
    """Bring the embedded database up to date, one command at a time; nothing happens when it is."""
    import django
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    django.setup()
    with (directory / "migrate.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            done = subprocess.run(
                [sys.executable, __file__, "migrate", "--no-input", "--verbosity", "0"],
                stdout=sys.stderr.fileno(),
            )
            if done.returncode:
                sys.exit("The migrations of the embedded database failed; see above.")
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except env.Misconfigured as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
