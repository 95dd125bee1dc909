"""Keys, certificates and secrets of the stand-in, made once and kept in ``<data>/identity``."""

import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

TENANT_ID = "3f7c1a52-8e0b-4c53-9a3d-6f2b7d9e1c04"
PORTAL_CLIENT_ID = "8d2f6b04-55c1-4f0e-9b7a-2c4e6a8d0f13"  # signs people in
GRAPH_CLIENT_ID = "1b9e7c35-0a64-4d2b-8f51-7e3c5a9d2b46"  # reads the directory, nothing else


@dataclass(frozen=True)
class Material:
    """Where everything is; the secrets are read when they are asked for."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The certificate authority that the https side is signed by."""
        return self.folder / "ca.pem"

    @property
    def server(self) -> Path:
        """Certificate chain and key of the https side, in one file."""
        return self.folder / "server.pem"

    @property
    def signing_key(self) -> Path:
        """The private key that signs tokens."""
        return self.folder / "signing.pem"

    @property
    def client_certificate(self) -> Path:
        """The certificate by which the portal proves itself when it reads the directory."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The private key of `client_certificate`."""
        return self.folder / "client.key"

    @cached_property
    def _secrets(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "secrets.json").read_text()))

    @property
    def client_secret(self) -> str:
        """The client secret of both registrations."""
        return self._secrets["client_secret"]

    @property
    def control_token(self) -> str:
        """Who presents it may change the directory while it runs: the tests."""
        return self._secrets["control_token"]


def prepare(data_dir: Path) -> Material:
    """Return the material in `data_dir`, making what is missing. Safe to call from several processes at once."""
    material = Material(data_dir / "identity")
    material.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(material.folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (material.folder / "secrets.json").exists():
            _make_tls(material)
            _write(material.signing_key, _pem(_rsa()))
            _make_client_certificate(material)
            names = ("client_secret", "control_token")
            content = json.dumps({name: secrets.token_urlsafe(32) for name in names})
            _write(material.folder / "secrets.json", content.encode())  # last: its presence says all is there
    return material


def _make_tls(material: Material) -> None:
    import trustme  # only where the stand-in is used

    authority = trustme.CA(organization_name="Stand-in for Microsoft sign-in")
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    _write(material.ca, authority.cert_pem.bytes(), 0o644)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    _write(material.server, leaf.private_key_pem.bytes() + chain)


def _make_client_certificate(material: Material) -> None:
    key = _rsa()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "LLM Gateway portal")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    _write(material.client_key, _pem(key))
    _write(material.client_certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
