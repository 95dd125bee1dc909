"""Asks the Gateway API as granian does, without a socket, and checks every answer against its description."""

import io
import json
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from portal.gateway import http
from tests.gateway.test_openapi import DOCUMENT


@dataclass(frozen=True)
class Answer:
    """Status, headers in small letters and the raw body."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        return str(self.json.get("code", ""))


@dataclass
class Client:
    """A gateway with its secret."""

    secret: str = ""

    def ask(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Answer:
        """Send ``body`` as JSON, or ``raw`` as it is; header names with underscores."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(data)) if data else "",
            "CONTENT_TYPE": "application/json",
            "wsgi.input": io.BytesIO(data),
        }
        if self.secret:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {self.secret}"
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        seen: list[Any] = []
        content = b"".join(http.answer(environ, lambda status, fields: seen.extend([status, fields])))  # type: ignore[arg-type]
        answer = Answer(int(seen[0].split()[0]), {name.lower(): value for name, value in seen[1]}, content)
        _check(method, path, answer)
        return answer

    def post(self, name: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", f"/gateway/v1/{name}", body, **more)


def _check(method: str, path: str, answer: Answer) -> None:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-length"] == str(len(answer.raw)) or method == "HEAD"
    operation = DOCUMENT["paths"].get(path, {}).get(method.lower())
    if operation is None:
        return
    response = operation["responses"][str(answer.status)]
    if "content" not in response:
        assert answer.raw == b""
        return
    ((media_type, media),) = response["content"].items()
    assert answer.headers["content-type"] == media_type
    schema = {**DOCUMENT, "allOf": [media["schema"]]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(answer.json)
