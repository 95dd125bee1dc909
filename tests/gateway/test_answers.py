"""What the Gateway API answers: each endpoint, each status, in the shape it is described in."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from apikeys.services import issue_api_key, revoke_api_key
from audit.actors import Actor
from portal.decision import check, decide, jobs, rebuild, services, subjects, valkey
from portal.decision.models import Subject
from portal.lib.errors import Unavailable
from portal.lib.secrets import generate
from portal.spend import inbox, scopes
from portal.spend.models import Limit, LimitAlert, ModelAlias, UnpricedModel
from projects.services import set_project_state, update_project
from tests.gateway.client import Client
from tests.gateway.conftest import Scene

ACTOR = Actor.system()


def limit(scope: str, metric: str, window: str, amount: Any, model: str = "") -> None:
    services.set_limit(
        scope_key=scope, label="Project Claims", metric=metric, window=window, model=model, amount=amount, actor=ACTOR
    )  # fmt: skip


def test_a_call_is_allowed_repeated_renewed_and_given_back(scene: Scene) -> None:
    answer = scene.client.post("authorize", scene.call())
    assert answer.status == 200
    assert answer.json["reserved"] == "0.00003"
    assert answer.json["project"] == "claims"
    assert answer.json["credential_id"] == scene.key.key_id
    (row,) = answer.json["limits"]
    assert (row["scope"], row["limit"], row["used"], row["remaining"]) == (
        "project",
        "1",
        "0.00003",
        "0.99997",
    )
    again = scene.client.post("authorize", scene.call())
    assert again.json["reservation_id"] == answer.json["reservation_id"]
    held = {"reservation_id": answer.json["reservation_id"]}
    assert scene.client.post("extend", held).status == 200
    assert scene.other.post("extend", held).status == 404
    assert scene.other.post("release", held).status == 404
    assert scene.client.post("release", held).status == 204
    assert scene.client.post("release", held).status == 204
    assert scene.client.post("extend", held).code == "reservation_closed"
    assert scene.client.post("authorize", scene.call()).code == "request_id_reused"
    assert scene.other.post("authorize", scene.call()).status == 200


def test_a_sent_call_of_which_no_usage_will_come_is_estimated_at_once(scene: Scene) -> None:
    reserved = scene.client.post("authorize", scene.call()).json["reservation_id"]
    sent = {"reservation_id": reserved, "is_sent": True}
    assert scene.other.post("release", sent).status == 404
    assert scene.client.post("release", {**sent, "is_sent": "yes"}).status == 422
    for _ in range(2):  # a shipper that was killed says it again
        assert scene.client.post("release", sent).status == 204
    assert scene.client.post("extend", {"reservation_id": reserved}).code == "reservation_closed"
    assert jobs.expire_reservations() == 1
    (limit,) = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).json["limits"]
    assert limit["used"] == "0.00003"
    assert scene.client.post("release", sent).status == 204
    assert jobs.expire_reservations() == 0
    # Usage that comes after all takes the estimate's place.
    late = scene.event(reservation_id=reserved, input_tokens=1, output_tokens=0)
    assert scene.client.post("usage", {"events": [late]}).json["accepted"] == 1
    (limit,) = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).json["limits"]
    assert limit["used"] == "0.000001"


def test_a_call_whose_answer_envoy_did_not_hear_is_released_by_envoys_name_for_it(scene: Scene) -> None:
    name = "1795554594122-5694a24c-54ad-4e90-8a48-88d45419e127"
    ask: dict[str, Any] = {
        "authorization": f"Bearer {scene.secret}",
        "x_llm_gateway": scene.client.secret,
        "x_llm_model": "small",
        "x_llm_call_id": name,
    }
    before = left(scene)
    path = "/gateway/v1/ext_authz/v1/chat/completions"
    answer = Client().ask("POST", path, {"messages": [], "max_tokens": 5}, **ask)
    assert answer.status == 200
    request_id = uuid.UUID(answer.headers["x-llm-request-id"])
    assert (request_id.version, request_id.int >> 80) == (7, 1795554594122)
    assert left(scene) != before
    assert scene.other.post("release", {"call_id": name}).status == 204
    assert left(scene) != before  # it is the other gateway's name for another call
    for _ in range(2):
        assert scene.client.post("release", {"call_id": name}).status == 204
    assert left(scene) == before
    assert scene.client.post("release", {"call_id": "never heard of"}).status == 204


@pytest.mark.parametrize(
    "more", [{"is_sent": True}, {"reservation_id": "x"}, {"call_id": ""}, {"call_id": 7}]
)
def test_a_release_names_one_thing(scene: Scene, more: dict[str, object]) -> None:
    assert scene.client.post("release", {"call_id": "17-name", **more}).status == 422


def left(scene: Scene) -> str:
    """Return what is left of the project's day."""
    (limit,) = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).json["limits"]
    return str(limit["remaining"])


