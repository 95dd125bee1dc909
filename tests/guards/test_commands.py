"""Every command of the contract exists, helps, and tells by its exit status how it ended."""

from pathlib import Path

import pytest
from django.core.management import ManagementUtility, get_commands

# The command, with what it refuses; empty where there is nothing to refuse.
COMMANDS = {
    "demo": "",
    "grant_access": "nobody@northgate.example --role auditor",
    "revoke_access": "nobody@northgate.example",
    "create_group": "--code Not:a:code --name Claims",
    "delete_group": "nothing",
    "create_project": "--code Not:a:code --name Triage",
    "set_project_state": "nothing paused",
    "add_member": "--project nothing --email carol@northgate.example",
    "remove_member": "--project nothing --email carol@northgate.example",
    "set_limit": "--project nothing --metric spend --window day --amount 5",
    "correct_usage": "nothing --gateway gateway00000 --void",
    "set_price": "a-model --input -1 --output 1",
    "import_prices": "--rate 0",
    "issue_token": "--project nothing --email carol@northgate.example",
    "issue_api_key": "--project nothing --name crm",
    "revoke_token": "nothing",
    "revoke_api_key": "nothing",
    "register_gateway": "x" * 200,
    "rotate_gateway": "nothing",
    "check_limits": "",
    "reconcile_spend": "",
    "spend": "--project nothing",
    "replay_trace": "trace.csv --project nothing --model a-model --url http://127.0.0.1:1",
    "explain": "nothing --model a-model",
    "verify_audit_log": "",
    "export_audit_log": "",
}


@pytest.fixture(autouse=True)
def _stay_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command closes the connections of its process when it ends, but this process is the tests'."""
    monkeypatch.setattr("django.core.management.base.connections.close_all", lambda: None)


def status(*words: str) -> int:
    """Run a command as manage.py does, but without setting Django up anew, and return its exit status."""
    argv = ["manage.py", *words]
    try:
        ManagementUtility(argv).fetch_command(words[0]).run_from_argv(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in get_commands()
    assert status(name, "--help") == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_is_status_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(name, "--no-such-option") == 2
    output = capsys.readouterr()
    assert output.err
    assert not output.out


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "words"), [(name, words) for name, words in COMMANDS.items() if words])
def test_a_refusal_is_status_1_and_a_sentence(
    name: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2026-11-01 00:00:00,10,5\n")
    assert status(name, *words.split()) == 1
    output = capsys.readouterr()
    assert output.err
    assert "Traceback" not in output.err
    assert not output.out


def test_nothing_found_is_status_0(clean_state: None) -> None:
    assert status("check_limits") == 0
    assert status("reconcile_spend") == 0
