"""Template tags: icons, badges, money beside its limit, numbers, moments, table heads and form fields.

Amounts are whole nano-units. Currency and time zone come from the page's ``shell`` (``portal.web.context``), so a
template never names them.
"""

from datetime import datetime
from typing import Any

from django import template
from django.forms import BaseForm, BoundField, CheckboxInput
from django.template.context import Context
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.lib.money import NANO, format_money
from portal.web import numbers
from portal.web.htmx import UNDO

register = template.Library()

STATUS_ICONS = {"ok": "circle-check", "warn": "triangle-alert", "bad": "circle-x", "": "info", "info": "info"}


def _currency(context: Context) -> str:
    return getattr(context.get("shell"), "currency", "USD")


def _zone(context: Context) -> str:
    return getattr(context.get("shell"), "time_zone", "UTC")


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """Draw an icon of the sprite, hidden from assistive technology: ``{% icon "plus" %}``."""
    return format_html(
        '<svg class="i{}" aria-hidden="true"><use href="#i-{}"/></svg>', f" {extra}" if extra else "", name
    )


@register.simple_tag
def badge(text: str, status: str = "", icon_name: str = "") -> SafeString:
    """Show an exception, always with an icon and a word: ``{% badge "Blocked" "bad" "ban" %}``."""
    mark = icon(icon_name or STATUS_ICONS[status])
    return format_html('<span class="badge{}">{}{}</span>', f" {status}" if status else "", mark, text)


@register.simple_tag
def bar(amount: int, limit: int | None, forecast: int | None = None, status: str | None = None) -> SafeString:
    """Draw an amount against its limit, the forecast paler; nothing without a limit. It never stands alone."""
    if not limit:
        return SafeString("")
    status = numbers.level(amount, limit) if status is None else status
    shade = (
        format_html('<rect class="p" width="{}" height="100%"/>', numbers.share(forecast, limit))
        if forecast
        else SafeString("")
    )
    return format_html(
        '<svg class="bar{}" aria-hidden="true"><rect class="t" width="100%" height="100%"/>{}'
        '<rect class="f" width="{}" height="100%" rx="2"/></svg>',
        f" {status}" if status else "",
        shade,
        numbers.share(amount, limit),
    )


@register.simple_tag(takes_context=True)
def spend(context: Context, amount: int, limit: int | None = None) -> SafeString:
    """Show money against its limit, the only way to show it: ``{% spend row.spent row.limit %}``."""
    spent = format_money(amount, _currency(context))
    if limit is None:
        return format_html(
            '<div class="spend"><span>{} <small>no limit of its own</small></span></div>', spent
        )
    status = numbers.level(amount, limit)
    return format_html(
        '<div class="spend{}"><span>{} <small>of {}</small><span class="pct">{}</span></span>{}</div>',
        f" {status}" if status else "",
        spent,
        round_money(context, limit),
        "100%" if not limit else numbers.percent(amount, limit),
        bar(amount, limit) if limit else bar(1, 1),
    )


@register.simple_tag(takes_context=True)
def money(context: Context, amount: int | None, digits: int = 2) -> str:
    """Return an amount of money spent: ``$1,264.38``; a dash when it is not known."""
    return numbers.UNKNOWN if amount is None else format_money(amount, _currency(context), digits)


@register.simple_tag(takes_context=True)
def round_money(context: Context, amount: int | None) -> str:
    """Return a limit: without decimals when it is whole (``$3,000``)."""
    if amount is None:
        return numbers.UNKNOWN
    return format_money(amount, _currency(context), 2 if amount % NANO else 0)


@register.filter
def number(value: int | None) -> str:
    """Return a count with separators: ``486,210``."""
    return numbers.count(value)


@register.filter
def tokens(value: int | None) -> str:
    """Return model tokens in short: ``388 M``."""
    return numbers.short(value)


@register.filter
def email(value: str) -> SafeString | str:
    """Return an e-mail address that breaks behind its @ before it breaks within a word."""
    name, at, domain = value.rpartition("@")
    return format_html("{}@<wbr>{}", name, domain) if at else value


