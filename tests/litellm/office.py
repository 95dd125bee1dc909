"""The portal's office: a process that sets things up and looks things up, one JSON line for each request."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

import django

django.setup()

from audit.actors import Actor  # noqa: E402
from portal.accounts.models import Person  # noqa: E402
from portal.decision import jobs  # noqa: E402
from portal.decision.services import set_limit, set_price  # noqa: E402
from portal.gateway.services import register_gateway  # noqa: E402
from portal.lib.money import from_nano  # noqa: E402
from portal.spend.models import LedgerRow, Refusal  # noqa: E402
from projects.models import Project  # noqa: E402
from projects.services import create_project, label_of  # noqa: E402
from tokens.models import UserToken  # noqa: E402
from tokens.services import issue_token, revoke_token  # noqa: E402

_ACTOR = Actor.command("tests")


def gateway(name: str) -> dict[str, Any]:
    """Register a gateway."""
    found, secret = register_gateway(name=name, actor=_ACTOR)
    return {"id": found.key_id, "secret": secret}


def price(model: str, **amounts: Any) -> None:
    """Put a model into the price book."""
    wanted: dict[str, Any] = {
        name: value if name in ("ceiling", "context_window") else Decimal(value)
        for name, value in amounts.items()
    }
    set_price(model=model, actor=_ACTOR, **wanted)


def project(code: str, limits: list[dict[str, Any]], daily_limit: str | None = None) -> dict[str, Any]:
    """Create a project with limits and a token of it."""
    person, _ = Person.objects.get_or_create(email="carol@example.com", defaults={"name": "Carol Weber"})
    made = create_project(
        code=code, name=f"Project {code}", owners=[person], daily_limit=daily_limit, actor=_ACTOR
    )
    for limit in limits:
        set_limit(scope_key=f"p:{made.pk}", label=label_of(made), project=made.pk, actor=_ACTOR, **limit)
    token, secret = issue_token(project=made, person=person, name="laptop", actor=_ACTOR)
    return {"id": token.key_id, "secret": secret}


def revoke(key_id: str) -> None:
    """Revoke a user token."""
    revoke_token(token=UserToken.objects.get(key_id=key_id), actor=_ACTOR)


def usage(code: str) -> list[dict[str, Any]]:
    """Return what is booked for a project, in order."""
    jobs.move_usage()
    rows = LedgerRow.objects.filter(project=Project.objects.get(code=code).pk).order_by(
        "arrived", "request_id"
    )
    fields = (
        "kind",
        "request_id",
        "model",
        "status",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
    )
    return [
        {name: getattr(row, name) for name in (*fields, "output_tokens", "reasoning_tokens", "credential")}
        | {
            "spend": str(from_nano(row.spend)),
            "has_reservation": row.reserved is not None,
            "cost": row.gateway_cost,
        }
        for row in rows
    ]


def refusals(code: str) -> list[dict[str, Any]]:
    """Return the refusals of a project."""
    jobs.move_refusals()
    rows = Refusal.objects.filter(project=Project.objects.get(code=code).pk).order_by("occurred")
    return [{"code": row.code, "decision_id": str(row.decision_id), "count": row.count} for row in rows]


def held(code: str) -> int:
    """Return how many calls of the project are in flight, as its limit on them counts."""
    from portal.decision.decide import explain

    token = UserToken.objects.filter(project__code=code).first()
    assert token is not None
    rows = explain(token.key_id, model="good").rows
    return next(row.used for row in rows if row.metric == "concurrency")


if __name__ == "__main__":
    work: dict[str, Any] = {
        work.__name__: work for work in (gateway, price, project, revoke, usage, refusals, held)
    }
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"answer": work[name](**arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
