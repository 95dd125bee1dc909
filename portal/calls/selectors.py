"""Questions about single calls: which an id names, who sees them, and whom and what they name.

One sees the calls of the projects one looks after, and one's own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse

from apikeys.models import ApiKey
from groups.models import Group
from portal.accounts.access import can
from portal.accounts.models import Person
from portal.accounts.policy import Right
from portal.decision import reservation
from portal.decision.reservation import Reservation, request_hash
from portal.gateway.models import Gateway
from portal.organization.selectors import current as current_organization
from portal.spend import calls
from portal.spend.calls import Call, Key, call_of
from portal.spend.models import Price
from portal.spend.price_book import Amounts, amounts_of
from projects.access import projects_with
from projects.models import Project
from tokens.models import UserToken

LONGEST = 200


@dataclass(frozen=True, slots=True)
class Told:
    """A call with what it names, as far as that still exists."""

    call: Call
    gateway: Gateway | None
    project: Project | None
    group: Group | None
    person: Person | None
    credential: UserToken | ApiKey | None
    price: Price | None
    amounts: Amounts | None

    @property
    def query(self) -> str:
        """What names the call in an address."""
        return urlencode({"gateway": self.call.entry.gateway, "id": self.call.entry.request_id})

    @property
    def search(self) -> str:
        """What finds the call."""
        return urlencode({"q": self.call.entry.request_id, "gateway": self.call.entry.gateway})

    @property
    def kind(self) -> str:
        """What the credential is called."""
        return "API key" if isinstance(self.credential, ApiKey) else "User token"

    @property
    def credential_href(self) -> str:
        """The page of the credential."""
        if self.credential is None:
            return ""
        page = "apikeys:detail" if isinstance(self.credential, ApiKey) else "tokens:detail"
        return reverse(page, args=[self.credential.key_id])


def sees(person: Person, project: int, whose: int | None) -> bool:
    """Tell whether the person sees calls of a project that somebody (None: nobody in particular) made."""
    if can(person, Right.SEE_CALLS, everywhere=True):
        return True
    if projects_with(person, Right.SEE_CALLS).filter(pk=project).exists():
        return True
    own = projects_with(person, Right.SEE_CALLS, own=True).filter(pk=project)
    return whose == person.pk and own.exists()


def calls_found(person: Person, text: str, gateway: str = "") -> list[Call]:
    """Return the calls under a request id or a reservation id that the person sees, the latest first."""
    calls = [call for key in keys_of(text, gateway) if (call := call_of(key)) is not None]
    seen = [call for call in calls if sees(person, call.entry.project, call.entry.person)]
    return sorted(seen, key=lambda call: call.entry.moment, reverse=True)


def keys_of(text: str, gateway: str = "") -> list[Key]:
    """Return what a request id (of one gateway or of all) or a reservation id names."""
    if not text or len(text) > LONGEST or "\x00" in text + gateway:
        return []
    if held := reservation.decode(text):
        found = calls.keys_at(moment_of(held), held.gateway, held.project)
        return [key for key in found if request_hash(key.request_id) == held.request]
    known = [gateway] if gateway else list(Gateway.objects.values_list("key_id", flat=True))
    return calls.keys_of(text, known)


def moment_of(held: Reservation) -> datetime:
    """Return when a reservation was made."""
    return datetime.fromtimestamp(held.moment / 1000, UTC)


def told(call: Call) -> Told:
    """Return the call with what it names."""
    entry = call.entry
    token: UserToken | ApiKey | None = UserToken.objects.filter(key_id=entry.credential).first()
    price = Price.objects.filter(pk=entry.price_id or 0).first()
    return Told(
        call,
        Gateway.objects.filter(key_id=entry.gateway).first(),
        Project.objects.filter(pk=entry.project).first(),
        Group.objects.filter(pk=entry.group_id or 0).first(),
        Person.objects.filter(pk=entry.person or 0).first(),
        token or ApiKey.objects.filter(key_id=entry.credential).first(),
        price,
        amounts_of(price, current_organization().currency) if price else None,
    )
