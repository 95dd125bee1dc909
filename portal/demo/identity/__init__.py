"""A stand-in for Microsoft's sign-in and directory, for the demonstration and the tests.

One process answers in the shape of Entra ID (OpenID Connect, v2.0 endpoints) and of Microsoft Graph v1.0 on two
loopback ports: plain http for the browser, https for MSAL, which insists on it. The protocol engine is Authlib's;
what is here is data and the shape of the addresses. Nothing of it is part of a deployment.
"""

from pathlib import Path

from portal.demo.identity.material import GRAPH_CLIENT_ID, PORTAL_CLIENT_ID, TENANT_ID, prepare

__all__ = ["settings_for"]


def settings_for(data_dir: str | Path, http_port: int, https_port: int, portal_url: str) -> dict[str, str]:
    """Return the environment of a portal at `portal_url` that signs in here; keys and secrets are made on first use."""
    material = prepare(Path(data_dir))
    return {
        "PORTAL_BASE_URL": portal_url.rstrip("/"),
        "ENTRA_AUTHORITY": f"http://localhost:{http_port}",
        "ENTRA_TENANT_ID": TENANT_ID,
        "ENTRA_CLIENT_ID": PORTAL_CLIENT_ID,
        "ENTRA_CLIENT_SECRET": material.client_secret,
        "ENTRA_GRAPH_AUTHORITY": f"https://localhost:{https_port}",
        "ENTRA_CA_FILE": str(material.ca),
        "GRAPH_URL": f"https://localhost:{https_port}",
        "GRAPH_CLIENT_ID": GRAPH_CLIENT_ID,
        "GRAPH_CERTIFICATE": str(material.client_certificate),
        "GRAPH_PRIVATE_KEY": str(material.client_key),
    }
