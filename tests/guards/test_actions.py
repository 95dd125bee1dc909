"""Every action of the audit log is written somewhere; what nobody writes would be a promise without a keeper."""

import ast
from collections.abc import Iterator
from pathlib import Path

from audit.actions import Action

ROOT = Path(__file__).resolve().parents[2]
AREAS = ("audit", "groups", "projects", "tokens", "apikeys", "portal")


def used() -> Iterator[str]:
    """Yield what code outside the registry takes from it."""
    for area in AREAS:
        for path in (ROOT / area).rglob("*.py"):
            if "migrations" in path.parts or path.name == "actions.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "Action"
                ):
                    yield node.attr


def test_every_action_is_used() -> None:
    assert set(used()) >= {action.name for action in Action}


def test_an_action_is_a_noun_and_what_happened() -> None:
    for action in Action:
        noun, _, happened = action.value.partition(".")
        assert noun, action
        assert happened, action
        assert action.label, action
