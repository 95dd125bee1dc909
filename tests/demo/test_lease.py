"""Commands share the servers of a data directory; the last one out stops them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from portal import env
from portal.demo import processes
from portal.demo.lease import Lease
from tests.demo.conftest import Run, kill, processes_in, query

# A command: says who it is to the database once it can, and works until its input ends.
COMMAND = """if True:
    import sys
    from pathlib import Path
    import psycopg
    from portal.demo.lease import ensure_servers
    with ensure_servers(Path(sys.argv[1]), durable=False) as urls:
        def ask():
            with psycopg.connect(urls["DATABASE_URL"]) as connection:
                print(*connection.execute("SELECT current_user").fetchone(), flush=True)
        ask()
        sys.stdin.readline()
        ask()
    """


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def answer_of(command: subprocess.Popen[str]) -> str:
    assert command.stdout is not None
    return command.stdout.readline()


def test_commands_that_start_at_once_share_the_servers(data: Path, run_python: Run) -> None:
    commands = [run_python(COMMAND, data) for _ in range(3)]
    assert [answer_of(command) for command in commands] == ["portal_app\n"] * 3
    assert sum("-m portal.demo.lease" in line for line in processes_in(data)) == 1
    for command in commands:
        assert command.communicate("go\n")[0] == "portal_app\n"
    assert [command.returncode for command in commands] == [0, 0, 0]
    assert processes_in(data) == []


def test_who_started_them_does_not_take_them_away(data: Path, run_python: Run) -> None:
    starter = run_python(COMMAND, data)
    assert answer_of(starter) == "portal_app\n"
    other = run_python(COMMAND, data)
    assert answer_of(other) == "portal_app\n"
    starter.communicate("go\n")
    assert starter.returncode == 0
    assert other.communicate("go\n")[0] == "portal_app\n"
    assert processes_in(data) == []


def test_nothing_is_left_of_a_killed_command(data: Path, run_python: Run) -> None:
    command = run_python(COMMAND, data)
    answer_of(command)
    kill(command.pid)
    assert processes.wait_until(lambda: processes_in(data) == [], within=90)


def test_a_command_that_comes_while_they_stop_starts_them_again(data: Path, run_python: Run) -> None:
    first = run_python(COMMAND, data)
    answer_of(first)
    assert first.stdin is not None
    first.stdin.write("go\n")
    first.stdin.close()
    second = run_python(COMMAND, data)
    assert answer_of(second) == "portal_app\n"
    assert second.communicate("go\n")[0] == "portal_app\n"
    first.wait()
    assert processes_in(data) == []


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_the_keeper_starts_a_killed_server_again(data: Path, server: str) -> None:
    lease = Lease(data, durable=False).join()
    try:
        before = lease.pids[server]
        kill(before)
        assert processes.wait_until(lambda: lease.pids.get(server, before) != before, within=90)
        lease.ensure()
        assert query(lease.urls["DATABASE_URL"], "SELECT 1") == [(1,)]
    finally:
        lease.leave()
    assert processes_in(data) == []


def test_a_killed_keeper_is_replaced(data: Path) -> None:
    lease = Lease(data, durable=False).join()
    try:
        kill(lease.pids["keeper"])
        assert processes.wait_until(lambda: not lease.is_kept(), within=90)
        lease.ensure()
        assert query(lease.urls["DATABASE_URL"], "SELECT 1") == [(1,)]
    finally:
        lease.leave()
    assert processes_in(data) == []


def test_servers_of_tests_take_their_directory_with_them(data: Path) -> None:
    lease = Lease(data, durable=False, remove=True).join()
    lease.leave()
    assert not data.exists()


def test_a_failed_start_tells_why(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_PG_BIN", str(data))
    with pytest.raises(Exception, match="PORTAL_PG_BIN: there is no PostgreSQL"):
        Lease(data, durable=False).join()
    assert processes_in(data) == []
    assert env.read(data)  # the secrets were made all the same
