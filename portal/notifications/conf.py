"""What the environment says about telling people: the mail server, and where webhooks may go."""

from typing import Any
from urllib.parse import urlsplit

from portal import env


def notification_settings(base_url: str) -> dict[str, Any]:
    """Return the settings of mail and webhooks.

    With the embedded servers mails become files in the data directory, unless PORTAL_EMAIL_URL names a server.
    """
    url = env.text("PORTAL_EMAIL_URL")
    host = urlsplit(base_url).hostname or "localhost"
    hosts = (each.strip().lower() for each in env.text("PORTAL_WEBHOOK_HOSTS").split(","))
    return {
        **env.email(url),
        "DEFAULT_FROM_EMAIL": env.text("PORTAL_EMAIL_FROM", f"LLM Gateway portal <portal@{host}>"),
        "WEBHOOK_HOSTS": tuple(each for each in hosts if each),
        "WEBHOOK_PRIVATE": env.flag("PORTAL_WEBHOOK_PRIVATE"),
        "WEBHOOK_CA_FILE": env.text("PORTAL_WEBHOOK_CA_FILE"),
    }