@register.filter
def percent(part: int, whole: int | None) -> str:
    """Return ``part`` of ``whole`` without decimals: ``{{ used|percent:limit }}``."""
    return numbers.percent(part, whole)


@register.filter
def level(part: int, limit: int | None) -> str:
    """Return ``warn`` from 80 % of the limit, ``bad`` at 100 %, else nothing."""
    return numbers.level(part, limit)


def _time(context: Context, moment: datetime | None, text: str | None, missing: str) -> SafeString:
    if moment is None or text is None:
        return format_html('<span class="muted">{}</span>', missing)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        numbers.exact(moment, _zone(context)),
        text,
    )


@register.simple_tag(takes_context=True)
def ago(context: Context, moment: datetime | None, missing: str = "never") -> SafeString:
    """Show how long ago it was, up to a day: ``{% ago key.last_used %}``."""
    return _time(context, moment, numbers.ago(moment, _zone(context)) if moment else None, missing)


@register.simple_tag(takes_context=True)
def when(context: Context, moment: datetime | None, missing: str = numbers.UNKNOWN) -> SafeString:
    """Show the day and minute: ``21 Nov, 16:08``."""
    return _time(context, moment, numbers.when(moment, _zone(context)) if moment else None, missing)


@register.simple_tag(takes_context=True)
def on_day(context: Context, moment: datetime | None, missing: str = "never") -> SafeString:
    """Show the day alone, for what expires: ``22 Feb 2027``."""
    return _time(context, moment, numbers.day(moment, _zone(context)) if moment else None, missing)


@register.simple_tag(takes_context=True)
def moment(context: Context, value: datetime | None, missing: str = numbers.UNKNOWN) -> SafeString:
    """Show the full moment with seconds and zone, as the audit log does."""
    return _time(context, value, numbers.exact(value, _zone(context)) if value else None, missing)


@register.inclusion_tag("components/_th.html")
def th(column: Any) -> dict[str, Any]:
    """Draw the head of a column of ``portal.web.tables``; a sortable one is a link."""
    return {"column": column}


@register.inclusion_tag("components/_field.html")
def field(
    bound: BoundField, prefix: str = "", suffix: str = "", optional: bool | None = None
) -> dict[str, Any]:
    """Draw label, control, error and help; ``{% field form.daily prefix="$" suffix="per day" %}`` sets units inside."""
    return {
        "field": bound,
        "prefix": prefix,
        "suffix": suffix,
        "optional": not bound.field.required if optional is None else optional,
        "is_check": isinstance(bound.field.widget, CheckboxInput),
        "is_group": bound.use_fieldset,
    }


@register.simple_tag
def errors(form: BaseForm, purpose: str) -> SafeString:
    """Sum up what to fix, with links to the fields: ``{% errors form "create the project" %}``."""
    if not form.errors:
        return SafeString("")
    found = [
        (form[name].id_for_label or form[name].auto_id, form[name].label, text)
        for name, texts in form.errors.items()
        if name != "__all__"
        for text in texts
    ]
    whole = [(text,) for text in form.non_field_errors()]
    things = "1 thing" if len(found) + len(whole) == 1 else f"{len(found) + len(whole)} things"
    return format_html(
        '<div class="notice bad" role="alert" tabindex="-1" id="errors" autofocus>{}<div>'
        "<b>Fix {} to {}</b><ul>{}{}</ul></div></div>",
        icon("circle-alert"),
        things,
        purpose,
        format_html_join("", "<li>{}</li>", whole),
        format_html_join("", '<li><a href="#{}">{}: {}</a></li>', found),
    )


@register.simple_tag
def undo(message: Any) -> str:
    """Return the address that takes back the change a message tells of, or an empty text."""
    tags = getattr(message, "extra_tags", "") or ""
    return tags.removeprefix(UNDO) if tags.startswith(UNDO) else ""
