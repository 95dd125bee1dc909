"""A person at the portal without script: pages and forms over real HTTP, Microsoft's pages included."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

_SECRETS = re.compile(r"llmgw_(?:ut|ak|gw)_\w{12}_\w{38}")


class _Forms(HTMLParser):
    """The hidden fields of each form of a page, by its address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, list[str]]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((values.get("action", ""), {}))
        elif tag == "input" and values.get("type") == "hidden" and self.found:
            self.found[-1][1].setdefault(values.get("name", ""), []).append(values.get("value", ""))


class Visitor:
    """Somebody with a browser; `answers` are addresses and texts of all they were shown."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.answers: list[tuple[str, str]] = []
        self.session.hooks["response"].append(self._note)

    def _note(self, answer: requests.Response, **_: Any) -> None:
        """Keep what was shown, without what the request itself had said: a search shows what it searched for."""
        body = answer.request.body or ""
        sent = unquote(f"{answer.request.url} {body.decode('latin-1') if isinstance(body, bytes) else body}")
        text = answer.text
        for secret in set(_SECRETS.findall(sent)):
            text = text.replace(secret, "")
        self.answers.append((urlsplit(answer.url).path, text))

    def sign_in(self, who: str) -> None:
        """Sign in through the stand-in for Microsoft's sign-in."""
        page = self.post("/accounts/sign-in/microsoft/", on="/accounts/sign-in/", next="/projects/")
        page = self.session.post(page.url, data={"account": who}, timeout=30)
        assert page.url == f"{self.url}/projects/", page.url

    def get(self, path: str, status: int = 200) -> requests.Response:
        """Open a page, through Microsoft when that is asked for."""
        answer = self.session.get(f"{self.url}{path}", timeout=30)
        if urlsplit(answer.url).path == "/accounts/confirm/":
            answer = self._confirm(answer)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return answer

    def post(
        self, path: str, *, on: str | requests.Response = "", status: int = 200, **fields: Any
    ) -> requests.Response:
        """Send a form as the page `on` (else its own) has it, through Microsoft when that is asked for."""
        page = (self.get(on or path) if isinstance(on, str) else on).text
        given = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert given, f"no form for {path}"
        form = next((hidden for action, hidden in _Forms(page).found if action in ("", path)), {})
        data = {**form, **fields, "csrfmiddlewaretoken": given[1]}
        answer = self._send(f"{self.url}{path}", data)
        if urlsplit(answer.url).path == "/accounts/confirm/":
            answer = self._confirm(answer)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return answer

    def _confirm(self, page: requests.Response) -> requests.Response:
        """Confirm at Microsoft, where the session of a minute ago is enough, and send the form that waits, if any."""
        [(action, fields)] = [form for form in _Forms(page.text).found if form[0] == "/accounts/confirm/"]
        page = self._send(f"{self.url}{action}", fields)
        if urlsplit(page.url).path != "/accounts/confirm/resume/":
            return page
        [(action, fields)] = _Forms(page.text).found
        return self._send(f"{self.url}{action}", fields)

    def _send(self, address: str, data: Any) -> requests.Response:
        # A browser names the page it comes from; Django wants it only over https.
        return self.session.post(address, data=data, headers={"Referer": address}, timeout=60)
