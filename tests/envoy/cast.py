"""People, projects, prices and credentials behind Envoy: ``python -m tests.envoy.cast`` makes them, prints secrets."""

import json
import os
import sys
from decimal import Decimal

import django

MODEL = "gpt-4o-mini"


def main() -> None:
    """Create everything once."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()

    from django.db import transaction

    from apikeys.services import issue_api_key
    from audit.actors import Actor
    from portal.accounts.models import Person
    from portal.decision import subjects
    from portal.decision.models import Subject
    from portal.decision.services import set_limit, set_price
    from portal.gateway.services import register_gateway
    from portal.spend import scopes
    from projects.services import create_project, label_of
    from tokens.services import issue_token, revoke_token

    actor = Actor.command("tests")
    zoe = Person.objects.create(name="Zoë Lindqvist", email="zoë@northgate.example")
    set_price(
        model=MODEL,
        input=Decimal("0.15"),
        output=Decimal("0.60"),
        cached_input=Decimal("0.075"),
        ceiling=16384,
        context_window=128000,
        actor=actor,
    )
    triage = create_project(code="triage", name="Claims triage", owners=[zoe], actor=actor)
    small = create_project(code="small", name="Small change", owners=[zoe], actor=actor)
    set_limit(
        scope_key=scopes.project(small.pk),
        label=label_of(small),
        metric="requests",
        window="day",
        amount=0,
        actor=actor,
    )
    # Wide enough for everything; `me` says how many calls are in flight.
    set_limit(
        scope_key=scopes.project(triage.pk),
        label=label_of(triage),
        metric="concurrency",
        window="none",
        amount=1_000_000,
        actor=actor,
    )
    token, secret = issue_token(project=triage, person=zoe, name="Laptop", actor=actor)
    local, local_secret = issue_token(project=triage, person=zoe, name="At home", actor=actor)
    remote, remote_secret = issue_token(project=triage, person=zoe, name="At work", actor=actor)
    for credential, networks in ((local, ["127.0.0.0/8"]), (remote, ["10.1.0.0/16"])):
        data = Subject.objects.get(pk=f"s:{credential.key_id}").data
        with transaction.atomic():
            subjects.put_credential(
                key_id=credential.key_id,
                kind="user_token",
                pepper_id=credential.pepper_id,
                digest=bytes(credential.digest),
                state="active",
                expires=credential.expires,
                project=triage.pk,
                person=zoe.pk,
                networks=networks,
                user=data["user"],
            )
    gone, gone_secret = issue_token(project=triage, person=zoe, name="Lost", actor=actor)
    revoke_token(token=gone, actor=actor)
    _, small_secret = issue_token(project=small, person=zoe, name="Small", actor=actor)
    _, key_secret = issue_api_key(project=triage, name="Nightly job", actor=actor)
    gateway, gateway_secret = register_gateway(name="Envoy", actor=actor)
    document = {
        "token": secret,
        "credential": token.key_id,
        "local": local_secret,
        "remote": remote_secret,
        "revoked": gone_secret,
        "exhausted": small_secret,
        "api_key": key_secret,
        "gateway": gateway_secret,
        "gateway_id": gateway.key_id,
    }
    sys.stdout.write(json.dumps(document))


if __name__ == "__main__":
    main()
