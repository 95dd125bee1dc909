"""The gates of messages, webhooks, deliveries and the limits that alerts are about."""

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse

from apikeys.models import ApiKey
from groups.access import groups_with
from portal.accounts.access import can, person_of
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.notifications.models import Delivery, Recipient, Webhook
from portal.spend.models import Limit
from portal.spend.scopes import Scope
from projects.access import projects_with
from tokens.models import UserToken


def alerts_of(person: Person) -> QuerySet[Delivery]:
    """Return what the person was told; nobody sees what others were told as theirs."""
    return Delivery.objects.filter(person=person).select_related("message")


def nav_counts(person: Person) -> dict[str, int]:
    """Return how many alerts the person has not seen, for the navigation."""
    return {"notifications:alerts": Delivery.objects.filter(person=person, seen=None).count()}


def get_webhook(pk: int) -> Webhook:
    """Return a webhook that was not removed; the page's right is the gate."""
    return get_object_or_404(Webhook, pk=pk, removed=None)


def get_delivery(pk: int) -> Delivery:
    """Return a delivery; the page's right is the gate."""
    return get_object_or_404(Delivery.objects.select_related("message", "person", "webhook"), pk=pk)


def get_recipient(pk: int) -> Recipient:
    """Return somebody who gets every alert; the page's right is the gate."""
    return get_object_or_404(Recipient.objects.select_related("person"), pk=pk)


def page_of_limit(request: HttpRequest, pk: int) -> str:
    """Return the address of the page that shows a limit; 404 to those who may not see what it lies on."""
    limit, person = get_object_or_404(Limit, pk=pk), person_of(request)
    scope = Scope(limit.scope_key)
    project = scope.project
    if scope.code == "credential":
        return _page_of_credential(person, limit.scope_key[2:])
    if project is not None:
        code = projects_with(person).filter(pk=project).values_list("code", flat=True).first()
        return _or_404("projects:limits", code)
    if scope.group is not None:
        code = groups_with(person).filter(pk=scope.group).values_list("code", flat=True).first()
        return _or_404("groups:detail", code)
    if not can(person, Right.SEE_SETTINGS):
        raise Http404
    return reverse("organization:limits")


def _page_of_credential(person: Person, key_id: str) -> str:
    projects = projects_with(person)
    if UserToken.objects.filter(key_id=key_id, project__in=projects).exists():
        return reverse("tokens:detail", args=[key_id])
    if ApiKey.objects.filter(key_id=key_id, project__in=projects).exists():
        return reverse("apikeys:detail", args=[key_id])
    raise Http404


def _or_404(page: str, code: str | None) -> str:
    if code is None:
        raise Http404
    return reverse(page, args=[code])
