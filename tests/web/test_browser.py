"""The script in a real browser, under the policy header: dialogs, lists, failures, keys, theme."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.chromium import find

pytestmark = pytest.mark.browser

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What the browser and htmx themselves say of an answer that is an error.
EXPECTED = re.compile(r"Failed to load resource|Response Status Error Code|htmx:(afterRequest|sendError)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, sample_url: str) -> Iterator[Page]:
    """A page of the samples; anything the browser refuses or the script throws fails the test."""
    context = browser.new_context(
        base_url=sample_url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    yield page
    context.close()
    assert [text for text in said if not EXPECTED.match(text)] == []


def test_a_list_sorts_filters_and_pages_without_loading_the_page(page: Page) -> None:
    page.goto("/projects/")
    page.evaluate("window.isSame = true")
    page.get_by_role("link", name="Project", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Project")
    assert "sort=name" in page.url
    expect(page.locator("#sort-name")).to_be_focused()
    page.get_by_role("searchbox").press_sequentially("claims")
    expect(page.locator("output").first).to_have_text("9 projects")
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert re.search(r"\?(q=claims&sort=name|sort=name&q=claims)$", page.url), page.url
    page.get_by_role("searchbox").fill("")
    expect(page.locator("output").first).to_have_text("41 projects")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("link", name="Previous")).to_be_visible()
    expect(page.locator("caption")).to_be_focused()
    assert page.evaluate("window.isSame")
    page.go_back()
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)


def test_a_dialog_opens_tells_errors_and_closes_with_a_toast(page: Page) -> None:
    page.goto("/projects/")
    opener = page.locator(".page-head").get_by_role("link", name="Rename")
    opener.click()
    dialog = page.get_by_role("dialog", name="Rename the project")
    expect(dialog.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    opener.click()
    dialog.get_by_label("Name").fill("Claims")
    dialog.get_by_role("button", name="Rename").click()
    expect(page.locator("#errors")).to_be_focused()
    expect(dialog.get_by_label("Name")).to_have_value("Claims")
    expect(page.locator("dialog:modal")).to_have_count(1)
    dialog.get_by_label("Code").fill("claims")
    with page.expect_response(lambda r: "/projects/" in r.url and r.request.method == "GET"):
        dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#toasts")).to_have_text("Renamed")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#toasts")).to_have_text("")


def test_a_deletion_needs_the_code(page: Page) -> None:
    page.goto("/projects/")
    page.locator(".page-head").get_by_role("link", name="Delete group").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Type the group code")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.type("claims")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_have_text("Group Claims deleted")
    assert page.url.endswith("/projects/")


def test_a_secret_stays_until_the_box_is_ticked_and_then_is_gone(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/projects/")
    page.get_by_role("button", name="Issue user token").click()
    dialog = page.get_by_role("dialog", name="Token issued")
    for _ in range(3):
        page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Copy").first.click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("lgw_u_7Qm2")
    dialog.get_by_label("I have stored it").check()
    dialog.get_by_role("button", name="Done").click()
    expect(page.locator("#dialogs")).to_have_text("")
    assert "lgw_u_7Qm2" not in page.content()


def test_a_failure_is_told_in_place_and_can_be_tried_again(page: Page) -> None:
    page.goto("/projects/")
    page.route("**/projects/?*", lambda route: route.abort())
    page.locator("#sort-name").click()
    alert = page.locator(".card > .failure")
    expect(alert).to_contain_text("The portal did not answer.")
    page.unroute("**/projects/?*")
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Project")
    expect(alert).to_have_count(0)
    page.locator("#fails").click()
    told = page.locator("main > .failure")
    expect(told).to_contain_text("Something failed on our side.")
    expect(told).to_contain_text("Reference ")


def test_an_ended_session_loads_the_sign_in_page(page: Page) -> None:
    page.goto("/projects/?sort=name")
    page.get_by_role("link", name="End").click()
    page.wait_for_url("**/sign-in/?next=%2Fprojects%2F%3Fsort%3Dname")


def test_live_figures_turn_amber_and_stay(page: Page) -> None:
    page.goto("/")
    live = page.locator("[data-poll]")
    expect(live).to_have_class(re.compile(r"\bwarn\b"))
    expect(live).to_have_text("Last update 11:42:08, trying again")
    expect(page.locator(".failure")).to_have_count(0)


def test_the_theme_changes_at_once_and_is_there_from_the_first_paint(page: Page) -> None:
    page.goto("/projects/")
    page.locator("[popovertarget=me]").click()
    with page.expect_response("**/preferences/"):
        page.get_by_role("button", name="Theme: dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Theme: dark")).to_have_attribute("aria-pressed", "true")
    response = page.reload()
    assert response is not None
    assert 'data-theme="dark"' in response.text()


def test_keys_go_search_and_can_be_turned_off(page: Page) -> None:
    page.goto("/projects/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("gm")
    assert page.url.endswith("/projects/") or "q=gm" in page.url
    page.get_by_role("searchbox").blur()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    with page.expect_response("**/preferences/"):
        keys.get_by_role("button", name="Turn single keys off").click()
    keys.get_by_role("button", name="Close").last.click()
    page.keyboard.press("?")
    expect(keys).to_be_hidden()
    page.goto("/projects/")
    page.locator("main").press("g")
    page.keyboard.press("m")
    assert "/projects/" in page.url
    page.context.clear_cookies()
    page.goto("/projects/")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url(re.compile(r":\d+/$"))


def test_rows_are_chosen_together(page: Page) -> None:
    page.goto("/projects/")
    bulk = page.locator(".bulk")
    expect(bulk).to_be_hidden()
    page.get_by_label("Select Fraud case notes 33").check()
    expect(bulk).to_contain_text("1 selected")
    page.get_by_label("Select all projects on this page").check()
    expect(bulk).to_contain_text("14 selected")
    expect(page.locator(".pager")).to_be_hidden()
    page.get_by_role("button", name="Clear selection").click()
    expect(bulk).to_be_hidden()


def test_menus_stay_inside_the_window(page: Page) -> None:
    page.goto("/projects/")
    for name in ("me", "a-project-33", "a-project-22"):
        page.locator(f"[popovertarget={name}]").click()
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900
        page.keyboard.press("Escape")


@pytest.mark.parametrize("script", ["on", "off"])
def test_a_hostile_name_stays_text(browser: Browser, sample_url: str, script: str) -> None:
    context = browser.new_context(base_url=sample_url, java_script_enabled=script == "on")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hostile = '"><img src=//evil.example/x><div hx-get=/signout/ hx-trigger=load><script>alert(1)</script>'
    page.goto("/projects/")
    page.get_by_role("searchbox").fill(hostile)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No projects match")).to_be_visible()
    paths = {urlsplit(url).path for url in asked}
    assert all(url.startswith(sample_url) for url in asked)
    assert "/signout/" not in paths
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
@pytest.mark.parametrize("path", ["/", "/projects/", "/form/", "/edit/", "/delete/", "/nothing/"])
def test_pages_are_accessible_and_fit(page: Page, path: str, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(path)
    violations = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(v["id"], [node["target"] for node in v["nodes"]]) for v in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
