"""What belongs to no area: how the portal looks to one browser, and what browsers report about its policy."""

import json
import logging
from functools import lru_cache

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from portal.web.htmx import wants_region

logger = logging.getLogger(__name__)

MAX_REPORT = 16 * 1024
REPORTED = ("effectiveDirective", "blockedURL", "sourceFile")
YEAR = 365 * 24 * 3600
PREFERENCES = {"theme": frozenset({"light", "dark"}), "keys": frozenset({"off"})}
"""Cookie → the values kept. Any other value is the default, which needs no cookie."""


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep the named preferences and go back to the page; to a script, say nothing."""
    back = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponse(status=204) if wants_region(request) else HttpResponseRedirect(back)
    for name, kept in PREFERENCES.items():
        if (value := request.POST.get(name)) in kept:
            response.set_cookie(
                name,
                value,
                max_age=YEAR,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        elif value is not None:
            response.delete_cookie(name, samesite="Lax")
    return response


@csrf_exempt
@login_not_required
@require_POST
def csp_report(request: HttpRequest) -> HttpResponse:
    """Log what a browser refused because of the Content-Security-Policy, each thing once.

    Anybody can send anything here, so only a few short fields of a small body reach the log, quoted.
    """
    if len(request.body) <= MAX_REPORT:
        try:
            reports = json.loads(request.body)
        except (ValueError, RecursionError):
            reports = []
        for report in reports[:10] if isinstance(reports, list) else []:
            body = report.get("body") if isinstance(report, dict) else None
            if isinstance(body, dict):
                _log_once(*(str(body.get(field, ""))[:200] for field in REPORTED))
    return HttpResponse(status=204)


@lru_cache(maxsize=256)
def _log_once(directive: str, blocked: str, source: str) -> None:
    logger.warning("Content-Security-Policy refused %r by %r in %r", blocked, directive, source)
