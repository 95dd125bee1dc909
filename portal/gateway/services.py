"""Register and revoke gateways."""

from django.db import transaction
from django.utils import timezone

from audit.actions import Action
from audit.actors import Actor, Target
from audit.services import record
from portal.credentials import digests
from portal.decision import subjects
from portal.gateway.models import Gateway
from portal.lib.errors import RuleBroken
from portal.lib.names import checked_name


def target_of(gateway: Gateway) -> Target:
    """Return the gateway as the audit log names it."""
    return Target("gateway", gateway.key_id, f"{gateway.name} ({gateway.hint})")


@transaction.atomic(durable=True)
def register_gateway(*, name: str, actor: Actor, reason: str = "") -> tuple[Gateway, str]:
    """Register a gateway that serves all projects; return it with its secret, which is kept nowhere."""
    name = checked_name(name)
    if Gateway.objects.filter(name=name, revoked__isnull=True).exists():
        raise RuleBroken(f"A gateway named {name} is registered. Choose another name.", field="name")
    issued = digests.issue("gateway")
    gateway = Gateway.objects.create(
        key_id=issued.key_id,
        pepper_id=issued.pepper_id,
        digest=issued.digest,
        hint=issued.hint,
        created_by=actor.display,
        name=name,
    )
    _publish(gateway, "active")
    record(
        Action.GATEWAY_REGISTERED,
        actor=actor,
        target=target_of(gateway),
        changes={"name": (None, name)},
        comment=reason,
    )
    return gateway, issued.secret


@transaction.atomic(durable=True)
def rotate_gateway(*, gateway: Gateway, actor: Actor, reason: str = "") -> tuple[Gateway, str]:
    """Give the gateway another secret under the same id; the old one is refused from the next request on."""
    gateway = Gateway.objects.select_for_update().get(pk=gateway.pk)
    if gateway.revoked:
        raise RuleBroken(f"{gateway.name} is revoked. Register a new gateway.")
    before = gateway.hint
    issued = digests.issue("gateway", key_id=gateway.key_id)
    gateway.pepper_id, gateway.digest, gateway.hint = issued.pepper_id, issued.digest, issued.hint
    gateway.save(update_fields=["pepper_id", "digest", "hint"])
    _publish(gateway, "suspended" if gateway.suspended else "active")
    record(
        Action.GATEWAY_ROTATED,
        actor=actor,
        target=target_of(gateway),
        changes={"hint": (before, gateway.hint)},
        comment=reason,
    )
    return gateway, issued.secret


def suspend_gateway(*, gateway: Gateway, actor: Actor, reason: str = "") -> Gateway:
    """Switch the gateway off for the time being; its very next request is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        gateway = _current(gateway)
        if gateway.suspended is None:
            gateway.suspended = timezone.now()
            _switch(gateway, "suspended", Action.GATEWAY_SUSPENDED, actor, reason)
    return gateway


@transaction.atomic(durable=True)
def resume_gateway(*, gateway: Gateway, actor: Actor, reason: str = "") -> Gateway:
    """Switch a suspended gateway on again."""
    gateway = _current(gateway)
    if gateway.suspended is not None:
        gateway.suspended = None
        _switch(gateway, "active", Action.GATEWAY_RESUMED, actor, reason)
    return gateway


def _current(gateway: Gateway) -> Gateway:
    gateway = Gateway.objects.select_for_update().get(pk=gateway.pk)
    if gateway.revoked:
        raise RuleBroken(f"{gateway.name} is revoked. Register a new gateway.")
    return gateway


def _switch(gateway: Gateway, state: str, action: Action, actor: Actor, reason: str) -> None:
    gateway.save(update_fields=["suspended"])
    _publish(gateway, state)
    is_on = gateway.suspended is None
    record(
        action, actor=actor, target=target_of(gateway), changes={"is_on": (not is_on, is_on)}, comment=reason
    )


def revoke_gateway(*, gateway: Gateway, actor: Actor, reason: str = "") -> Gateway:
    """Revoke the gateway for good; its very next request is refused."""
    with subjects.denying(), transaction.atomic(durable=True):
        gateway = Gateway.objects.select_for_update().get(pk=gateway.pk)
        if gateway.revoked:
            return gateway
        gateway.revoked = timezone.now()
        gateway.save(update_fields=["revoked"])
        _publish(gateway, "revoked")
        record(
            Action.GATEWAY_REVOKED,
            actor=actor,
            target=target_of(gateway),
            changes={"revoked": (None, gateway.revoked)},
            comment=reason,
        )
    return gateway


def _publish(gateway: Gateway, state: str) -> None:
    subjects.put_gateway(
        key_id=gateway.key_id,
        pepper_id=gateway.pepper_id,
        digest=bytes(gateway.digest),
        state=state,
        name=gateway.name,
    )
