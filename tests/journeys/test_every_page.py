"""Every page as the administrator finds it: accessible in both themes and on a phone, and it asks nobody but us."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.urls import Resolver404, resolve
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.conftest import Demo, Watch, own_hosts, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
WIDER = "found => found.some(one => one.scrollWidth > one.clientWidth + 1)"
# Files to take away and the end of the session.
NOT_PAGES = ("export", "template", "signout")
# Reached otherwise than by a link.
MORE = ["/", "/projects/", "/nothing-here/", "/projects/nothing-here/", "/accounts/no-access/"]
# Shown empty, narrowed, or with what was asked: another look of a page that the walk sees once.
LOOKS = [
    "/limits/?mode=observe",
    "/limits/?group=claims",
    "/limits/?measure=tokens%7Cmonth",
    "/alerts/?seen=yes",
    "/requests/all/",
    "/requests/mine/",
    "/keys/?q=triage-batch",
    "/tokens/?status=suspended",
    "/projects/?q=zzzz",
    "/projects/bulk/?do=move&p=cs-chat",
    "/projects/bulk/?do=limits&p=cs-chat&preview=1&daily=x",
    "/settings/notifications/deliveries/?state=failed",
]


@pytest.fixture(scope="module")
def window(browser: Browser, portal: Demo) -> Iterator[BrowserContext]:
    made = browser.new_context(
        base_url=portal.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    watch = Watch(made, own_hosts(portal))
    sign_in(made.new_page())
    yield made
    made.close()
    watch.is_quiet()


def pages(page: Page) -> Iterator[str]:
    """Open one page of every kind that links lead to, and yield its address."""
    seen: set[str] = set()
    waiting = deque(MORE)
    while waiting:
        path = waiting.popleft()
        kind = kind_of(path)
        if kind in seen or any(name in kind for name in NOT_PAGES):
            continue
        seen.add(kind)
        page.goto(path)
        yield path
        links = page.locator("a[href]").evaluate_all("found => found.map(link => link.href)")
        for link in links:
            parts = urlsplit(link)
            if parts.netloc == urlsplit(page.url).netloc:
                waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))


def kind_of(path: str) -> str:
    """Return the name of the view, or the path of what is none."""
    try:
        return resolve(urlsplit(path).path).view_name
    except Resolver404:
        return path


def problems(page: Page) -> list[str]:
    """Return what axe finds, in both themes, on a desk and on a phone."""
    found = []
    page.evaluate(AXE_SCRIPT)
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            found += [
                f"{page.url} {theme} {width}: {violation['id']} {node['target']} {node['failureSummary']}"
                for violation in page.evaluate(f"axe.run({json.dumps(OPTIONS)})")["violations"]
                for node in violation["nodes"]
            ]
        if width == 1440 and page.locator(".card > .region > .scroll, .card > .scroll").evaluate_all(WIDER):
            found.append(f"{page.url} has a table that scrolls sideways on a desk")
    for width in (2560, 390, 360):
        page.set_viewport_size({"width": width, "height": 900})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{page.url} scrolls sideways at {width}")
    page.set_viewport_size({"width": 1440, "height": 900})
    return found


def test_every_page_is_accessible(window: BrowserContext) -> None:
    page = window.new_page()
    visited: list[str] = []
    found: list[str] = []
    for path in pages(page):
        visited.append(path)
        found += problems(page)
    assert found == [], "\n".join(found)
    assert len(visited) > 25, visited


def test_every_other_look_is_accessible(window: BrowserContext) -> None:
    page = window.new_page()
    found: list[str] = []
    for path in LOOKS:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status in (200, 422), path
        found += problems(page)
    assert found == [], "\n".join(found)


def test_what_find_anything_shows_is_accessible(window: BrowserContext) -> None:
    page = window.new_page()
    found: list[str] = []
    for text in ("claims", "zzzz"):
        page.goto("/find/")
        search = page.get_by_role("main").get_by_role("searchbox")
        search.fill(text)
        search.press("Enter")
        expect(page.locator("main #find-results")).to_contain_text(text, ignore_case=True)
        found += problems(page)
    assert found == [], "\n".join(found)


def test_every_page_works_without_javascript(browser: Browser, portal: Demo, window: BrowserContext) -> None:
    plain = browser.new_context(
        base_url=portal.url,
        viewport={"width": 390, "height": 900},
        java_script_enabled=False,
        storage_state=window.storage_state(),
    )
    page = plain.new_page()
    visited, found = [], []
    for path in [*pages(page), *LOOKS]:
        if page.url != portal.url + path:
            page.goto(path)
        visited.append(path)
        found += lacks(page)
    plain.close()
    assert found == [], "\n".join(found)
    assert len(visited) > 60, visited


def lacks(page: Page) -> list[str]:
    """Return what of a page needs JavaScript: a heading, a form or a link that is only there with it."""
    found = page.evaluate(
        """() => [
            ...(document.querySelectorAll("h1").length === 1 ? [] : ["no heading of the page"]),
            ...[...document.querySelectorAll("[hx-get], [hx-post]")]
                .filter(one => one.matches("button, a") && !one.href && !one.form)
                .map(one => `does nothing: ${one.outerHTML.slice(0, 120)}`),
            ...[...document.querySelectorAll("main form")]
                .filter(form => form.querySelector("input:not([type=hidden]), select, textarea")
                    && !form.querySelector("button:not([type=button])")
                    && !document.querySelector(`button[form="${form.id}"]`))
                .map(form => `cannot be sent: ${form.outerHTML.slice(0, 120)}`),
            ...(document.documentElement.scrollWidth > innerWidth ? ["scrolls sideways"] : []),
        ]"""
    )
    return [f"{page.url}: {each}" for each in found]


def test_the_pages_before_sign_in_are_accessible(browser: Browser, portal: Demo) -> None:
    made = browser.new_context(base_url=portal.url, reduced_motion="reduce")
    watch = Watch(made, own_hosts(portal))
    page = made.new_page()
    found = []
    for path in ("/accounts/sign-in/", "/accounts/signed-out/", "/projects/"):
        page.goto(path)
        found += problems(page)
    made.close()
    assert found == [], "\n".join(found)
    watch.is_quiet()
