"""What the environment says, and what it may not say."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from portal import env


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that names a data directory and nothing else."""
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "PORTAL_PEPPERS", "PORTAL_DB_POOL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORTAL_DATA_DIR", str(tmp_path))
    return tmp_path


def key(size: int = 32) -> str:
    return base64.b64encode(b"k" * size).decode()


def test_first_start_makes_secrets_once(bare: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: env.remember(bare), range(8)))
    assert all(one == made[0] for one in made)
    assert (bare / "environment.json").stat().st_mode & 0o777 == 0o600
    assert env.text("PORTAL_SECRET_KEY") == made[0]["PORTAL_SECRET_KEY"]
    assert list(env.peppers()) == [1]
    assert made[0]["PORTAL_OWNER_PASSWORD"] != made[0]["PORTAL_APP_PASSWORD"]


def test_variables_come_before_what_is_remembered(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env.remember(bare, {"PORTAL_BASE_URL": "http://127.0.0.1:8123"})
    assert env.text("PORTAL_BASE_URL") == "http://127.0.0.1:8123"
    monkeypatch.setenv("PORTAL_BASE_URL", "https://portal.example.com")
    assert env.text("PORTAL_BASE_URL") == "https://portal.example.com"


def test_a_stand_in_never_completes_a_real_sign_in(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env.remember(
        bare, {"ENTRA_CA_FILE": "/ca.pem", "GRAPH_URL": "https://localhost:1", "PORTAL_SECRET_KEY": "s"}
    )
    assert env.text("ENTRA_CA_FILE") == "/ca.pem"
    monkeypatch.setenv("ENTRA_TENANT_ID", "00000000-0000-4000-8000-000000000001")
    assert env.text("ENTRA_CA_FILE") == ""
    assert env.text("GRAPH_URL", "https://graph.microsoft.com") == "https://graph.microsoft.com"
    assert env.text("PORTAL_SECRET_KEY") == "s"


def test_own_servers_do_without_what_a_demo_left(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env.remember(bare)
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@b/c")
    monkeypatch.setenv("REDIS_URL", "redis://b")
    assert env.text("PORTAL_SECRET_KEY")
    monkeypatch.delenv("PORTAL_DATA_DIR")
    monkeypatch.setattr(env, "REPO", bare.parent)
    (bare.parent / "var").mkdir(exist_ok=True)
    env.remember(bare.parent / "var")
    assert env.text("PORTAL_SECRET_KEY") == ""


@pytest.mark.parametrize(("name", "missing"), [("DATABASE_URL", "REDIS_URL"), ("REDIS_URL", "DATABASE_URL")])
def test_one_server_alone_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, missing: str) -> None:
    monkeypatch.setenv(name, "redis://somewhere")
    with pytest.raises(env.Misconfigured, match=f"{name} is set but {missing} is not"):
        env.is_embedded()


def test_database_url_is_taken_apart() -> None:
    found = env.database(
        "postgresql://us%40er:p%2Fw@db.example.com:6432/portal?sslmode=verify-full&sslrootcert=/ca"
    )
    assert found["USER"] == "us@er"
    assert found["PASSWORD"] == "p/w"
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example.com", "6432", "portal")
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert found["OPTIONS"]["connect_timeout"] == 2
    assert "statement_timeout=5s" in found["OPTIONS"]["options"]
    assert "pool" not in found["OPTIONS"]
    assert found["CONN_MAX_AGE"] == 60


def test_embedded_addresses_lead_into_the_data_directory(bare: Path) -> None:
    env.remember(bare)
    found = env.database()
    assert found["HOST"] == str(bare / "pgdata")
    assert found["USER"] == "portal_app"
    assert env.database(env.text("DATABASE_OWNER_URL"))["USER"] == "portal_owner"
    assert env.broker_url() == f"redis+socket://{bare}/valkey/valkey.sock?virtual_host=0"
    assert env.broker_url("redis://b:6379/1") == "redis://b:6379/1"


def test_timeouts_and_pool_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_STATEMENT_TIMEOUT", "0")
    monkeypatch.setenv("PORTAL_DB_POOL", "4")
    found = env.database("postgresql://a@b/c")
    assert "statement_timeout=0 " in found["OPTIONS"]["options"]
    assert found["OPTIONS"]["pool"]["max_size"] == 4
    assert found["CONN_MAX_AGE"] == 0


def test_peppers_are_read_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_PEPPERS", f"1:{key()}, 7:{key(48)}")
    assert {number: len(pepper) for number, pepper in env.peppers().items()} == {1: 32, 7: 48}


@pytest.mark.parametrize(
    "value",
    [
        "secret",
        "1:short",
        f"1:{key(16)}",
        f"0:{key()}",
        f"x:{key()}",
        f"1:{key()},1:{key()}",
        f"40000:{key()}",
    ],
)
def test_bad_peppers_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORTAL_PEPPERS", value)
    with pytest.raises(env.Misconfigured):
        env.peppers()


def test_flags_and_numbers_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DEBUG", "maybe")
    monkeypatch.setenv("PORTAL_TRUSTED_PROXIES", "-1")
    with pytest.raises(env.Misconfigured, match="must be 1 or 0"):
        env.flag("PORTAL_DEBUG")
    with pytest.raises(env.Misconfigured, match="at least 0"):
        env.number("PORTAL_TRUSTED_PROXIES", 0)


def test_a_broken_file_is_named(bare: Path) -> None:
    (bare / "environment.json").write_text(json.dumps(["not", "an object"]))
    with pytest.raises(env.Misconfigured, match=r"environment\.json is not an object"):
        env.text("PORTAL_SECRET_KEY")


@pytest.mark.parametrize(
    ("url", "backend", "settings"),
    [
        ("", "dummy", {"HAS_MAIL": False}),
        ("console:", "console", {}),
        ("file:///var/mail%20here", "filebased", {"EMAIL_FILE_PATH": "/var/mail here"}),
        (
            "smtp://me%40x:p%3Aw@mail.example:2525",
            "smtp",
            {
                "EMAIL_HOST_USER": "me@x",
                "EMAIL_HOST_PASSWORD": "p:w",
                "EMAIL_PORT": 2525,
                "EMAIL_USE_TLS": True,
            },
        ),
        ("smtp://relay.example?tls=none", "smtp", {"EMAIL_PORT": 587, "EMAIL_USE_TLS": False}),
        ("smtps://mail.example", "smtp", {"EMAIL_PORT": 465, "EMAIL_USE_SSL": True, "EMAIL_USE_TLS": False}),
    ],
)
def test_one_address_says_how_mail_leaves(url: str, backend: str, settings: dict[str, object]) -> None:
    found = env.email(url)
    assert found["EMAIL_BACKEND"] == f"django.core.mail.backends.{backend}.EmailBackend"
    assert settings.items() <= found.items()


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://x?tls=maybe"])
def test_an_address_that_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(env.Misconfigured):
        env.email(url)
