"""PostgreSQL and Valkey out of wheels: they start, keep what they are given, and come back after a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from portal import env
from portal.demo import processes
from portal.demo.servers import Servers, ServersError
from tests.demo.conftest import Run, kill, processes_in, query


def test_what_is_written_is_there_after_a_restart(servers: Servers) -> None:
    query(servers.urls["DATABASE_OWNER_URL"], "CREATE TABLE kept (n int)")
    query(servers.urls["DATABASE_URL"], "INSERT INTO kept VALUES (7)")
    servers.stop()
    assert not servers.answer()
    assert processes_in(servers.data) == []

    servers.start()
    assert query(servers.urls["DATABASE_URL"], "SELECT n FROM kept") == [(7,)]


def test_nobody_else_can_reach_the_sockets(servers: Servers) -> None:
    for directory in (servers.data / "pgdata", servers.data / "valkey", servers.data / "log"):
        assert directory.stat().st_mode & 0o077 == 0
    assert (servers.data / "environment.json").stat().st_mode & 0o777 == 0o600


def test_servers_listen_on_unix_sockets_alone(servers: Servers) -> None:
    assert query(servers.urls["DATABASE_URL"], "SHOW listen_addresses") == [("",)]
    with redis.from_url(servers.urls["REDIS_URL"]) as valkey:
        assert valkey.config_get("port") == {"port": "0"}
        assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_application_role_changes_rows_but_not_tables(servers: Servers) -> None:
    owner, app = servers.urls["DATABASE_OWNER_URL"], servers.urls["DATABASE_URL"]
    query(owner, "CREATE TABLE book (id bigint GENERATED ALWAYS AS IDENTITY, title text)")
    query(app, "INSERT INTO book (title) VALUES ('one')")
    query(app, "UPDATE book SET title = 'two'")
    assert query(app, "SELECT title FROM book") == [("two",)]
    query(app, "DELETE FROM book")
    for statement in ("CREATE TABLE mine (n int)", "TRUNCATE book", "DROP TABLE book", "CREATE ROLE another"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(app, statement)


def test_databases_made_later_have_the_same_privileges(servers: Servers) -> None:
    with psycopg.connect(servers.urls["DATABASE_OWNER_URL"], autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
    owner, app = (
        servers.urls[name].replace("/portal?", "/another?") for name in ("DATABASE_OWNER_URL", "DATABASE_URL")
    )
    query(owner, "CREATE TABLE book (title text)")
    query(app, "INSERT INTO book VALUES ('one')")


def test_no_superuser_can_sign_in(servers: Servers) -> None:
    url = servers.urls["DATABASE_URL"].replace("//portal_app:", "//postgres:")
    with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
        query(url, "SELECT 1")


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_killed_server_is_started_again(servers: Servers, name: str) -> None:
    other = next(other for other in servers.pids if other != name)
    before = servers.pids
    kill(before[name])
    assert processes.wait_until(lambda: servers.supervise() == [name], within=90)
    assert servers.answer()
    assert servers.pids[other] == before[other]


def test_servers_that_outlived_their_owner_give_way(data: Path, run_python: Run) -> None:
    left = run_python(
        """if True:
        import os, signal, sys
        from pathlib import Path
        from portal.demo import processes
        from portal.demo.servers import Servers
        processes.dies_with_parent = lambda number: None  # as where the kernel does not do it
        servers = Servers(Path(sys.argv[1]), durable=False).start()
        print(*servers.pids.values(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        data,
    )
    pids = left.communicate()[0].split()
    assert len(pids) == 2
    assert len(processes_in(data)) >= 2

    servers = Servers(data, durable=False).start()
    try:
        assert servers.answer()
        assert not {int(pid) for pid in pids} & set(servers.pids.values())
    finally:
        servers.stop()
    assert processes_in(data) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of it is Linux's")
def test_servers_end_with_a_killed_owner(data: Path, run_python: Run) -> None:
    owner = run_python(
        """if True:
        import sys
        from pathlib import Path
        from portal.demo.servers import Servers
        servers = Servers(Path(sys.argv[1]), durable=False).start()
        print("ready", flush=True)
        sys.stdin.read()
        """,
        data,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    kill(owner.pid)
    assert processes.wait_until(lambda: processes_in(data) == [], within=90)


def test_a_process_with_a_reused_id_is_left_alone(data: Path) -> None:
    Servers(data, durable=False).start().stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "pgdata" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        (data / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
        servers = Servers(data, durable=False).start()
        assert servers.answer()
        servers.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_only_one_process_owns_a_data_directory(servers: Servers) -> None:
    with pytest.raises(ServersError, match="Another process"):
        Servers(servers.data, durable=False).start()
    assert servers.answer()


def test_lost_secrets_are_made_anew(data: Path) -> None:
    Servers(data, durable=False).start().stop()
    before = env.read(data)
    (data / "environment.json").unlink()
    servers = Servers(data, durable=False).start()
    try:
        assert env.read(data)["PORTAL_APP_PASSWORD"] != before["PORTAL_APP_PASSWORD"]
        assert query(servers.urls["DATABASE_URL"], "SELECT current_user") == [("portal_app",)]
        assert query(servers.urls["DATABASE_OWNER_URL"], "SELECT current_user") == [("portal_owner",)]
    finally:
        servers.stop()


def test_a_cluster_of_another_version_is_not_touched(data: Path) -> None:
    Servers(data, durable=False).start().stop()
    version = data / "pgdata" / "PG_VERSION"
    right = version.read_text()
    version.write_text("17\n")
    with pytest.raises(ServersError, match="was made by PostgreSQL 17"):
        Servers(data, durable=False).start()
    version.write_text(right)


def test_half_a_cluster_is_not_taken_for_one(tmp_path: Path) -> None:
    half = tmp_path / "pgdata.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    servers = Servers(tmp_path, durable=False).start()
    assert servers.answer()
    servers.stop()
    assert not half.exists()


def test_a_deep_path_with_spaces_works_under_a_strict_umask(tmp_path: Path) -> None:
    deep = tmp_path / ("a very long name, with spaces and ä " * 3).strip() / "data"
    before = os.umask(0o077)
    try:
        servers = Servers(deep, durable=False).start()
    finally:
        os.umask(before)
    try:
        assert query(servers.urls["DATABASE_URL"], "SELECT current_user") == [("portal_app",)]
        with redis.from_url(servers.urls["REDIS_URL"]) as valkey:
            assert valkey.ping()
        assert (deep / "pgdata" / ".s.PGSQL.5432").is_socket()
        assert (deep / "valkey" / "valkey.sock").is_socket()
    finally:
        servers.stop()
    assert not env.short_names(deep).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
def test_root_lends_postgres_an_account_that_cannot_walk_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    servers = Servers(tmp_path / "data", durable=False).start()
    try:
        assert query(servers.urls["DATABASE_URL"], "SELECT 1") == [(1,)]
        assert (tmp_path / "data" / "pgdata").stat().st_uid != 0
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        assert Path(f"/proc/{servers.pids['postgres']}").stat().st_uid != 0
    finally:
        servers.stop()


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root to become somebody else"
)
def test_servers_start_for_a_normal_user_too(tmp_path: Path, run_python: Run) -> None:
    # The same files are this user's in a namespace of users: no account has to be able to run this Python.
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], capture_output=True).returncode:
        pytest.skip("this kernel makes no user namespaces")
    done = run_python(
        """if True:
        import os, sys
        from pathlib import Path
        from portal.demo.servers import Servers
        assert os.geteuid() == 1000
        servers = Servers(Path(sys.argv[1]), durable=False).start()
        print(servers.answer(), Path(f"/proc/{servers.pids['postgres']}").stat().st_uid)
        servers.stop()
        """,
        tmp_path / "data",
        before=as_user,
    )
    assert done.communicate()[0] == "True 1000\n"
