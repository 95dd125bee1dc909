"""The one convention for htmx.

Every ``hx-*`` element is a working link or form first. A view answers with the whole page, or with the named region
when htmx asks for it; both include the same file. A dialog is a page of its own that htmx lays over the page at hand.
A redirect is a redirect: ``portal.web.middleware`` turns it into a full page load for htmx.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

UNDO = "undo:"
"""Before the address in the tags of a message that can be undone."""


def wants_region(request: HttpRequest) -> bool:
    """Tell whether htmx asks for a part of the page, not for a boosted page or one from the history."""
    htmx: HtmxDetails | None = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page_or_region(
    request: HttpRequest,
    page_template: str,
    region_template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """Render the region when htmx asks for it, else the page that includes it.

    Both get ``is_region``. A form with errors is answered with status 422, which htmx swaps in.
    """
    is_region = wants_region(request)
    template = region_template if is_region else page_template
    response = render(request, template, {**context, "is_region": is_region}, status=status)
    patch_vary_headers(response, ("HX-Request",))
    return response


def render_dialog(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    title: str,
    back: str,
    status: int = 200,
    refresh: Sequence[str] = (),
) -> HttpResponse:
    """Render a dialog (a template that extends ``components/_dialog.html``) over the page, or as a page of its own.

    ``back`` is where Cancel leads when it is a page. ``refresh`` names regions behind the dialog that load anew, for
    a dialog that shows the result of a change.
    """
    response = render_page_or_region(
        request,
        "components/dialog_page.html",
        template,
        {**context, "dialog_template": template, "title": title, "back": back},
        status=status,
    )
    if wants_region(request):
        response["HX-Retarget"] = "#dialogs"
        response["HX-Reswap"] = "innerHTML"
        if refresh:
            response["HX-Trigger"] = json.dumps(dict.fromkeys(refresh, True))
    return response


def _is_page_of_its_own(request: HttpRequest) -> bool:
    """Tell whether a dialog is the page at hand, as after a sign-in on the way to it: then nothing lies behind it."""
    htmx: HtmxDetails | None = getattr(request, "htmx", None)
    address = htmx.current_url_abs_path if htmx else None
    return address is not None and address.partition("?")[0] == request.path


def saved(
    request: HttpRequest, to: str, toast: str, *, refresh: Sequence[str] = (), undo: str = ""
) -> HttpResponse:
    """Answer a change that worked: close the dialog, load the named regions anew and say so.

    Without htmx, or with nothing to refresh, it goes to ``to``, an address of our own, and says so there. ``undo`` is
    an address of our own to post to, for a change that can be taken back; it is offered on the page that follows.
    """
    if refresh and wants_region(request) and not _is_page_of_its_own(request):
        response = HttpResponse(status=204)
        response["HX-Trigger"] = json.dumps({"toast": toast, "done": True, **dict.fromkeys(refresh, True)})
        return response
    messages.success(request, toast, extra_tags=f"{UNDO}{undo}" if undo else "")
    return HttpResponseRedirect(to)
