"""Settings → Organization and its limits."""

import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.actors import Target
from portal.accounts.access import can, person_of, refuse_unless, require
from portal.accounts.actors import actor_of
from portal.accounts.policy import Right
from portal.approvals.selectors import policy, waiting_raises
from portal.decision.forms import LimitForm
from portal.decision.limits import LimitSheet, Place, chain, deciding
from portal.decision.services import update_organization
from portal.lib.errors import RuleBroken
from portal.organization.forms import OrganizationForm
from portal.organization.models import Organization
from portal.organization.pages import tabs
from portal.organization.resets import next_resets, zone_names
from portal.organization.selectors import current
from portal.spend import inbox, scopes
from portal.spend.selectors import calendar
from portal.web.forms import posted
from portal.web.htmx import saved


@require_http_methods(["GET", "POST"])
@require(Right.SEE_SETTINGS)
def settings(request: HttpRequest) -> HttpResponse:
    """Show the settings; those who manage the organization change them."""
    organization, is_fixed = current(), inbox.has_usage()
    may_change = _may_change(request, organization)
    form = OrganizationForm(posted(request), organization=organization, is_currency_fixed=is_fixed)
    if form.is_valid():
        values = form.values
        try:
            update_organization(
                actor=actor_of(request), seen=form.seen, reason=values.pop("reason"), **values
            )
        except RuleBroken as broken:
            form.add_broken_rule(broken)
        else:
            return saved(request, to=reverse("organization:settings"), toast="Settings saved")
    context = {
        "tabs": tabs(request, "organization"),
        "organization": organization,
        "form": form,
        "is_currency_fixed": is_fixed,
        "may_change": may_change,
        "zones": zone_names() if may_change else [],
        **_resets(organization, form["time_zone"].value() or ""),
    }
    return render(request, "organization/settings.html", context, status=422 if form.errors else 200)


@require_GET
@require(Right.SEE_SETTINGS)
def resets(request: HttpRequest) -> HttpResponse:
    """Show the next resets in the time zone that is typed; nothing is saved."""
    context = _resets(current(), request.GET.get("time_zone", "").strip()[:64])
    return render(request, "organization/_resets.html", context)


@require_http_methods(["GET", "POST"])
@require(Right.SEE_SETTINGS)
def limits(request: HttpRequest) -> HttpResponse:
    """Show the organization's limits; those who manage the organization change them."""
    organization, here = current(), reverse("organization:limits")
    may_change, sheet, now = (
        _may_change(request, organization),
        _sheet(organization),
        calendar(organization.zone),
    )
    form = LimitForm(posted(request), sheet=sheet, currency=organization.currency)
    if form.is_valid() and form.save(actor=actor_of(request)):
        return saved(request, to=here, toast=form.toast("Limits of the organization saved"))
    levels = chain(sheet.places, now)
    context: dict[str, Any] = {
        "tabs": tabs(request, "limits"),
        "levels": levels,
        "deciding": deciding(levels),
        "others": [(level, limit) for level in levels for limit in level.others],
        "raises": waiting_raises(),
        "raise_of": "",
        "may_ask": may_change,
    }
    if may_change:
        context |= {
            "form": form,
            "form_title": "Change the organization’s limits",
            "preview": form.preview(now),
            "preview_url": reverse("organization:limits_preview"),
            "back": here,
        }
    return render(request, "organization/limits.html", context, status=422 if form.errors else 200)


@require_POST
@require(Right.MANAGE_ORGANIZATION)
def limits_preview(request: HttpRequest) -> HttpResponse:
    """Show what saving the typed limits would do; nothing is saved."""
    organization = current()
    form = LimitForm(request.POST, sheet=_sheet(organization), currency=organization.currency)
    form.is_valid()
    context = {"form": form, "preview": form.preview(calendar(organization.zone))}
    return render(request, "components/_limit_preview.html", context)


def _may_change(request: HttpRequest, organization: Organization) -> bool:
    """Tell whether the person may change the organization; an attempt without the right is refused."""
    may_change = can(person_of(request), Right.MANAGE_ORGANIZATION)
    is_allowed = may_change or request.method != "POST"
    refuse_unless(is_allowed, request, Right.MANAGE_ORGANIZATION, _target(organization))
    return may_change


def _sheet(organization: Organization) -> LimitSheet:
    return LimitSheet(
        scope_key=scopes.ORGANIZATION,
        label=organization.name,
        places=[
            Place(scopes.ORGANIZATION, "Organization", organization.name, "building-2"),
            Place(scopes.EACH_USER, "Each user", "Over all projects", "user"),
        ],
        each_user_key=scopes.EACH_USER,
        target=_target(organization),
        most_raise=policy().most_raise,
    )


def _target(organization: Organization) -> Target:
    return Target("organization", "1", organization.name)


def _resets(organization: Organization, name: str) -> dict[str, Any]:
    """Return what the preview shows; no resets when the name is no time zone."""
    is_known = name in zone_names() or name == organization.time_zone
    return {
        "zone_name": name,
        "zone_before": organization.time_zone,
        "is_zone_changed": name != organization.time_zone,
        "resets": next_resets(organization.zone, name, time.time()) if is_known else [],
    }
