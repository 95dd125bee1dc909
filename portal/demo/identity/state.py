"""Everything the two listeners share."""

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from portal.demo.identity.clients import Client, Code, registrations
from portal.demo.identity.directory import Account, Directory
from portal.demo.identity.material import Material
from portal.demo.identity.tokens import Distortion, Keys


@dataclass
class Session:
    """Somebody signed in to the stand-in itself (single sign-on)."""

    account: str
    sid: str
    auth_time: int
    contexts: frozenset[str] = frozenset()  # authentication contexts (acrs) the sign-in has satisfied


@dataclass
class Identity:
    """The state of the stand-in."""

    material: Material
    portal_url: str
    directory: Directory = field(default_factory=Directory)
    clients: dict[str, Client] = field(init=False)
    keys: Keys = field(init=False)
    codes: dict[str, Code] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)  # ids of client assertions seen
    distortion: Distortion | None = None
    outages: set[str] = field(default_factory=set)  # "provider", "graph"
    counters: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.portal_url = self.portal_url.rstrip("/")
        self.clients = registrations(self.material, self.portal_url)
        self.keys = Keys(self.material.signing_key)

    def reset(self) -> None:
        """Forget everything that happened; keys and registrations stay."""
        with self.lock:
            self.directory.reset()
            self.codes.clear()
            self.sessions.clear()
            self.distortion = None
            self.outages.clear()
            self.counters.clear()

    def start_session(self, account: Account, contexts: frozenset[str] = frozenset()) -> tuple[str, Session]:
        """Sign somebody in; return the cookie and the session."""
        cookie, sid = secrets.token_urlsafe(32), secrets.token_hex(16)
        session = self.sessions[cookie] = Session(account.key, sid, int(time.time()), contexts)
        return cookie, session

    def account_of(self, cookie: str) -> Account | None:
        """Return who is signed in, if they still may."""
        session = self.sessions.get(cookie)
        account = session and self.directory.people.get(session.account)
        return account if account and account.enabled else None

    def take_code(self, code: str) -> Code | None:
        """Return a code once, if it is still good."""
        with self.lock:
            found = self.codes.pop(code, None)
        return None if found is None or found.is_expired else found

    def take_distortion(self) -> Distortion | None:
        """Return what is wrong with the next token, once."""
        with self.lock:
            found, self.distortion = self.distortion, None
        return found
