"""System checks of the sign-in configuration: `manage.py check --deploy` tells what would fail at the first sign-in."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.core.checks import CheckMessage, Error, register

from portal.accounts.conf import microsoft
from portal.accounts.entra.id_token import PERSONAL_ACCOUNTS


@register("security", deploy=True)
def check_sign_in(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check tenant, registration and authority."""
    problems: list[CheckMessage] = []
    if not _is_one_tenant(microsoft.tenant_id):
        problems.append(
            Error(
                "ENTRA_TENANT_ID must be the object id of one tenant, not a domain, common or organizations.",
                id="accounts.E001",
            )
        )
    has_proof = microsoft.client_secret or (microsoft.certificate and microsoft.private_key)
    if not microsoft.client_id or not has_proof:
        problems.append(
            Error(
                "Set ENTRA_CLIENT_ID, and ENTRA_CLIENT_SECRET or ENTRA_CERTIFICATE with ENTRA_PRIVATE_KEY.",
                id="accounts.E002",
            )
        )
    files = [microsoft.certificate, microsoft.private_key, microsoft.ca_file]
    files += [microsoft.graph_certificate, microsoft.graph_private_key]
    missing = sorted({name for name in files if name and not Path(name).is_file()})
    if missing:
        problems.append(Error(f"These files cannot be read: {', '.join(missing)}.", id="accounts.E003"))
    addresses = {
        "ENTRA_AUTHORITY": microsoft.authority,
        "ENTRA_GRAPH_AUTHORITY": microsoft.graph_authority,
        "GRAPH_URL": microsoft.graph_url,
    }
    for name, address in addresses.items():
        parts = urlsplit(address)
        is_loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not is_loopback:
            problems.append(Error(f"{name} must be an https address.", id="accounts.E004"))
            break
    return problems


def _is_one_tenant(text: str) -> bool:
    try:
        return UUID(text) != PERSONAL_ACCOUNTS
    except ValueError:
        return False
