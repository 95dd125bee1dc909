"""What is named is there: addresses in templates and code, which a wrong name would only break when it is drawn."""

import re
from pathlib import Path

import pytest

from portal.accounts.policy import Right
from portal.web.context import PLACES
from tests.guards.addresses import addresses

ROOT = Path(__file__).resolve().parents[2]
CODE = [
    path
    for folder in ("portal", "audit", "groups", "projects", "tokens", "apikeys")
    for path in (ROOT / folder).rglob("*.py")
]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# `{% url "name" as href %}` says nothing where the name is wrong.
IN_TEMPLATE = re.compile(r"""{%-?\s*url\s+["']([^"']+)["']""")
IN_CODE = re.compile(r"""\b(?:reverse|redirect)\(\s*["']([\w-]+:[\w-]+)["']""")


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The names of all addresses."""
    return set(addresses())


def test_templates_and_code_name_addresses_that_exist(known: set[str]) -> None:
    named = [(path, name) for path in TEMPLATES for name in IN_TEMPLATE.findall(path.read_text())]
    named += [(path, name) for path in CODE for name in IN_CODE.findall(path.read_text())]
    assert len(named) > 100
    assert [(str(path.relative_to(ROOT)), name) for path, name in named if name not in known] == []


def test_the_navigation_leads_somewhere_and_asks_for_rights_there_are(known: set[str]) -> None:
    places = [place for _, section in PLACES for place in section]
    assert {place.url for place in places} <= known
    assert {place.right for place in places} <= {right.value for right in Right}
    assert len({place.key for place in places}) == len(places)
