"""How the portal looks to one browser: theme and single-key shortcuts, kept in cookies, for anybody."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from portal.web.htmx import wants_region

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
