"""What no gateway should send: each is refused by the first check it fails, and nothing is half written."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apikeys.services import issue_api_key, revoke_api_key
from audit.actors import Actor
from portal.decision import subjects, valkey
from portal.decision.models import Subject
from portal.gateway.models import Gateway
from portal.gateway.services import revoke_gateway
from portal.lib.secrets import generate
from portal.spend import inbox
from portal.spend.models import LedgerRow
from tests.gateway.client import Client
from tests.gateway.conftest import Scene
from tests.lib.test_secrets import mutations

ACTOR = Actor.system()
POSTS = ("authorize", "usage", "release", "extend")
NOT_JSON = {
    "empty": b"",
    "text": b"call me",
    "cut": b'{"model": "small"',
    "two": b"{}{}",
    "NaN": b'{"n": NaN}',
    "infinity": b'{"n": -Infinity}',
    "latin": b'{"model": "\xe9"}',
    "mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"n": 1}'.encode("utf-16"),
    "deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep list": b"[" * 100_000,
    "control": b'{"model": "a\nb"}',
    "comment": b'{/**/"n": 1}',
}


def nothing_is_written() -> bool:
    return (
        inbox.size() == 0
        and not LedgerRow.objects.exists()
        and valkey.command("KEYS", "r:*") == []
        and valkey.command("EXISTS", "x") == 0
    )


@pytest.mark.parametrize("name", POSTS)
def test_what_is_not_json_is_malformed_but_only_for_a_known_gateway(scene: Scene, name: str) -> None:
    for label, raw in NOT_JSON.items():
        answer = scene.client.post(name, raw=raw)
        assert (answer.status, answer.code) == (400, "malformed"), label
        assert Client().post(name, raw=raw).code == "gateway_unknown"
    assert nothing_is_written()


@pytest.mark.parametrize("name", POSTS)
def test_what_is_no_object_is_invalid(scene: Scene, name: str) -> None:
    wrong: tuple[Any, ...] = ([], [{}], 1, 1.5, "text", True)
    for body in wrong:
        answer = scene.client.post(name, raw=json.dumps(body).encode())
        assert (answer.status, answer.code) == (422, "invalid")
        assert answer.json["errors"]
    assert scene.client.post(name, raw=b"null").code == "invalid"
    assert nothing_is_written()


@pytest.mark.parametrize("name", POSTS)
def test_more_than_one_mebibyte_is_too_large(scene: Scene, name: str) -> None:
    for raw in (b" " * ((1 << 20) + 1), b'{"a": "' + b"x" * (1 << 20) + b'"}'):
        assert (scene.client.post(name, raw=raw).status, Client().post(name, raw=raw).status) == (413, 401)
    assert scene.client.post(name, raw=b" " * (1 << 20)).status == 400


WRONG_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("surprise", {"surprise": 1}),
    ("credential", {"credential": None}),
    ("credential", {"credential": 5}),
    ("credential", {"credential": "x" * 513}),
    ("credential", {"credential": "x\x00"}),
    ("model", {"model": ""}),
    ("model", {"model": "m" * 513}),
    ("model", {"model": "m\x00"}),
    ("model", {"model": ["small"]}),
    ("model", {"model": "\ud800"}),
    ("request_id", {"request_id": "r" * 129}),
    ("request_id", {"request_id": "\udfff"}),
    ("request_id", {"request_id": ""}),
    ("input_tokens", {"input_tokens": -1}),
    ("input_tokens", {"input_tokens": 10**9 + 1}),
    ("input_tokens", {"input_tokens": 10**400}),
    ("input_tokens", {"input_tokens": "10"}),
    ("input_tokens", {"input_tokens": 1.5}),
    ("input_tokens", {"input_tokens": True}),
    ("input_tokens", {"input_tokens": None}),
    ("input_bytes", {"input_bytes": {}}),
    ("max_output_tokens", {"max_output_tokens": -(10**30)}),
    ("n", {"n": []}),
    ("client_ip", {"client_ip": "1" * 65}),
    ("user", {"user": 1}),
    ("stream", {"stream": "yes"}),
]


def test_a_wrong_field_is_named_before_the_credential_is_looked_at(scene: Scene) -> None:
    for field, change in WRONG_CALLS:
        for credential in (scene.secret, "nobody"):
            body = {**scene.call(credential=credential), **change}
            answer = scene.client.post("authorize", body)
            assert (answer.status, answer.code) == (422, "invalid"), change
            assert [error["field"] for error in answer.json["errors"]] == [field]
            assert scene.secret not in answer.raw.decode()
    answer = scene.client.post("authorize", {})
    assert [error["field"] for error in answer.json["errors"]] == ["credential", "model", "request_id"]
    thousands = b'{"input_tokens": ' + b"9" * 5000 + b"}"
    assert "input_tokens" in [
        error["field"] for error in scene.client.post("authorize", raw=thousands).json["errors"]
    ]
    assert nothing_is_written()


def test_unknown_names_are_answered_whatever_they_contain(scene: Scene) -> None:
    for name in ("\x00", "\ud800", "x" * 10_000, '"', "\u2028"):
        for endpoint in POSTS:
            assert scene.client.post(endpoint, {name: 1}).code == "invalid"


WRONG_EVENTS: list[dict[str, Any]] = [
    {"surprise": 1},
    {"request_id": None},
    {"request_id": "r" * 129},
    {"request_id": "\x00"},
    {"request_id": "\ud800"},
    {"model": ""},
    {"model": 7},
    {"occurred_at": "yesterday"},
    {"occurred_at": "2026-11-24"},
    {"occurred_at": "2026-11-24T11:00:00"},
    {"occurred_at": "2026-02-30T11:00:00Z"},
    {"occurred_at": "0001-01-01T00:00:00+23:59"},
    {"occurred_at": "9999-12-31T23:59:59-23:59"},
    {"occurred_at": "٢٠٢٦-11-24T11:00:00Z"},
    {"occurred_at": 1_795_500_000},
    {"input_tokens": -1},
    {"input_tokens": 10**9 + 1},
    {"output_tokens": "5"},
    {"output_tokens": None},
    {"cached_input_tokens": 11},
    {"cached_input_tokens": 6, "cache_write_tokens": 5},
    {"reasoning_tokens": 6},
    {"status": "fine"},
    {"status": None},
    {"cost": 0.5},
    {"cost": "-1"},
    {"cost": "1e3"},
    {"cost": "0.0000000001"},
    {"cost": "9999999999999"},
    {"cost": "١"},
    {"cost": "NaN"},
    {"credential_id": "\x00"},
    {"reservation_id": 4},
    {"reservation_id": "x" * 513},
]


def test_a_wrong_event_is_rejected_and_its_neighbour_accepted(scene: Scene) -> None:
    owner = {"credential_id": scene.key.key_id}
    for number, change in enumerate(WRONG_EVENTS):
        events = [{**scene.event(f"bad-{number}"), **owner, **change}, scene.event(f"good-{number}", **owner)]
        report = scene.client.post("usage", {"events": events}).json
        assert (report["accepted"], report["duplicates"]) == (1, 0), change
        assert [(item["index"], item["code"]) for item in report["rejected"]] == [(0, "invalid")], change
    for change in ({"credential_id": "nobody"}, {"reservation_id": "made-up"}, {"reservation_id": "é"}):
        report = scene.client.post("usage", {"events": [scene.event("other", **change)]}).json
        assert report["rejected"][0]["code"] in ("unattributed", "not_found")
    assert inbox.size() == len(WRONG_EVENTS)


def test_a_batch_is_one_to_a_thousand_events(scene: Scene) -> None:
    wrong: tuple[Any, ...] = ([], None, {}, "x", [scene.event(f"e{n}") for n in range(1001)])
    for events in wrong:
        answer = scene.client.post("usage", {"events": events})
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, "events")
    assert scene.client.post("usage", {"events": [scene.event("e")], "more": 1}).status == 422
    assert nothing_is_written()
    thousand = [scene.event(f"e{number}", credential_id=scene.key.key_id) for number in range(1000)]
    assert scene.client.post("usage", {"events": thousand}).json["accepted"] == 1000


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(POSTS),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["events", "credential", "model", "request_id", "reservation_id", "n", "status"]
                )
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ),
)
def test_no_json_makes_the_portal_stumble(scene: Scene, name: str, body: Any) -> None:
    assert scene.client.post(name, raw=json.dumps(body).encode()).status in (200, 404, 422)


def test_other_methods_and_paths(scene: Scene) -> None:
    for name in POSTS:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            answer = scene.client.ask(method, f"/gateway/v1/{name}")
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert scene.client.post("me").headers["allow"] == "GET"
    for path in ("authorise", "authorize/", "", "../livez", "authorize\x00"):
        assert scene.client.post(path, scene.call()).status == 404


def test_a_thousand_mutated_credentials_are_unknown_and_all_answers_are_the_same_byte_for_byte(
    scene: Scene,
) -> None:
    unknown, other = generate("api_key")[1], generate("api_key")[1]
    wrong_secret = generate("api_key", scene.key.key_id)[1]
    texts = ["", "x", unknown, other, wrong_secret, generate("gateway")[1], scene.client.secret, "é" * 60]
    texts += mutations(scene.secret, 1000)
    answers = {
        (answer.status, answer.raw, tuple(sorted(answer.headers.items())))
        for number, text in enumerate(texts)
        if (answer := scene.client.post("authorize", scene.call(f"r{number}", credential=text)))
    }
    assert len(answers) == 1
    ((status, raw, _),) = answers
    assert (status, json.loads(raw)["code"]) == (401, "credential_unknown")
    assert nothing_is_written()


def test_gateways_that_are_unknown_mutated_or_revoked_answer_alike(scene: Scene) -> None:
    revoke_gateway(gateway=Gateway.objects.get(name="other"), actor=ACTOR)
    secrets = ["", "x", generate("gateway")[1], generate("gateway", scene.gateway)[1]]
    secrets += [scene.other.secret, scene.secret, *mutations(scene.client.secret, 100)]
    # Space around a header's value is no part of it.
    strangers = {secret.strip() for secret in secrets} - {scene.client.secret}
    answers = {
        (answer.status, answer.raw)
        for secret in strangers
        for name, body in (
            ("authorize", scene.call()),
            ("usage", {"events": [scene.event()]}),
            ("authorize", {}),
        )
        if (answer := Client(secret).post(name, body))
    }
    assert len(answers) == 1
    for header in ("Basic abc", "Bearer", f"Token {scene.client.secret}", scene.client.secret):
        assert Client().post("authorize", scene.call(), authorization=header).status == 401
    assert (
        Client().post("authorize", scene.call(), authorization=f"bearer  {scene.client.secret}").status == 200
    )


def test_credentials_that_ended_say_so_only_to_who_knows_the_secret(scene: Scene) -> None:
    expired, expired_secret = issue_api_key(project=scene.project, name="expired", actor=ACTOR)
    with transaction.atomic():
        known = Subject.objects.get(pk=f"s:{expired.key_id}")
        subjects.put(known.key, {**known.data, "expires": int(timezone.now().timestamp()) - 1})
    revoke_api_key(key=scene.key, actor=ACTOR)
    for secret, key_id, code in (
        (scene.secret, scene.key.key_id, "credential_revoked"),
        (expired_secret, expired.key_id, "credential_expired"),
    ):
        answer = scene.client.post("authorize", scene.call(credential=secret))
        assert (answer.status, answer.code) == (401, code)
        assert "request" not in answer.json
        assert key_id not in answer.raw.decode()
        assert scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=secret).code == code
        guessed = generate("api_key", key_id)[1]
        assert scene.client.post("authorize", scene.call(credential=guessed)).code == "credential_unknown"
