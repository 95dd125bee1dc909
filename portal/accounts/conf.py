"""The settings of sign-in, sessions and the directory, from the environment."""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from portal import env

HOUR = 3600


def allauth_settings(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return all settings of accounts; without `environment`, from the process's own."""
    read = env.text if environment is None else _reader(environment)
    return _microsoft(read) | {
        "AUTHENTICATION_BACKENDS": ["portal.accounts.backends.IdentityBackend"],
        "LOGIN_URL": "accounts:signin",
        "LOGIN_REDIRECT_URL": "/",
        "SESSION_ENGINE": "portal.accounts.sessions",
        "SESSION_SERIALIZER": "django.contrib.sessions.serializers.JSONSerializer",
        # The absolute limit; SignInRequiredMiddleware holds both this and the idle one.
        "SESSION_COOKIE_AGE": _within(read("PORTAL_SESSION_HOURS", "10"), 1, 12) * HOUR,
        "SESSION_IDLE_SECONDS": _within(read("PORTAL_SESSION_IDLE_MINUTES", "30"), 5, 60) * 60,
        "SESSION_EXPIRE_AT_BROWSER_CLOSE": False,
        # Nobody signs in with a password, signs up, or is found by an e-mail address.
        "SOCIALACCOUNT_ONLY": True,
        "SOCIALACCOUNT_ADAPTER": "portal.accounts.views.adapters.SocialAdapter",
        "SOCIALACCOUNT_AUTO_SIGNUP": False,
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION": False,
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT": False,
        "SOCIALACCOUNT_EMAIL_VERIFICATION": "none",
        "SOCIALACCOUNT_QUERY_EMAIL": False,
        "SOCIALACCOUNT_STORE_TOKENS": False,
        "SOCIALACCOUNT_LOGIN_ON_GET": False,
        "ACCOUNT_ADAPTER": "portal.accounts.views.adapters.AccountAdapter",
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
        "ACCOUNT_USER_MODEL_EMAIL_FIELD": "email",
        "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_EMAIL_NOTIFICATIONS": False,
        "ACCOUNT_RATE_LIMITS": False,
    }


def _microsoft(read: Callable[..., str]) -> dict[str, Any]:
    authority = read("ENTRA_AUTHORITY", "https://login.microsoftonline.com").rstrip("/")
    names = ("CLIENT_ID", "CLIENT_SECRET", "CERTIFICATE", "PRIVATE_KEY")
    entra = {name: read(f"ENTRA_{name}", "") for name in names}
    graph = {name: read(f"GRAPH_{name}", "") for name in names}
    if not graph["CLIENT_ID"]:
        graph = entra
    return {
        "ENTRA_AUTHORITY": authority,
        "ENTRA_TENANT_ID": read("ENTRA_TENANT_ID", "").lower(),
        "ENTRA_ALLOW_GUESTS": read("ENTRA_ALLOW_GUESTS", "") == "1",
        "ENTRA_CA_FILE": read("ENTRA_CA_FILE", ""),
        "DIRECTORY_SYNC_SECONDS": _within(read("PORTAL_DIRECTORY_SYNC_SECONDS", "240"), 30, 285),
        "ENTRA_STEP_UP": _contexts(read("ENTRA_STEP_UP", "")),
        **{f"ENTRA_{name}": value for name, value in entra.items()},
        "ENTRA_GRAPH_AUTHORITY": read("ENTRA_GRAPH_AUTHORITY", authority).rstrip("/"),
        "GRAPH_URL": read("GRAPH_URL", "https://graph.microsoft.com").rstrip("/"),
        **{f"GRAPH_{name}": value for name, value in graph.items()},
    }


def _within(text: str, least: int, most: int) -> int:
    """Read a whole number; one out of range counts as the nearer end, so that no setting loosens the rule."""
    return min(max(int(text), least), most)


def _contexts(text: str) -> dict[str, str]:
    """Read ``c1`` (for every class of actions) or ``credentials=c1,access=c2``."""
    pairs = [part.strip().rpartition("=") for part in text.split(",") if part.strip()]
    return {name.strip() or "*": context.strip() for name, _, context in pairs}


def step_up_context(kind: str) -> str:
    """Return the authentication context (acrs) that Entra ID maps to a class of actions; empty when none is."""
    contexts: dict[str, str] = getattr(settings, "ENTRA_STEP_UP")  # noqa: B009
    return contexts.get(kind) or contexts.get("*", "")


def _reader(environment: Mapping[str, str]) -> Callable[..., str]:
    def read(name: str, default: str = "") -> str:
        return environment.get(name) or default

    return read


class _Text:
    """A setting that is a text."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: object, kind: type | None = None) -> str:
        return str(getattr(settings, self.name))


class Microsoft:
    """The settings of sign-in and directory, with their types."""

    authority = _Text("ENTRA_AUTHORITY")
    tenant_id = _Text("ENTRA_TENANT_ID")
    client_id = _Text("ENTRA_CLIENT_ID")
    client_secret = _Text("ENTRA_CLIENT_SECRET")
    certificate = _Text("ENTRA_CERTIFICATE")
    private_key = _Text("ENTRA_PRIVATE_KEY")
    ca_file = _Text("ENTRA_CA_FILE")
    graph_authority = _Text("ENTRA_GRAPH_AUTHORITY")
    graph_url = _Text("GRAPH_URL")
    graph_client_id = _Text("GRAPH_CLIENT_ID")
    graph_client_secret = _Text("GRAPH_CLIENT_SECRET")
    graph_certificate = _Text("GRAPH_CERTIFICATE")
    graph_private_key = _Text("GRAPH_PRIVATE_KEY")

    @property
    def allow_guests(self) -> bool:
        """Whether guests of the organization may come in, to what projects give them."""
        return bool(getattr(settings, "ENTRA_ALLOW_GUESTS"))  # noqa: B009  no attribute that a type checker sees


microsoft = Microsoft()


def idle_seconds() -> int:
    """Return how long a session lasts without a request."""
    return int(getattr(settings, "SESSION_IDLE_SECONDS"))  # noqa: B009


def sync_seconds() -> int:
    """Return how often the directory is followed."""
    return int(getattr(settings, "DIRECTORY_SYNC_SECONDS"))  # noqa: B009
