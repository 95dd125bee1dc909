"""Views get things through the gates, and take from a request only what a form names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(
    path
    for folder in ("portal", "audit", "groups", "projects", "tokens", "apikeys")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)
VIEWS = [path for path in CODE if path.name.endswith("views.py") or path.parent.name == "views"]
# They belong to the whole house: who has the right to see one sees them all.
OF_THE_HOUSE = {"Gateway", "Person"}


def name_of(node: ast.expr) -> str:
    """Return a dotted name as it is written, or nothing."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def found_by_id(tree: ast.AST) -> Iterator[str]:
    """Return the models of which a row is looked up without a gate."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = name_of(call.func)
        if name.endswith(".objects.get"):
            yield name
        elif name == "get_object_or_404" and isinstance(call.args[0], ast.Name):
            yield call.args[0].id


def taken_unseen(tree: ast.AST) -> Iterator[str]:
    """Return what hands a whole request on, or writes SQL where the ORM would."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (
                name
                for keyword in node.keywords
                if not keyword.arg and "request" in (name := ast.unparse(keyword.value))
            )
            name = name_of(node.func)
            if name.endswith(".extra") or name.rpartition(".")[2] == "RawSQL":
                yield name
        elif isinstance(node, ast.Assign) and ast.unparse(node) == "fields = '__all__'":
            yield "fields = __all__"


def test_there_are_views() -> None:
    assert len(VIEWS) > 15


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_view_gets_things_through_a_gate(path: Path) -> None:
    assert set(found_by_id(ast.parse(path.read_text()))) <= OF_THE_HOUSE


def test_nothing_is_taken_from_a_request_unseen() -> None:
    found = [(path.name, name) for path in CODE for name in taken_unseen(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "Project.objects.create(**request.POST)",
        "rows.extra(where=[])",
        'fields = "__all__"',
        "RawSQL('1', [])",
    ],
)
def test_the_guard_sees_what_it_forbids(text: str) -> None:
    assert list(taken_unseen(ast.parse(text)))


def test_one_view_takes_what_no_form_of_ours_sent() -> None:
    exempt = [str(path.relative_to(ROOT)) for path in CODE if "@csrf_exempt" in path.read_text()]
    assert exempt == ["portal/web/views.py"]


def caught_silently(text: str) -> list[int]:
    """Return the lines that catch everything and do not say why, in a comment there or right below."""
    lines = text.splitlines()
    return [
        number
        for number, line in enumerate(lines, 1)
        if re.match(r"\s*except(\s+(Base)?Exception\b.*)?:", line)
        and "#" not in line
        and not lines[number].lstrip().startswith("#")
        and not any(each.strip() == "raise" for each in lines[number : number + 6])
    ]


def test_what_catches_everything_says_why() -> None:
    found = {str(path.relative_to(ROOT)): caught_silently(path.read_text()) for path in CODE}
    assert {path: numbers for path, numbers in found.items() if numbers} == {}


@pytest.mark.parametrize("line", ["except Exception:", "    except Exception as error:", "except:"])
def test_the_guard_sees_what_says_nothing(line: str) -> None:
    assert caught_silently(f"try:\n    x()\n{line}\n    pass\n") == [3]
    assert caught_silently(f"try:\n    x()\n{line}  # anything may come\n    pass\n") == []


def test_the_admin_of_django_is_not_installed() -> None:
    assert "django.contrib.admin" not in settings.INSTALLED_APPS
