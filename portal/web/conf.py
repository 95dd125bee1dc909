"""The part of the settings that hardens the pages: policy headers, cookies, the order of the middleware."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONCE, NONE, SELF, STRICT_DYNAMIC

from portal import env

MIDDLEWARE = (
    "portal.web.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.web.middleware.BodySizeMiddleware",
    "portal.web.middleware.HtmxRedirectMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "portal.web.middleware.FetchSiteMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.middleware.SignInRequiredMiddleware",
    "portal.accounts.viewing.ViewingMiddleware",
    "portal.accounts.middleware.StepUpMiddleware",
)
"""From the outside in: headers for every answer, static files, htmx, the session, what is refused, the person."""

YEAR = 365 * 24 * 3600
MEGABYTE = 1024 * 1024


def origin_of(url: str) -> str:
    """Return scheme, host and port of an absolute URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def security_settings(
    base_url: str, issuer: str | None = None, *, proxies: int | None = None
) -> dict[str, Any]:
    """Return the settings for a portal at `base_url` whose people sign in at `issuer` (any URL there).

    Secure cookies, their ``__Host-`` prefix, HSTS and the redirect to https hold only where the portal has an https
    address. `proxies` says how many trusted proxies stand in front, so that X-Forwarded-Proto may be believed.
    What is not given comes from the process's environment.
    """
    if issuer is None:
        issuer = env.text("ENTRA_AUTHORITY", "https://login.microsoftonline.com")
    if proxies is None:
        proxies = env.number("PORTAL_TRUSTED_PROXIES", 0)
    is_https = urlsplit(base_url).scheme == "https"
    prefix = "__Host-" if is_https else ""
    is_collected = Path(env.text("PORTAL_STATIC_ROOT", str(env.data_dir() / "static"))).is_dir()
    return {
        "MIDDLEWARE": list(MIDDLEWARE),
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": _policy(origin_of(issuer))},
        "SESSION_COOKIE_NAME": f"{prefix}sessionid",
        "SESSION_COOKIE_SECURE": is_https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_NAME": f"{prefix}csrftoken",
        "CSRF_COOKIE_SECURE": is_https,
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SAMESITE": "Lax",
        "CSRF_FAILURE_VIEW": "portal.web.errors.csrf_failure",
        "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
        "X_FRAME_OPTIONS": "DENY",
        "SECURE_REFERRER_POLICY": "same-origin",
        "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
        "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "SECURE_SSL_REDIRECT": is_https,
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if is_https and proxies else None,
        "SECURE_HSTS_SECONDS": YEAR if is_https else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": is_https,
        # Preloading is a promise for the whole registered domain, which is not the portal's to give.
        "SILENCED_SYSTEM_CHECKS": ["security.W021"],
        "DATA_UPLOAD_MAX_MEMORY_SIZE": MEGABYTE,
        "STORAGES": {
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {"BACKEND": "portal.web.storage.StaticFiles"},
        },
        "WHITENOISE_ALLOW_ALL_ORIGINS": False,
        # Without collected files, as in a checkout, they are looked up at their sources.
        "WHITENOISE_AUTOREFRESH": not is_collected,
        "WHITENOISE_USE_FINDERS": not is_collected,
        "SHELL": {
            "organization": "portal.organization.selectors.current",
            "rights": "portal.accounts.policy.rights_of",
            "counts": ("portal.approvals.access.nav_counts", "portal.notifications.access.nav_counts"),
        },
    }


def _policy(issuer_origin: str) -> dict[str, Any]:
    return {
        "default-src": [NONE],
        "script-src": [NONCE, STRICT_DYNAMIC],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # Browsers apply form-action to the redirects after a POST, and signing in is a POST that goes there.
        "form-action": [SELF, issuer_origin],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["default"],
        "report-to": ["csp"],
    }
