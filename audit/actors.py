"""Who acts, as plain values, so that the audit log imports nothing about people."""

import getpass
import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever makes a change: a person in the browser, a command, a job or the portal itself."""

    type: str  # user, command, job, gateway, system
    id: str
    display: str
    tid: str = ""
    oid: str = ""
    auth: str = ""  # how the actor proved who it is
    session: str = ""  # a hash, never the session key
    ip: str | None = None
    user_agent: str = ""
    request_id: str = ""

    @classmethod
    def command(cls, name: str = "") -> "Actor":
        """The operating-system user who runs a management command."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return cls(
            "command", f"command:{user}", f"command:{user}", auth=f"{socket.gethostname()} {name}".strip()
        )

    @classmethod
    def job(cls, name: str) -> "Actor":
        """A scheduled job."""
        return cls("job", f"job:{name}", f"job:{name}")

    @classmethod
    def system(cls) -> "Actor":
        """The portal itself, where nobody asked for the change."""
        return cls("system", "system", "Portal")


@dataclass(frozen=True, slots=True)
class Target:
    """What is changed: kind, identifier and the label a person reads. No foreign key: it may be gone later."""

    type: str
    id: str
    label: str
