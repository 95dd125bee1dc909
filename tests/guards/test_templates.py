"""Templates obey the policy header: nothing inline, nothing evaluated, nothing unescaped."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(
    path
    for path in ROOT.rglob("templates/**/*.html")
    if not {".venv", "var", "build", "node_modules"} & set(path.relative_to(ROOT).parts)
)
COMMENT = re.compile(r"{#.*?#}|{% comment %}.*?{% endcomment %}|<!--.*?-->", re.DOTALL)

FORBIDDEN = {
    "a style attribute": r"\sstyle\s*=",
    "a style element": r"<style\b",
    "an inline handler": r"\son[a-z]+\s*=",
    "hx-on": r"\b(data-)?hx-on",
    "a value that is evaluated": r"[\"']\s*(js|javascript):",
    "a trigger filter, which is evaluated": r"hx-trigger\s*=\s*[\"'][^\"']*\[",
    "|safe": r"\|\s*safe(seq)?\b",
    "autoescape off": r"autoescape\s+off",
    "an extension of htmx": r"\bhx-(ext|vars)\s*=",
    "a script without the nonce": r"<script(?![^>]*\bnonce=\"{{ csp_nonce }}\")[^>]*>",
    "an inline script": r"<script(?![^>]*\bsrc=)[^>]*>",
    "an hx-select that the elements inside inherit": r"<\w+(?=[^>]*\shx-select\b)(?![^>]*\shx-disinherit\b)[^>]*>",
    "a nonce outside the frame": None,
    "another origin": r"\b(src|hx-get|hx-post|action)\s*=\s*[\"'](https?:)?//",
}
FRAME = {"templates/base.html"}

# Where markup is made in Python. Each place was read: it is built from escaped parts or from a template.
MARKED_SAFE = {"portal/web/charts.py", "portal/web/templatetags/portal.py", "portal/accounts/pickers.py"}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_obeys_the_policy(path: Path) -> None:
    text = COMMENT.sub("", path.read_text())
    name = str(path.relative_to(ROOT))
    found = [
        what for what, pattern in FORBIDDEN.items() if pattern and re.search(pattern, text, re.IGNORECASE)
    ]
    if "csp_nonce" in text and name not in FRAME:
        found.append("a nonce outside the frame")
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        '<p style="color:red">',
        '<b onclick="x()">',
        '<a hx-on::click="x">',
        "<a hx-vals='js:{a: 1}'>",
        '<a hx-trigger="click[ctrlKey]">',
        "{{ name|safe }}",
        '<script src="/x.js">',
        '<script nonce="{{ csp_nonce }}">alert()',
        "<style>",
        '<img src="//evil.example/x.png">',
        '<div hx-get="/" hx-select="main" hx-target="main">',
    ],
)
def test_the_guard_sees_what_it_forbids(text: str) -> None:
    assert any(pattern and re.search(pattern, text, re.IGNORECASE) for pattern in FORBIDDEN.values())


def test_markup_is_made_in_few_places() -> None:
    pattern = re.compile(r"\b(mark_safe|SafeString|SafeText|html_safe)\s*\(")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("portal", "audit", "groups", "projects", "tokens", "apikeys")
        for path in (ROOT / folder).rglob("*.py")
        if pattern.search(path.read_text())
    }
    assert found <= MARKED_SAFE


def test_every_template_says_what_it_needs() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in TEMPLATES
        if "tests" not in path.parts and not path.read_text().startswith("{#")
    ]
    assert silent == []


def test_the_script_stays_small_and_evaluates_nothing() -> None:
    text = (ROOT / "static/js/portal.js").read_text()
    assert text.count("\n") < 200
    assert not re.search(
        r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write|\.style\b", text
    )


def test_colours_are_named_in_one_file() -> None:
    pattern = re.compile(
        r"#[0-9a-f]{3,8}\b(?<!#0000)|\b(oklch|rgba?|hsla?)\(|:\s*(white|black)\b", re.IGNORECASE
    )
    for path in sorted((ROOT / "static/css").glob("*.css")):
        if path.name != "tokens.css":
            assert pattern.findall(path.read_text()) == [], path.name
