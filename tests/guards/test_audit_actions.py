"""Every action of the registry is written somewhere, and only actions of the registry are."""

import ast
from pathlib import Path

from audit.actions import Action

ROOT = Path(__file__).resolve().parents[2]
APPS = ("portal", "projects", "groups", "tokens", "apikeys", "audit")


def named() -> set[str]:
    """Return the names of the actions that the product's code names, the registry and the words for them aside."""
    found = set()
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if path.name in ("actions.py", "reading.py") and path.parent.name == "audit":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "Action"
                ):
                    found.add(node.attr)
    return found


def test_every_action_is_used() -> None:
    assert set(Action.names) - named() == set()


def test_actions_are_of_the_form_noun_and_past() -> None:
    for action in Action:
        noun, _, past = action.value.partition(".")
        assert noun.replace("_", "").isalpha()
        assert past.replace("_", "").isalpha()
