"""Who is in the sample organization, what they own and how much they use. Names, amounts and shapes, no behaviour.

Spend is that of the 24th of a month, about noon; it is scaled to how much of the present month has passed.
"""

from dataclasses import dataclass

ORGANIZATION = "Northgate Insurance"
GATEWAYS = ("gw-west-1", "gw-west-2")


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A group: code, name, its key in the directory, spend limits in whole currency units."""

    code: str
    name: str
    directory: str
    month_limit: int | None = None
    day_limit: int | None = None


GROUPS = (
    GroupPlan("customer-service", "Customer service", "customer-service", 16_000, 900),
    GroupPlan("claims", "Claims", "claims", 10_000, 450),
    GroupPlan("engineering", "Engineering", "engineering", 12_000),
    GroupPlan("underwriting", "Underwriting", "underwriting", 8_000, 400),
    GroupPlan("data", "Data & analytics", "data"),
    GroupPlan("marketing", "Marketing", "marketing", 2_000),
    GroupPlan("legal", "Legal", "legal"),
    GroupPlan("people", "People", "people"),
)


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """A project. ``month`` is what it spends by the 24th; ``is_exact``: by today, whatever day it is.

    ``calls`` are the calls of a weekday, ``tokens`` and ``keys`` how many credentials it has, ``models`` its models
    with their share of the calls, ``quiet`` for how many days it has spent nothing.
    """

    code: str
    name: str
    group: str
    owner: str
    month: int
    month_limit: int | None
    day_limit: int
    tokens: int
    keys: tuple[str, ...]
    models: tuple[tuple[str, int], ...]
    description: str
    calls: int
    is_exact: bool = False
    quiet: int = 0
    allowed_models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    each_user: int | None = None
    is_paused: bool = False

    @property
    def is_used_up(self) -> bool:
        """Whether the project is meant to have reached its limit."""
        return self.month_limit is not None and self.month >= self.month_limit


SONNET, HAIKU, GPT, MINI = "claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5.1", "gpt-5-mini"
MISTRAL, EMBED = "mistral-large-2512", "text-embedding-3-large"

PROJECTS = (
    ProjectPlan(
        *("cs-chat", "Customer chat", "customer-service", "ines.moreau", 7912, 10_000, 500, 7),
        ("web-chat", "voice-line"),
        ((GPT, 55), (MINI, 35), (HAIKU, 10)),
        "Answers policyholders in chat and hands over to a person when it is unsure.",
        74,
    ),
    ProjectPlan(
        *("claims-triage", "Claims triage", "claims", "priya.raman", 5214, 6_000, 300, 7),
        ("triage-batch",),
        ((SONNET, 60), (HAIKU, 25), (MINI, 15)),
        "Reads new claims, sorts them by urgency and drafts the first letter.",
        58,
        is_exact=True,
        requests_per_minute=60,
        each_user=120,
    ),
    ProjectPlan(
        *("dev-assist", "Developer assistant", "engineering", "tomasz.zielinski", 4987, 7_500, 400, 10),
        (),
        ((SONNET, 50), (GPT, 30), (MINI, 20)),
        "Coding assistants in editors and terminals.",
        92,
        each_user=150,
    ),
    ProjectPlan(
        *("uw-extract", "Submission extraction", "underwriting", "hannah.lindqvist", 3640, 4_000, 150, 4),
        ("mailbox-reader",),
        ((GPT, 70), (MINI, 30)),
        "Takes the facts out of brokers' submissions.",
        44,
        is_exact=True,
    ),
    ProjectPlan(
        *("doc-search", "Policy document search", "data", "marcus.bello", 3103, 5_000, 250, 5),
        ("indexer", "search-api"),
        ((EMBED, 45), (MINI, 35), (GPT, 20)),
        "Finds the clause in policy wordings and answers with its source.",
        66,
    ),
    ProjectPlan(
        *("call-summ", "Call summaries", "customer-service", "ines.moreau", 2875, 3_500, 160, 3),
        ("telephony",),
        ((HAIKU, 80), (MISTRAL, 20)),
        "Sums up calls for the file.",
        48,
        is_exact=True,
    ),
    ProjectPlan(
        *("fraud-notes", "Fraud case notes", "claims", "daniel.okafor", 2503, 2_500, 120, 3),
        ("case-sync",),
        ((SONNET, 85), (HAIKU, 15)),
        "Keeps the notes of fraud cases in order.",
        30,
        is_exact=True,
        quiet=3,
        allowed_models=(SONNET, HAIKU),
        requests_per_minute=60,
    ),
    ProjectPlan(
        *("code-review", "Code review bot", "engineering", "tomasz.zielinski", 2118, 3_000, 150, 0),
        ("review-bot-ci",),
        ((SONNET, 70), (MINI, 30)),
        "Comments on merge requests.",
        30,
    ),
    ProjectPlan(
        *("uw-quotes", "Quote drafting", "underwriting", "hannah.lindqvist", 1733, 2_500, 110, 5),
        ("quote-desk",),
        ((GPT, 60), (MISTRAL, 40)),
        "Drafts quotes for an underwriter to check.",
        24,
    ),
    ProjectPlan(
        *("mkt-copy", "Campaign copy", "marketing", "sofia.duarte", 1205, 1_500, 60, 4),
        (),
        ((GPT, 50), (MISTRAL, 50)),
        "First drafts of campaigns.",
        18,
    ),
    ProjectPlan(
        *("legal-review", "Contract review", "legal", "aiko.tanaka", 1096, 2_000, 100, 3),
        ("contract-vault",),
        ((SONNET, 100),),
        "Compares contracts with our standard terms.",
        14,
        allowed_models=(SONNET,),
    ),
    ProjectPlan(
        *("data-lab", "Analytics notebooks", "data", "marcus.bello", 949, None, 60, 5),
        (),
        ((GPT, 40), (SONNET, 30), (MINI, 30)),
        "Free use in notebooks.",
        22,
    ),
    ProjectPlan(
        *("hr-help", "HR helpdesk", "people", "lena.vogel", 702, 1_000, 50, 2),
        ("intranet",),
        ((MINI, 70), (HAIKU, 30)),
        "Answers questions about leave, pay and benefits.",
        20,
    ),
    ProjectPlan(
        *("eng-sandbox", "Engineering sandbox", "engineering", "tomasz.zielinski", 612, 750, 40, 4),
        (),
        ((GPT, 50), (MINI, 50)),
        "For trying things out.",
        12,
        is_exact=True,
        quiet=1,
        is_paused=True,
    ),
)

TAGS = {
    "cs-chat": ("customers", "live"),
    "claims-triage": ("live",),
    "call-summ": ("customers", "live"),
    "doc-search": ("live", "search"),
    "uw-extract": ("live", "pilot"),
    "mkt-copy": ("pilot",),
    "eng-sandbox": ("trial",),
}
