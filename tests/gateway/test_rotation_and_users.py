"""A key whose secret was rotated works with both for a while; a key that is trusted to names the user of a call."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.actors import Actor
from portal.credentials import digests
from portal.decision import rebuild, services, subjects, valkey
from portal.spend import scopes
from tests import factories
from tests.gateway.conftest import Scene

ACTOR = Actor.system()


def put_key(scene: Scene, **more: Any) -> None:
    facts: dict[str, Any] = {
        "key_id": scene.key.key_id,
        "kind": "api_key",
        "pepper_id": scene.key.pepper_id,
        "digest": bytes(scene.key.digest),
        "state": "active",
        "expires": None,
        "project": scene.project.pk,
        "user": "key",
    }
    with transaction.atomic(durable=True):
        subjects.put_credential(**(facts | more))


def rotate(scene: Scene, until: Any) -> str:
    new = digests.issue("api_key", key_id=scene.key.key_id)
    old = (scene.key.pepper_id, bytes(scene.key.digest), until)
    put_key(scene, pepper_id=new.pepper_id, digest=new.digest, previous=old)
    return new.secret


def trust(scene: Scene, users: dict[str, tuple[int, str]]) -> None:
    put_key(scene, names_users=True)
    with transaction.atomic(durable=True):
        subjects.put_named_users(scene.project.pk, users)


def limit(scope: str, metric: str, amount: int, window: str = "day") -> None:
    services.set_limit(
        scope_key=scope, label="Limit", metric=metric, window=window, amount=amount, actor=ACTOR
    )


def test_both_secrets_of_a_rotated_key_work_and_share_its_limits(scene: Scene) -> None:
    limit(scopes.credential(scene.key.key_id), "requests", 3)
    new = rotate(scene, timezone.now() + timedelta(hours=1))
    for number, secret in enumerate((scene.secret, new, scene.secret)):
        answer = scene.client.post("authorize", scene.call(f"r{number}", credential=secret))
        assert answer.status == 200
        assert answer.json["credential_id"] == scene.key.key_id
    # One counter for both, and a call that is repeated is the same call under either.
    assert scene.client.post("authorize", scene.call("r9", credential=new)).status == 429
    assert scene.client.post("authorize", scene.call("r0", credential=new)).status == 200
    for secret in (scene.secret, new):
        assert scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=secret).status == 200


def test_after_the_deadline_only_the_new_secret_works(scene: Scene) -> None:
    new = rotate(scene, timezone.now() - timedelta(seconds=1))
    assert scene.client.post("authorize", scene.call("a")).code == "credential_unknown"
    assert (
        scene.client.ask("GET", "/gateway/v1/me", x_llm_credential=scene.secret).code == "credential_unknown"
    )
    assert scene.client.post("authorize", scene.call("b", credential=new)).status == 200


def test_the_deadline_survives_a_rebuild(scene: Scene) -> None:
    new = rotate(scene, timezone.now() + timedelta(hours=1))
    valkey.command("FLUSHALL")
    rebuild.ensure_ready()
    assert scene.client.post("authorize", scene.call("a")).status == 200
    assert scene.client.post("authorize", scene.call("b", credential=new)).status == 200


def test_the_use_of_each_secret_is_noted_apart(scene: Scene) -> None:
    new = rotate(scene, timezone.now() + timedelta(hours=1))
    scene.client.post("authorize", scene.call("a", client_ip="192.0.2.1"))
    scene.client.post("authorize", scene.call("b", credential=new, client_ip="192.0.2.2"))
    scene.client.post("authorize", scene.call("c", credential=scene.secret[:-1] + "!", client_ip="192.0.2.3"))
    noted = [
        valkey.command("HGET", "seen", f"{scene.key.key_id}{suffix}").decode().split("|")
        for suffix in ("~", "")
    ]
    assert [row[1:] for row in noted] == [[scene.gateway, "192.0.2.1"], [scene.gateway, "192.0.2.2"]]


def test_a_trusted_key_names_the_user_whose_limits_apply(scene: Scene) -> None:
    ann, bob = factories.person("ann"), factories.person("bob")
    limit(scopes.project_each_user(scene.project.pk), "requests", 1)
    limit(scopes.user(bob.pk), "requests", 0)
    trust(scene, {"ann@example.com": (ann.pk, "Ann"), "bob@example.com": (bob.pk, "Bob")})
    answer = scene.client.post("authorize", scene.call("a", user="Ann@Example.com"))
    assert (answer.status, answer.json["user"]) == (200, "Ann")
    refused = scene.client.post("authorize", scene.call("b", user="ann@example.com"))
    assert refused.json["binding"]["scope"] == "project_user"
    refused = scene.client.post("authorize", scene.call("c", user="bob@example.com"))
    assert refused.json["binding"]["scope"] == "user"
    # Without a user the call is the key's own.
    own = scene.client.post("authorize", scene.call("d"))
    assert (own.status, own.json["user"]) == (200, "key")
    # The same call made for somebody else is another call.
    assert scene.client.post("authorize", scene.call("d", user="ann@example.com")).code == "request_id_reused"


def test_usage_belongs_to_the_user_the_call_named(scene: Scene) -> None:
    ann = factories.person("ann")
    limit(scopes.user(ann.pk), "spend", 1)
    trust(scene, {"ann@example.com": (ann.pk, "Ann")})
    held = scene.client.post("authorize", scene.call(user="ann@example.com")).json["reservation_id"]
    scene.client.post("usage", {"events": [scene.event(reservation_id=held)]})
    rows = scene.client.post("authorize", scene.call("next", user="ann@example.com")).json["limits"]
    assert next(row["used"] for row in rows if row["scope"] == "user") == "0.00005"


def test_a_user_nobody_knows_is_refused(scene: Scene) -> None:
    trust(scene, {"ann@example.com": (factories.person("ann").pk, "Ann")})
    for number, user in enumerate(("eve@example.com", "x", " ")):
        status = 200 if user == " " else 403
        assert scene.client.post("authorize", scene.call(f"r{number}", user=user)).status == status
    trust(scene, {})
    assert scene.client.post("authorize", scene.call("ann", user="ann@example.com")).code == "not_a_member"


def test_the_named_users_survive_a_rebuild(scene: Scene) -> None:
    trust(scene, {"ann@example.com": (factories.person("ann").pk, "Ann")})
    valkey.command("FLUSHALL")
    rebuild.ensure_ready()
    answer = scene.client.post("authorize", scene.call(user="ann@example.com"))
    assert (answer.status, answer.json["user"]) == (200, "Ann")


def test_a_key_without_that_trust_ignores_the_user(scene: Scene) -> None:
    ann = factories.person("ann")
    with transaction.atomic(durable=True):
        subjects.put_named_users(scene.project.pk, {"ann@example.com": (ann.pk, "Ann")})
    for number, user in enumerate(("ann@example.com", "eve@example.com")):
        answer = scene.client.post("authorize", scene.call(f"r{number}", user=user))
        assert (answer.status, answer.json["user"]) == (200, "key")
