"""What the shipper makes of Envoy's access log; no portal, no Envoy."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.gateway.adapters import envoy as shipper
from portal.gateway.adapters.envoy import Log, Place, read_line, tokens_of

ENTRY = {
    "request_id": "019b0000-0000-7000-8000-000000000001",
    "reservation_id": "signed",
    "model": "gpt-4o-mini",
    "usage": {"model": "gpt-4o-mini-2024", "prompt_tokens": 19, "completion_tokens": 10},
    "start": "2026-11-24T14:01:42.114Z",
    "status": 200,
    "flags": "-",
    "details": "via_upstream",
    "sent": 449,
    "attempts": 1,
}


def line(**changes: Any) -> bytes:
    return json.dumps(ENTRY | changes).encode() + b"\n"


def event(**changes: Any) -> dict[str, Any]:
    found = read_line(line(**changes))
    assert found.event is not None
    return found.event


def test_a_call_is_reported_as_the_portal_takes_it() -> None:
    assert event() == {
        "request_id": ENTRY["request_id"],
        "reservation_id": "signed",
        "model": "gpt-4o-mini-2024",
        "occurred_at": ENTRY["start"],
        "status": "ok",
        "input_tokens": 19,
        "output_tokens": 10,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
    }


def test_a_call_is_dated_by_its_end_where_the_log_says_how_long_it_took() -> None:
    assert event(duration=61_500)["occurred_at"] == "2026-11-24T14:02:43.614Z"
    assert event(duration=None)["occurred_at"] == ENTRY["start"]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 5}, (5, 0, 0, 0, 0)),
        (
            {"prompt_tokens": 5, "completion_tokens": 4, "cached_tokens": 2, "reasoning_tokens": 1},
            (5, 4, 2, 0, 1),
        ),
        (
            {"input_tokens": 11, "output_tokens": 7, "cached_tokens": 1, "reasoning_tokens": 6},
            (11, 7, 1, 0, 6),
        ),
        (
            {
                "input_tokens": 3,
                "output_tokens": 15,
                "cache_read_input_tokens": 2,
                "cache_creation_input_tokens": 5,
            },
            (10, 15, 2, 5, 0),
        ),
        ({"prompt_tokens": 5.0, "completion_tokens": 4.0, "cached_tokens": None}, (5, 4, 0, 0, 0)),
        ({"prompt_tokens": 5, "cached_tokens": 9, "reasoning_tokens": 9}, (5, 0, 5, 0, 0)),
        ({"prompt_tokens": 5, "cached_tokens": "many"}, (5, 0, 0, 0, 0)),
        ({"prompt_tokens": 5, "completion_tokens": -4}, (5, 0, 0, 0, 0)),
    ],
)
def test_the_counts_of_each_protocol(usage: dict[str, Any], counts: tuple[int, ...]) -> None:
    found = tokens_of(usage)
    assert found is not None
    assert tuple(found.values()) == counts


@pytest.mark.parametrize("usage", [{}, {"total_tokens": 3}, {"prompt_tokens": True}, {"prompt_tokens": "5"}])
def test_a_usage_without_counts_is_none(usage: dict[str, Any]) -> None:
    assert tokens_of(usage) is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "ok"),
        ({"flags": "DC"}, "cancelled"),
        ({"flags": "UC,UT"}, "cancelled"),
        ({"status": 500}, "failed"),
        ({"status": 0, "flags": "DC"}, "cancelled"),
    ],
)
def test_how_a_call_ended(changes: dict[str, Any], status: str) -> None:
    assert event(**changes)["status"] == status


def test_a_providers_refusal_counts_as_a_call_and_costs_nothing() -> None:
    found = event(status=429, usage=None)
    assert (found["status"], found["input_tokens"], found["output_tokens"]) == ("failed", 0, 0)
    assert found["model"] == "gpt-4o-mini"


def test_a_call_that_never_left_is_released() -> None:
    found = read_line(
        line(status=503, flags="UF", sent=0, usage=None, details="upstream_reset_before_response_started")
    )
    assert (found.event, found.release) == (None, {"reservation_id": "signed"})


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": None},  # a stream without usage
        {"usage": None, "status": 504, "flags": "UT", "details": "response_timeout"},
        {"usage": None, "status": 503, "flags": "UF", "sent": 0, "attempts": 2, "details": "reset"},
        {"usage": None, "status": 0, "flags": "DC"},
    ],
)
def test_what_nobody_will_know_is_left_to_the_portals_estimate_at_once(changes: dict[str, Any]) -> None:
    assert read_line(line(**changes)) == shipper.Line(release={"reservation_id": "signed", "is_sent": True})


@pytest.mark.parametrize("call_id", [None, "1795554594122-5694a24c-54ad-4e90-8a48-88d45419e127"])
def test_a_refused_call_says_nothing(call_id: str | None) -> None:
    refused = {"reservation_id": None, "request_id": None, "flags": "UAEX", "status": 429, "sent": 0}
    assert read_line(line(**refused, call_id=call_id, details="ext_authz_denied")) == shipper.Line()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 0, "flags": "DC", "details": "downstream_remote_disconnect"},
        {"status": 503, "flags": "UAEX", "details": "ext_authz_error"},
    ],
)
def test_a_call_without_the_portals_answer_is_released_by_its_name(changes: dict[str, Any]) -> None:
    unheard = {"reservation_id": None, "request_id": None, "sent": 0, "usage": None, **changes}
    assert read_line(line(**unheard, call_id="17-name")) == shipper.Line(release={"call_id": "17-name"})
    assert read_line(line(**unheard)) == shipper.Line()  # an older configuration


def test_names_come_back_from_their_headers() -> None:
    assert event(usage={"prompt_tokens": 1}, model="mod%C3%A8le 100%25")["model"] == "modèle 100%"


def read_all(source: Log) -> list[bytes]:
    found: list[bytes] = []
    while lines := source.lines():
        found += lines
        source.advance()
    return found


def test_only_whole_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    source = Log(path, Place())
    assert source.lines() == []  # there is no log yet
    with path.open("ab", buffering=0) as file:
        file.write(b'{"a":1}\n{"b"')
        assert read_all(source) == [b'{"a":1}\n']
        file.write(b":2}\n")
        assert read_all(source) == [b'{"b":2}\n']
    source.close()


def test_the_log_is_followed_through_rotations(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_bytes(b"1\n2\n")
    source = Log(path, Place())
    assert read_all(source) == [b"1\n", b"2\n"]
    with path.open("ab", buffering=0) as old:
        path.rename(tmp_path / "usage.jsonl.1")
        path.touch()
        old.write(b"3\n")  # Envoy has not opened the new file yet
        assert read_all(source) == [b"3\n"]
        path.write_bytes(b"4\n")
        assert read_all(source) == [b"4\n"]
    source.close()


def test_a_shipper_that_was_away_finds_its_place_in_a_renamed_file(tmp_path: Path) -> None:
    path, state = tmp_path / "usage.jsonl", tmp_path / ".state"
    path.write_bytes(b"1\n2\n")
    source = Log(path, Place())
    assert source.lines()
    source.advance().save(state)
    source.close()
    with path.open("ab") as old:
        old.write(b"3\n")
    for number, (name, content) in enumerate((("usage.jsonl.2", b"4\n"), ("usage.jsonl.1", b"5\n"))):
        path.rename(tmp_path / name)
        os.utime(tmp_path / name, (number, number))
        path.write_bytes(content)
    (tmp_path / "usage.jsonl.3.gz").write_bytes(b"compressed")
    again = Log(path, Place.load(state))
    assert read_all(again) == [b"3\n", b"4\n", b"5\n"]
    again.close()


def test_another_file_with_the_same_inode_is_read_from_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_bytes(b"new 1\nnew 2\n")
    with caplog.at_level(logging.WARNING):
        source = Log(path, Place(path.stat().st_ino, 6, "of another file"))
        assert read_all(source) == [b"new 1\n", b"new 2\n"]
    assert "counts nothing twice" in caplog.text
    source.close()


def test_a_truncated_log_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    source = Log(path, Place())
    read_all(source)
    path.write_bytes(b"4\n")
    with caplog.at_level(logging.ERROR):
        assert read_all(source) == [b"4\n"]
    assert "truncated" in caplog.text
    source.close()


def test_a_line_without_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_bytes(b"x" * shipper.CHUNK + b"\n1\n")
    source = Log(path, Place())
    assert read_all(source) == [b"\n", b"1\n"]
    source.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"inode":1}', '{"other":1}'])
def test_a_place_that_cannot_be_read_is_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    assert Place.load(tmp_path / "state").offset == 0


def test_the_shipper_needs_nothing_but_python(tmp_path: Path) -> None:
    """It is put beside Envoy, where neither the portal nor Django are installed."""
    alone = tmp_path / "envoy.py"
    alone.write_bytes(Path(shipper.__file__).read_bytes())
    words = [sys.executable, "-I", "-S"]
    done = subprocess.run([*words, alone, "--log", "x"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "set LLM_PORTAL_URL and LLM_PORTAL_GATEWAY_SECRET" in done.stderr
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([*words, "-c", program, alone], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {*sys.stdlib_module_names, "__main__"}
