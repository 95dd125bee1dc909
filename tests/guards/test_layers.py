"""Modules import downward only, as docs and architecture draw it; views, forms, urls, access and commands are edges."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    "portal.lib": -1, "portal.env": -1, "portal.checks": -1,
    "portal.web": 0, "portal.schedule": 0,
    "audit": 1,
    "portal.accounts": 2, "portal.organization": 2,
    "portal.spend": 3, "portal.credentials": 3, "portal.notifications": 3,
    "portal.decision": 4,
    "groups": 5, "portal.approvals": 5,
    "projects": 6,
    "tokens": 7, "apikeys": 7,
    "portal.gateway": 8, "portal.directory": 8, "portal.monitoring": 8, "portal.find": 8, "portal.limits": 8,
    "portal.calls": 8, "portal.demo": 8,
    "portal.settings": 9, "portal.serve": 9, "portal.urls": 9, "portal.wsgi": 9, "portal.celery": 9,
}  # fmt: skip
# What only a command or a page reads of another app: its models and selectors, never its services.
EDGES = {
    "views",
    "forms",
    "urls",
    "access",
    "commands",
    "management",
    "tables",
    "pages",
    "widgets",
    "context",
}


def app_of(module: str) -> str:
    """Return the longest name of the table that the module begins with, or ''."""
    parts = module.split(".")
    return next((name for end in (2, 1) if (name := ".".join(parts[:end])) in ROWS), "")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if app_of(".".join(parts)) and "migrations" not in parts:
            yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = list(modules())


def test_nothing_is_imported_from_above() -> None:
    found = []
    for module, tree in MODULES:
        own = app_of(module)
        for name in imports(tree):
            other = app_of(name)
            if not other or other == own or ROWS[other] < ROWS[own] or ROWS[own] == 9:
                continue
            # An edge reads models and selectors of any app, and a demonstration is made by services.
            is_read = {"models", "selectors"} & set(name.split(".")) or module.startswith(
                "portal.demo.sample"
            )
            is_edge = ROWS[own] == 8 or EDGES & set(module.split("."))
            if not (is_edge and (is_read or ROWS[other] < 8)):
                found.append(f"{module} imports {name}")
    assert not found, "\n".join(found)


def test_no_view_imports_another_app_s_views() -> None:
    found = [
        f"{module} imports {name}"
        for module, tree in MODULES
        for name in imports(tree)
        if "views" in name.split(".")
        and app_of(name) not in ("", app_of(module))
        and ROWS[app_of(module)] < 9
    ]
    assert not found, "\n".join(found)


def test_the_adapter_for_litellm_needs_nothing_of_the_portal() -> None:
    tree = ast.parse((ROOT / "portal/gateway/adapters/litellm.py").read_text())
    assert not {name.split(".")[0] for name in imports(tree)} & {
        "django",
        "celery",
        "portal",
        "audit",
        "projects",
    }


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def attribute(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def test_tasks_are_sent_on_commit_never_from_inside_a_transaction() -> None:
    sent = [
        module
        for module, tree in MODULES
        for call in calls(tree)
        if attribute(call) in ("delay", "apply_async") and module != "portal.schedule.beat"
    ]
    assert sent == []


@pytest.mark.parametrize("app", ["portal.lib.money", "portal.spend", "portal.decision"])
def test_money_knows_no_floats(app: str) -> None:
    # Moments are floats; amounts never are.
    clocks = {
        f"portal.decision.{name}" for name in ("state", "rebuild", "health", "epoch", "renewal", "decider")
    }
    for module, tree in MODULES:
        if module.startswith(app) and module not in clocks:
            for node in ast.walk(tree):
                is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
                is_cast = (
                    isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
                )
                assert not is_float, (module, ast.unparse(node))
                assert not is_cast, (module, ast.unparse(node))


def test_forms_name_their_fields() -> None:
    for module, tree in MODULES:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "fields" for t in node.targets
            ):
                assert ast.unparse(node.value) != "'__all__'", module
            if isinstance(node, ast.Assign):
                assert not any(isinstance(t, ast.Name) and t.id == "exclude" for t in node.targets), module


def test_views_get_objects_through_the_gate() -> None:
    found = [
        f"{module}: {ast.unparse(call)}"
        for module, tree in MODULES
        if "views" in module.split(".")
        for call in calls(tree)
        if attribute(call) == "get"
        and ast.unparse(call.func).endswith(".objects.get")
        and {keyword.arg for keyword in call.keywords} & {"pk", "id"}
    ]
    assert not found, "\n".join(found)


# SQL that is put together from fixed names; every value in it is a parameter. Reviewed by hand.
REVIEWED = {
    "portal.checks",
    "portal.decision.explanation",
    "portal.decision.jobs",
    "portal.decision.last_use",
    "portal.monitoring.selectors",
    "portal.spend.inbox",
    "portal.spend.selectors",
    "portal.spend.settled",
    "projects.standing",
}


def test_sql_is_not_put_together_outside_the_reviewed_modules() -> None:
    found = []
    for module, tree in MODULES:
        for call in calls(tree):
            if attribute(call) in ("execute", "executemany", "raw", "extra") and call.args:
                text = call.args[0]
                is_made = isinstance(text, ast.JoinedStr | ast.BinOp) or (
                    isinstance(text, ast.Call) and attribute(text) in ("format", "join")
                )
                if is_made and module not in REVIEWED and not module.startswith("portal.demo"):
                    found.append(f"{module}: {ast.unparse(call)[:80]}")
    assert not found, "\n".join(found)
