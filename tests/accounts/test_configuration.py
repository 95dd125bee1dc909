"""The settings of sign-in, from the environment."""

import uuid

import pytest
from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import URLPattern, get_resolver
from django.urls.resolvers import URLResolver

from portal.accounts.checks import check_sign_in
from portal.accounts.conf import allauth_settings

TENANT = str(uuid.uuid4())
COMPLETE = {"ENTRA_TENANT_ID": TENANT, "ENTRA_CLIENT_ID": "c", "ENTRA_CLIENT_SECRET": "s"}


def test_graph_uses_the_registration_of_sign_in_by_default() -> None:
    made = allauth_settings(COMPLETE)

    assert made["ENTRA_AUTHORITY"] == made["ENTRA_GRAPH_AUTHORITY"] == "https://login.microsoftonline.com"
    assert made["GRAPH_URL"] == "https://graph.microsoft.com"
    assert (made["GRAPH_CLIENT_ID"], made["GRAPH_CLIENT_SECRET"]) == ("c", "s")


def test_graph_has_a_registration_of_its_own_where_one_is_given() -> None:
    made = allauth_settings(
        COMPLETE | {"GRAPH_CLIENT_ID": "g", "GRAPH_CERTIFICATE": "/c", "GRAPH_PRIVATE_KEY": "/k"}
    )

    assert (made["GRAPH_CLIENT_ID"], made["GRAPH_CLIENT_SECRET"], made["GRAPH_CERTIFICATE"]) == (
        "g",
        "",
        "/c",
    )


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers", "contoso.onmicrosoft.com", ""])
def test_only_one_tenant_is_accepted(tenant: str) -> None:
    made = allauth_settings(COMPLETE | {"ENTRA_TENANT_ID": tenant})
    with_settings = {name: made[name] for name in made if name.startswith(("ENTRA_", "GRAPH_"))}

    assert "accounts.E001" in [problem.id for problem in check(with_settings)]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ENTRA_TENANT_ID": "9188040d-6c67-4c5b-b112-36a304b66dad"}, "accounts.E001"),
        ({"ENTRA_CLIENT_ID": ""}, "accounts.E002"),
        ({"ENTRA_CLIENT_SECRET": ""}, "accounts.E002"),
        (
            {"ENTRA_CLIENT_SECRET": "", "ENTRA_CERTIFICATE": "/none", "ENTRA_PRIVATE_KEY": "/none"},
            "accounts.E003",
        ),
        ({"ENTRA_AUTHORITY": "http://login.example"}, "accounts.E004"),
        ({"ENTRA_AUTHORITY": "https://login.microsoftonline.us"}, ""),
        ({"ENTRA_AUTHORITY": "http://localhost:9000"}, ""),
        ({}, ""),
    ],
)
def test_configuration_is_checked(changes: dict[str, str], problem: str) -> None:
    made = allauth_settings(COMPLETE | changes)

    assert [each.id for each in check(made)] == ([problem] if problem else [])


def check(values: dict[str, object]) -> list[CheckMessage]:
    from django.test import override_settings

    with override_settings(
        **{name: value for name, value in values.items() if name.startswith(("ENTRA_", "GRAPH_"))}
    ):
        return list(check_sign_in())


def test_public_pages_are_few() -> None:
    public = {
        each.name for each in patterns(get_resolver()) if not getattr(each.callback, "login_required", True)
    }

    assert public >= {"begin", "callback", "front_channel", "signed_out", "signin"}
    assert len(public) <= 6


def test_nothing_of_passwords_is_installed() -> None:
    assert settings.AUTHENTICATION_BACKENDS == ["portal.accounts.backends.IdentityBackend"]
    assert "django.contrib.admin" not in settings.INSTALLED_APPS
    assert "portal.accounts.middleware.SignInRequiredMiddleware" in settings.MIDDLEWARE
    made = allauth_settings()
    assert made["SOCIALACCOUNT_EMAIL_AUTHENTICATION"] is False
    assert made["SOCIALACCOUNT_STORE_TOKENS"] is False


def patterns(resolver: URLResolver) -> list[URLPattern]:
    found: list[URLPattern] = []
    for each in resolver.url_patterns:
        found += patterns(each) if isinstance(each, URLResolver) else [each]
    return found
