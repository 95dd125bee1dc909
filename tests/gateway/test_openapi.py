"""The published description of the Gateway API is valid, and says what the code does."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from portal.gateway import http, openapi
from portal.lib.problems import PROBLEMS

DOCUMENT: dict[str, Any] = json.loads(openapi.document())


def check(name: str, value: Any) -> None:
    """Raise ValidationError unless the value has the shape of the named schema."""
    schema = {**DOCUMENT, "$ref": f"#/components/schemas/{name}"}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_described_with_its_method() -> None:
    described = {(path, method.upper()) for path, method, _ in operations() if "ext_authz" not in path}
    assert described == {(path, route.method) for path, route in http._ROUTES.items()}


def test_every_example_has_the_shape_it_stands_for() -> None:
    seen = 0
    for _, _, operation in operations():
        bodies = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        bodies += [
            response["content"] for response in operation["responses"].values() if "content" in response
        ]
        for content in bodies:
            for media in content.values():
                examples = [item["value"] for item in media.get("examples", {}).values()]
                if "example" in media:
                    examples.append(media["example"])
                for example in examples:
                    schema = {**DOCUMENT, "allOf": [media["schema"]]}
                    Draft202012Validator(schema, format_checker=FormatChecker()).validate(example)
                    seen += 1
    assert seen > 60


def test_every_problem_is_answered_somewhere_with_its_own_status() -> None:
    found: dict[str, set[int]] = {}
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                for code in media.get("examples", {}):
                    found.setdefault(code, set()).add(int(status))
    assert found == {
        code: {status} for code, (status, *_) in PROBLEMS.items() if code != "method_not_allowed"
    }


@pytest.mark.parametrize("status", sorted({status for status, *_ in PROBLEMS.values()}))
def test_every_status_has_a_reason(status: int) -> None:
    assert http._REASONS[status].startswith(f"{status} ")
