"""How the portal proves itself to Entra ID with a certificate instead of a secret (RFC 7523)."""

import base64
import time
import uuid
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME = 300  # seconds


def client_assertion(client_id: str, audience: str, certificate: str, private_key: str) -> str:
    """Return a signed assertion for the token endpoint `audience`; both files are PEM.

    PS256 with the certificate's SHA-256 thumbprint, as Microsoft asks for:
    https://learn.microsoft.com/entra/identity-platform/certificate-credentials
    """
    found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    thumbprint = base64.urlsafe_b64encode(found.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
    }
    return jwt.encode(
        claims, Path(private_key).read_text(), algorithm="PS256", headers={"x5t#S256": thumbprint}
    )
