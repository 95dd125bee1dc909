"""Settings, from the environment only; see .env.example and docs/operations.md."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portal import env
from portal.accounts.conf import allauth_settings
from portal.notifications.conf import notification_settings
from portal.web.conf import security_settings

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.flag("PORTAL_DEBUG", default=False)
SECRET_KEY = env.text("PORTAL_SECRET_KEY")
SECRET_KEY_FALLBACKS = [key for key in env.text("PORTAL_SECRET_KEY_FALLBACKS").split(",") if key]
PEPPERS = env.peppers()
PORTAL_BASE_URL = env.text("PORTAL_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
PORTAL_TRUSTED_PROXIES = env.number("PORTAL_TRUSTED_PROXIES", 0)
REDIS_URL = env.text("REDIS_URL")

_origin = urlsplit(PORTAL_BASE_URL)
ALLOWED_HOSTS = [_origin.hostname or "localhost"]
USE_X_FORWARDED_HOST = False
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
AUTH_USER_MODEL = "accounts.Person"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "portal.accounts.entra",
    "django_htmx",
    "csp",
    "portal.web",
    "portal.schedule",
    "audit",
    "portal.accounts",
    "portal.organization",
    "portal.spend",
    "portal.credentials",
    "portal.notifications",
    "portal.decision",
    "portal.approvals",
    "groups",
    "projects",
    "tokens",
    "apikeys",
    "portal.gateway",
    "portal.directory",
    "portal.monitoring",
    "portal.demo",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.web.context.shell",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]

DATABASES = {"default": env.database(env.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ATOMIC_REQUESTS = False

CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("PORTAL_STATIC_ROOT", str(env.data_dir() / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]

# Off only where Microsoft is a stand-in or cannot be asked: see docs/operations.md.
STEP_UP = env.flag("PORTAL_STEP_UP", default=True)

# Ledger and limits
RESERVATION_SECONDS = 15 * 60
# Valkey decides while it holds a lease that was confirmed in Postgres; web processes may renew it so long without.
DECIDER_LEASE_SECONDS = 3
DECIDER_GRACE_SECONDS = 15 * 60
TOMBSTONE_SECONDS = 60 * 60
RESTATEMENT_DAYS = 35
REFUSAL_STREAM_LENGTH = 100_000
# How long rows are kept, 0 = for good; roll-ups and the audit log always are.
LEDGER_MONTHS = env.number("PORTAL_LEDGER_MONTHS", 25)
REFUSAL_DAYS = env.number("PORTAL_REFUSAL_DAYS", 400)

# A directory that the database's administrator cannot change; empty: no anchors are kept.
AUDIT_ANCHORS = env.text("PORTAL_AUDIT_ANCHORS")

CELERY_BROKER_URL = env.broker_url(REDIS_URL)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "portal.lib.logs.Formatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # It writes the whole address of each request, and who knows that of a chat may write there.
    "loggers": {"urllib3": {"level": "INFO"}},
    "root": {"handlers": ["stderr"], "level": env.text("PORTAL_LOG_LEVEL", "WARNING")},
}

globals().update(allauth_settings())
globals().update(security_settings(PORTAL_BASE_URL))
_telling = notification_settings(PORTAL_BASE_URL)
globals().update(_telling)
HAS_MAIL: bool = _telling["HAS_MAIL"]
WEBHOOK_PRIVATE: bool = _telling["WEBHOOK_PRIVATE"]
WEBHOOK_HOSTS: tuple[str, ...] = _telling["WEBHOOK_HOSTS"]
WEBHOOK_CA_FILE: str = _telling["WEBHOOK_CA_FILE"]