def test_the_same_request_id_with_other_content_is_refused(scene: Scene) -> None:
    assert scene.client.post("authorize", scene.call()).status == 200
    other = issue_api_key(project=scene.project, name="other", actor=ACTOR)[1]
    for more in (
        {"input_tokens": 11},
        {"max_output_tokens": 9},
        {"n": 2},
        {"credential": other},
        {"input_bytes": 5},
    ):
        assert scene.client.post("authorize", scene.call(**more)).code == "request_id_reused"


def test_usage_is_accepted_once_and_bad_events_stand_alone(scene: Scene) -> None:
    reservation = scene.client.post("authorize", scene.call()).json["reservation_id"]
    events = [
        scene.event(reservation_id=reservation, cost="0.00002"),
        scene.event("stranger"),
        scene.event("direct", credential_id=scene.key.key_id, cached_input_tokens=4, reasoning_tokens=5),
        scene.event("parts", credential_id=scene.key.key_id, cached_input_tokens=8, cache_write_tokens=3),
        scene.event("forged", reservation_id=reservation),
        scene.event("null", input_tokens=None),
        "no object",
        scene.event("request"),
    ]
    report = scene.client.post("usage", {"events": events}).json
    assert (report["accepted"], report["duplicates"]) == (2, 1)
    assert [(item["index"], item["code"]) for item in report["rejected"]] == [
        (1, "unattributed"),
        (3, "invalid"),
        (4, "not_found"),
        (5, "invalid"),
        (6, "invalid"),
    ]
    again = scene.client.post("usage", {"events": events[:3]}).json
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    foreign = scene.other.post("usage", {"events": [scene.event("mine", reservation_id=reservation)]}).json
    assert [item["code"] for item in foreign["rejected"]] == ["not_found"]
    assert scene.client.post("authorize", scene.call()).code == "request_id_reused"
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}


def test_an_exhausted_limit_names_what_binds_and_when_to_come_again(scene: Scene) -> None:
    limit(scopes.project(scene.project.pk), "requests", "month", 1)
    limit(scopes.project(scene.project.pk), "requests", "minute", 1, model="sm*")
    assert scene.client.post("authorize", scene.call()).status == 200
    answer = scene.client.post("authorize", scene.call("next"))
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["binding"]["window"] == "month"
    assert {row["window"] for row in answer.json["failed"]} == {"month", "minute"}
    assert answer.json["retryable"] is True
    assert answer.json["request_id"] == "next"
    large = scene.client.post("authorize", scene.call("large", input_tokens=10**9))
    assert large.json["retryable"] is False
    assert "smaller than this call" in large.json["detail"]


def test_calls_in_flight_come_last_and_say_try_again_at_once(scene: Scene) -> None:
    limit(scopes.project(scene.project.pk), "concurrency", "none", 1)
    assert scene.client.post("authorize", scene.call()).status == 200
    answer = scene.client.post("authorize", scene.call("next"))
    assert (answer.headers["retry-after"], answer.json["binding"]["resets_at"]) == ("1", None)
    limit(scopes.project(scene.project.pk), "requests", "day", 1)
    assert scene.client.post("authorize", scene.call("next")).json["binding"]["metric"] == "requests"


def test_the_checks_before_limits_come_in_their_order(scene: Scene) -> None:
    limit(scopes.project(scene.project.pk), "requests", "day", 0)
    put = Subject.objects.get(key=f"s:{scene.key.key_id}")

    def change(**data: Any) -> None:
        with transaction.atomic():
            subjects.put(put.key, {**Subject.objects.get(pk=put.pk).data, **data})

    def code(**more: Any) -> str:
        return scene.client.post("authorize", scene.call("checks", **more)).code

    assert code() == "limit_exceeded"
    assert code(model="unknown") == "model_unpriced"
    project = update_project(project=scene.project, allowed_models=["large*"], actor=ACTOR)
    assert code(model="unknown") == code() == "model_not_allowed"
    set_project_state(project=project, state="paused", actor=ACTOR)
    assert code() == "project_inactive"
    change(networks=["0" * 128])
    assert code() == code(client_ip="192.0.2.1") == "address_not_allowed"
    change(is_member=False)
    assert code() == "not_a_member"
    change(expires=int(timezone.now().timestamp()))
    assert code() == "credential_expired"
    change(state="suspended")
    assert code() == "credential_suspended"
    revoke_api_key(key=scene.key, actor=ACTOR)
    assert code() == "credential_revoked"
    assert code(credential=generate("api_key")[1]) == "credential_unknown"
    jobs.move_refusals()
    assert UnpricedModel.objects.get().model == "unknown"


