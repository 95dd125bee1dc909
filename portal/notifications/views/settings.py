"""Settings → Notifications: who is told about what, and the webhooks."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import can, person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.decision.services import update_organization
from portal.lib.errors import RuleBroken
from portal.notifications.access import get_recipient, get_webhook
from portal.notifications.forms import ChangeForm, RecipientForm, WebhookForm
from portal.notifications.models import Delivery, Recipient, Webhook
from portal.notifications.recipients import add_recipient, remove_recipient
from portal.notifications.webhooks import (
    add_webhook,
    change_webhook,
    remove_webhook,
    rotate_secret,
    send_test,
)
from portal.organization.forms import AlertsForm
from portal.organization.pages import tabs
from portal.organization.selectors import current
from portal.web.forms import PortalForm, posted
from portal.web.htmx import render_dialog, saved

HERE = "notifications:settings"


@require_http_methods(["GET", "POST"])
@require(Right.SEE_SETTINGS)
def settings(request: HttpRequest) -> HttpResponse:
    """Show who is told about what; those who manage the organization change it."""
    organization = current()
    may_change = can(person_of(request), Right.MANAGE_ORGANIZATION)
    refuse_unless(may_change or request.method != "POST", request, Right.MANAGE_ORGANIZATION)
    form = AlertsForm(posted(request), organization=organization)
    if form.is_valid():
        try:
            update_organization(actor=actor_of(request), seen=form.seen, **form.values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=reverse(HERE), toast="Alert settings saved")
    context = {
        "tabs": tabs(request, "notifications"),
        "organization": organization,
        "form": form,
        "may_change": may_change,
        "webhooks": list(Webhook.objects.filter(removed=None)),
        "recipients": list(Recipient.objects.select_related("person").order_by("person__name", "pk")),
        "failed": Delivery.objects.filter(state=Delivery.State.FAILED).count(),
        "waiting": Delivery.objects.filter(state=Delivery.State.WAITING, attempts__gt=0).count(),
    }
    return render(request, "notifications/settings.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def add(request: HttpRequest) -> HttpResponse:
    """Add a webhook; its signing secret is in this one answer and nowhere else."""
    form = WebhookForm(posted(request), initial={"format": Webhook.Format.STANDARD})
    if form.is_valid():
        try:
            webhook, secret = add_webhook(actor=actor_of(request), **form.cleaned_data)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            if not secret:
                return saved(request, to=reverse(HERE), toast=f"Webhook {webhook.name} added")
            return _issued(request, webhook, secret, f"Webhook {webhook.name} added")
    return _dialog(request, "add", form, "Add a webhook")


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change name and kinds."""
    webhook = get_webhook(pk)
    form = ChangeForm(posted(request), webhook=webhook)
    if form.is_valid():
        try:
            change_webhook(webhook, actor=actor_of(request), seen=form.seen, **form.values)
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=reverse(HERE), toast="Webhook saved")
    return _dialog(request, "change", form, f"Change {webhook.name}", webhook)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a test message and show how it went."""
    webhook, sent = get_webhook(pk), None
    if request.method == "POST":
        sent = send_test(webhook, actor=actor_of(request))
    context = {"webhook": webhook, "sent": sent}
    title = f"Test {webhook.name}"
    return render_dialog(request, "notifications/test_dialog.html", context, title=title, back=reverse(HERE))


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a webhook another signing secret, after saying how long the old one signs too."""
    webhook, form = get_webhook(pk), PortalForm(posted(request))
    if form.is_valid():
        try:
            secret = rotate_secret(webhook, actor=actor_of(request))
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return _issued(request, webhook, secret, f"Another secret for {webhook.name}")
    return _dialog(request, "rotate", form, f"Give {webhook.name} another secret?", webhook)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a webhook, after saying what is no longer sent."""
    webhook, form = get_webhook(pk), PortalForm(posted(request))
    if form.is_valid():
        remove_webhook(webhook, actor=actor_of(request))
        return saved(request, to=reverse(HERE), toast=f"Webhook {webhook.name} removed")
    return _dialog(request, "remove", form, f"Remove {webhook.name}?", webhook)


@require_http_methods(["GET", "POST"])
@require(Right.MANAGE_ORGANIZATION)
def add_person(request: HttpRequest) -> HttpResponse:
    """Have somebody told about every alert."""
    form = RecipientForm(posted(request))
    if form.is_valid():
        try:
            recipient = add_recipient(form.cleaned_data["person"], actor=actor_of(request))
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=reverse(HERE), toast=f"{recipient.person} gets every alert")
    return _dialog(request, "recipient", form, "Tell somebody about every alert")


@require_POST
@require(Right.MANAGE_ORGANIZATION)
def remove_person(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell somebody only what concerns their roles."""
    recipient = get_recipient(pk)
    remove_recipient(recipient, actor=actor_of(request))
    return saved(request, to=reverse(HERE), toast=f"{recipient.person} gets alerts by role only")


def _dialog(
    request: HttpRequest, name: str, form: PortalForm, title: str, webhook: Webhook | None = None
) -> HttpResponse:
    return render_dialog(
        request,
        f"notifications/{name}_dialog.html",
        {"form": form, "webhook": webhook},
        title=title,
        back=reverse(HERE),
        status=422 if form.errors else 200,
    )


def _issued(request: HttpRequest, webhook: Webhook, secret: str, title: str) -> HttpResponse:
    response = render_dialog(
        request,
        "notifications/issued_dialog.html",
        {"webhook": webhook, "secret": secret, "label": "Signing secret"},
        title=title,
        back=reverse(HERE),
    )
    response["Cache-Control"] = "no-store"
    return response
