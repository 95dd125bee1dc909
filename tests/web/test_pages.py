"""One convention: a page, or its region when htmx asks; a dialog over a page, or a page of its own."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.test.client import FakePayload

HTMX = {"HX-Request": "true"}


def test_a_list_is_a_page_or_its_region(sample: Client) -> None:
    page = sample.get("/projects/").content.decode()
    region = sample.get("/projects/", headers=HTMX).content.decode()
    assert "<!doctype html>" in page
    assert "hx-swap-oob" not in page
    assert region.strip().startswith('<div class="region" id="project-table"')
    assert '<output id="project-table-count" hx-swap-oob="true">41 projects</output>' in region
    assert "<html" not in region


@pytest.mark.parametrize("name", ["HX-Boosted", "HX-History-Restore-Request"])
def test_a_boosted_page_and_one_from_the_history_are_whole(sample: Client, name: str) -> None:
    assert "<!doctype html>" in sample.get("/projects/", headers={**HTMX, name: "true"}).content.decode()


def test_order_and_filters_live_in_the_address(sample: Client) -> None:
    html = sample.get("/projects/?q=claims&group=Claims&sort=name&cursor=x&evil=1").content.decode()
    assert 'value="claims"' in html
    assert '<option value="Claims" selected>' in html
    assert 'aria-sort="ascending"' in html
    assert re.search(r'href="\?q=claims&amp;group=Claims&amp;sort=-name[^"]*"', html)
    assert re.search(r'href="\?q=claims&amp;group=Claims&amp;sort=-month[^"]*"', html)
    assert not re.search(r'id="sort-[^"]*" href="[^"]*cursor', html)


@pytest.mark.parametrize("query", ["sort=evil", "group=Nowhere", "sort=-state", "q=%00"])
def test_an_altered_address_shows_a_list(sample: Client, query: str) -> None:
    response = sample.get(f"/projects/?{query}")
    assert response.status_code == 200
    assert "This month" in response.content.decode() or "No projects match" in response.content.decode()


def test_the_navigation_marks_where_the_person_is(sample: Client) -> None:
    html = sample.get("/projects/").content.decode()
    assert re.search(r'href="/projects/" data-go="p" aria-current="page"', html)
    assert html.count('aria-current="page"') == 1
    gateways = sample.get("/gateways/")
    assert gateways.status_code == 200


def test_a_dialog_lies_over_the_page_or_is_one(sample: Client) -> None:
    over = sample.get("/edit/", headers=HTMX)
    assert over["HX-Retarget"] == "#dialogs"
    assert over["HX-Reswap"] == "innerHTML"
    assert '<dialog id="dialog" data-open' in over.content.decode()
    alone = sample.get("/edit/").content.decode()
    assert '<dialog id="dialog" open' in alone
    assert "<title>Rename the project · LLM Gateway</title>" in " ".join(alone.split())
    assert '<h1 class="sr">Rename the project</h1>' in alone


def test_a_dialog_with_errors_stays_and_keeps_what_was_typed(sample: Client) -> None:
    for headers in ({}, HTMX):
        response = sample.post("/edit/", {"name": "Claims", "code": "no code"}, headers=headers)
        assert response.status_code == 422
        html = response.content.decode()
        assert 'value="no code"' in html
        assert 'id="errors"' in html
    assert "HX-Retarget" in response


def test_a_change_closes_the_dialog_and_says_so(sample: Client) -> None:
    data = {"name": "Claims", "code": "claims"}
    done = sample.post("/edit/", data, headers=HTMX)
    assert done.status_code == 204
    assert json.loads(done["HX-Trigger"]) == {"toast": "Renamed", "done": True, "project-table": True}
    page = sample.post("/edit/", data, follow=True)
    assert page.redirect_chain == [("/projects/", 302)]
    assert "<span>Renamed</span>" in page.content.decode()


def test_a_redirect_is_a_page_load_for_htmx(sample: Client) -> None:
    response = sample.post("/delete/", {"confirm": "claims"}, headers=HTMX)
    assert response.status_code == 204
    assert response["HX-Redirect"] == "/projects/"
    assert "Group Claims deleted" in sample.get("/projects/").content.decode()


def test_an_ended_session_leads_to_sign_in_and_back_to_the_page(sample: Client) -> None:
    here = {**HTMX, "HX-Current-URL": "http://testserver/projects/?group=Claims"}
    assert sample.get("/ended/", headers=here)["HX-Redirect"] == (
        "/sign-in/?next=%2Fprojects%2F%3Fgroup%3DClaims"
    )
    elsewhere = {**HTMX, "HX-Current-URL": "https://evil.example/x"}
    assert sample.get("/ended/", headers=elsewhere)["HX-Redirect"] == "/sign-in/"
    assert sample.get("/ended/").status_code == 302


def test_a_secret_is_in_the_answer_to_the_post_alone(sample: Client) -> None:
    for headers in ({}, HTMX):
        response = sample.post("/issue/", headers=headers)
        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"
        html = response.content.decode()
        assert html.count("lgw_u_7Qm2") == 1
        assert 'closedby="none"' in html
        assert "required form=" in html
        assert 'aria-label="Close"' not in html.split('<dialog id="dialog"')[1].split("</dialog>")[0]
        assert "lgw_u_7Qm2" not in str(response.headers)
    assert json.loads(response["HX-Trigger"]) == {"project-table": True}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("/nothing/", 404, "There is nothing here"), ("/forbidden/", 403, "You may not do this")],
)
def test_errors_are_generic(sample: Client, path: str, status: int, words: str) -> None:
    response = sample.get(path)
    assert response.status_code == status
    assert words in response.content.decode()
    assert response["X-Request-ID"] in response.content.decode()


@pytest.mark.parametrize("length", [str(1024 * 1024 + 1), "9" * 40, "-1", "ten"])
def test_too_large_a_body_is_refused_before_it_is_read(sample: Client, length: str) -> None:
    body = FakePayload(b"")
    sent: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": body}
    for headers in ({}, HTMX):
        response = sample.generic("POST", "/issue/", headers=headers, **sent)
        assert response.status_code == 413
        assert "At most 1 MB can be sent" in response.content.decode()
        assert response["Content-Security-Policy"]
    assert not body.read_started


def test_a_failure_tells_nothing_of_its_cause(sample: Client) -> None:
    client = Client(raise_request_exception=False)
    page = client.get("/broken/")
    assert page.status_code == 500
    assert "on purpose" not in page.content.decode()
    assert page["X-Request-ID"] in page.content.decode()
    told = client.get("/broken/", headers=HTMX)
    assert told["Content-Type"] == "text/plain"
    assert told.content.decode().startswith("Something failed on our side.")


def test_a_server_that_is_away_is_told_of_and_where_to_try_again(sample: Client) -> None:
    client = Client(raise_request_exception=False)
    page = client.get("/away/?q=one")
    assert (page.status_code, page["Retry-After"]) == (503, "10")
    assert "The portal cannot answer now" in page.content.decode()
    assert 'href="/away/?q=one"' in page.content.decode()
    assert "10.0.0.7" not in page.content.decode()
    form = client.post(
        "/away/", {"name": 'Claims "triage"', "csrfmiddlewaretoken": "theirs"}
    ).content.decode()
    assert '<input type="hidden" name="name" value="Claims &quot;triage&quot;">' in form
    assert form.count("csrfmiddlewaretoken") == form.count("theirs") == 1
    told = client.get("/away/", headers=HTMX)
    assert told.content.decode().startswith("A server that the portal needs does not answer.")


def test_the_theme_is_kept_and_rendered_by_the_server(sample: Client) -> None:
    assert "data-theme" not in sample.get("/projects/").content.decode()
    back = sample.post("/preferences/", {"theme": "dark"}, headers={"Referer": "http://testserver/form/"})
    assert back["Location"] == "http://testserver/form/"
    assert back.cookies["theme"]["httponly"]
    assert '<html lang="en" data-theme="dark">' in sample.get("/projects/").content.decode()
    assert '<html lang="en" data-theme="dark">' in sample.get("/nothing/").content.decode()
    assert sample.post("/preferences/", {"theme": "system"}, headers=HTMX).status_code == 204
    assert "data-theme" not in sample.get("/projects/").content.decode()


def test_single_keys_can_be_turned_off(sample: Client) -> None:
    sample.post("/preferences/", {"keys": "off"})
    assert 'data-shortcuts="off"' in sample.get("/projects/").content.decode()


@pytest.mark.parametrize("value", ['dark"><script>', "", "blue"])
def test_an_unknown_theme_is_none(sample: Client, value: str) -> None:
    sample.cookies["theme"] = value
    assert "data-theme" not in sample.get("/projects/").content.decode()


def test_preferences_lead_nowhere_else(sample: Client) -> None:
    response = sample.post("/preferences/", {"theme": "dark"}, headers={"Referer": "https://evil.example/"})
    assert response["Location"] == "/"
    assert sample.get("/preferences/").status_code == 405