def test_a_model_without_ceiling_and_cap_is_unpriced_and_an_alias_is_its_model(scene: Scene) -> None:
    services.set_price(model="open", input=Decimal(1), output=Decimal(1), actor=ACTOR)
    services.add_prices([], [ModelAlias(alias="gateway/open", model="open")], actor=ACTOR, comment="")
    with transaction.atomic():
        subjects.put_configuration()
    call = scene.call("no cap", model="gateway/open")
    del call["max_output_tokens"]
    assert scene.client.post("authorize", call).code == "model_unpriced"
    assert scene.client.post("authorize", call | {"max_output_tokens": 5}).json["reserved"] == "0.000015"


def test_the_holder_of_a_credential_sees_what_is_left(scene: Scene) -> None:
    scene.client.post("authorize", scene.call())
    answer = scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret)
    assert answer.json["limits"][0]["remaining"] == "0.99997"
    limit(scopes.project(scene.project.pk), "requests", "day", 0)
    assert scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).status == 200
    assert scene.client.ask("GET", "/gateway/v1/me", x_llm_credential="").code == "credential_unknown"
    assert scene.client.ask("GET", "/gateway/v1/me").code == "credential_unknown"
    assert Client().ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).code == "gateway_unknown"
    assert scene.client.ask("HEAD", "/gateway/v1/me", x_llm_credential=scene.secret).raw == b""


def test_probes_and_the_description_need_no_secret(scene: Scene) -> None:
    stranger = Client()
    assert stranger.ask("GET", "/livez").json == {"status": "ok"}
    assert stranger.ask("GET", "/readyz").json["status"] == "ok"
    assert stranger.ask("GET", "/gateway/v1/openapi.json").json["openapi"] == "3.1.0"


def test_without_valkey_usage_is_committed_and_the_portal_is_degraded(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = scene.client.post("authorize", scene.call()).json["reservation_id"]

    def away(*_: Any) -> None:
        raise Unavailable("Valkey cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(valkey, "command", away)
        assert scene.client.ask("GET", "/readyz").json == {"status": "degraded", "degraded": ["valkey"]}
        assert scene.client.post("authorize", scene.call("next")).status == 503
        report = scene.client.post("usage", {"events": [scene.event(reservation_id=reservation)]})
        assert report.json["accepted"] == 1
        assert Client(scene.secret).post("usage", {"events": [scene.event("x")]}).code == "gateway_unknown"
    assert inbox.size() == 1
    assert jobs.move_usage() == 1
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}


def test_a_mistake_of_ours_is_a_problem_document(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(decide, "authorize", broken)
    answer = scene.client.post("authorize", scene.call())
    assert (answer.status, answer.code) == (500, "internal")


def test_a_threshold_is_reported_once_and_drift_is_found_and_repaired(scene: Scene) -> None:
    scene.client.post(
        "usage", {"events": [scene.event(credential_id=scene.key.key_id, input_tokens=960_000)]}
    )
    first, second = check.check_limits(ACTOR), check.check_limits(ACTOR)
    assert (first.alerts, second.alerts) == (3, 0)
    assert list(LimitAlert.objects.order_by("threshold").values_list("threshold", flat=True)) == [50, 80, 95]
    key = f"k:p:{scene.project.pk}|spend|day|"
    assert Limit.objects.count() == 1
    assert valkey.command("DEL", key) == 1
    assert len(check.reconcile()["counters"]) == 1
    assert [difference.counter for difference in check.check_limits(ACTOR).drift] == [key]
    assert check.reconcile() == {"counters": [], "reserved": [], "roll_ups": []}
    scene.client.post("authorize", scene.call("another"))
    valkey.command("DEL", "x")
    assert len(check.reconcile()["reserved"]) == 1
    rebuild.rebuild("a test")
    assert check.reconcile()["reserved"] == []


def test_an_answer_names_the_failure_policy_that_the_gateway_is_to_remember(scene: Scene) -> None:
    answer = scene.client.ask("POST", "/gateway/v1/authorize", scene.call("first"))
    assert answer.json["failure_policy"] == {"mode": "closed", "amount": "0"}, answer.json
    services.update_organization(failure_policy="open", failure_amount=25 * 10**8, actor=Actor.system())
    answer = scene.client.ask("POST", "/gateway/v1/authorize", scene.call("second"))
    assert answer.json["failure_policy"] == {"mode": "open", "amount": "2.5"}
