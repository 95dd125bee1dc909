"""What every response carries and what no request may do, whatever view answers it."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.functional import cached_property

from portal.lib.uuid7 import uuid7
from portal.web.errors import too_large
from portal.web.htmx import wants_region

GetResponse = Callable[[HttpRequest], HttpResponseBase]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "publickey-credentials-get",
        "serial",
        "usb",
    )
)


class HeadersMiddleware:
    """Give each request an id, and each response the headers Django and django-csp do not set.

    It stands first, so that error pages and downloads get them too. Everything but static files is ``no-store``,
    unless the view says otherwise.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    @cached_property
    def _reports(self) -> str:
        return reverse("web:csp_report")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on under a new id."""
        request.request_id = str(uuid7())  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        response["Permissions-Policy"] = PERMISSIONS_POLICY
        response["Reporting-Endpoints"] = f'csp="{self._reports}"'
        if not request.path_info.startswith(settings.STATIC_URL):
            if not response.has_header("Cache-Control"):
                response["Cache-Control"] = "no-store"
            patch_vary_headers(response, ("HX-Request", "Cookie"))
        return response


class BodySizeMiddleware:
    """Refuse a body that is too large before any of it is read: Django itself limits fields, but not files.

    A body without a length is none at all to Django.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on, or answer 413."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        largest: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > largest:
            return too_large(request)
        return self.get_response(request)


class FetchSiteMiddleware:
    """Refuse changes that another site's page makes a browser send. Clients that are no browsers name no site."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; the check waits for the view, so that a refusal is an ordinary error page."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *args: object) -> None:
        """Refuse before the view runs."""
        if request.method not in SAFE_METHODS and request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise PermissionDenied("The change came from a page of another site.")


class HtmxRedirectMiddleware:
    """Answer htmx's requests with a full page load where a browser would be redirected.

    Otherwise htmx would follow the redirect and swap a whole page (the sign-in page of an ended session, say) into a
    region. After sign-in the person returns to the page at hand, not to the region's address.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on and turn a redirect round."""
        response = self.get_response(request)
        if not wants_region(request) or response.status_code not in (301, 302, 303, 307, 308):
            return response
        location = response["Location"]
        sign_in = resolve_url(settings.LOGIN_URL)
        if urlsplit(location).path == sign_in:
            page = request.htmx.current_url_abs_path  # type: ignore[attr-defined]
            location = f"{sign_in}?{urlencode({'next': page})}" if page else sign_in
        answer = HttpResponse(status=204)
        for name, value in response.items():
            if name not in ("Location", "Content-Type", "Content-Length"):
                answer[name] = value
        answer["HX-Redirect"] = location
        answer.cookies = response.cookies
        return answer
