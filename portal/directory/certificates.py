"""How long the certificates last by which the portal proves itself to Microsoft."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from django.utils import timezone

from portal.accounts.conf import microsoft

WARN_DAYS = 30
STAGES = (30, 7, 1)  # days before the end at which administrators are told


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of the portal's."""

    use: str
    serial: str
    ends: datetime

    @property
    def days_left(self) -> int:
        """Whole days until it ends, below zero when it has."""
        return (self.ends - timezone.now()).days

    @property
    def is_ending(self) -> bool:
        """Whether it is time to replace it."""
        return self.days_left < WARN_DAYS


def certificates() -> list[Certificate]:
    """Return the certificates of the settings that can be read, the one that ends first in front."""
    uses: dict[str, str] = {}
    for use, path in (
        ("sign-in", microsoft.certificate),
        ("reading the directory", microsoft.graph_certificate),
    ):
        if path:
            uses[path] = f"{uses[path]} and {use}" if path in uses else use
    found = []
    for path, use in uses.items():
        try:
            read = x509.load_pem_x509_certificate(Path(path).read_bytes())
        except (OSError, ValueError):
            continue  # the system checks name it
        found.append(Certificate(use, f"{read.serial_number:x}", read.not_valid_after_utc))
    return sorted(found, key=lambda each: each.ends)
