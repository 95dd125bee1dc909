"""What the environment says: the only reader of variables, free of Django.

A variable that is not set falls back to `environment.json` in the data directory, which keeps what a first
start generated (secret key, pepper, database passwords) and what a running demo tells about itself. The file
counts when the embedded servers are used, or when PORTAL_DATA_DIR names it: a deployment that brings its own
servers never picks up a demo's leftovers by accident.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

REPO = Path(__file__).resolve().parents[1]
OWNER_ROLE, APP_ROLE, DATABASE = "portal_owner", "portal_app", "portal"
# A socket address holds 108 bytes on Linux and 104 on macOS, its final NUL included.
_SOCKET_PATH_MAX = 100
_SERVER_URLS = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
_SIGN_IN = ("ENTRA_", "GRAPH_")


class Misconfigured(ValueError):
    """The environment contradicts itself or misses something; the text says what to do."""


def data_dir() -> Path:
    """The directory of data, secrets and sockets: PORTAL_DATA_DIR, or `var` beside manage.py."""
    return Path(os.environ.get("PORTAL_DATA_DIR") or REPO / "var").expanduser().resolve()


def is_embedded() -> bool:
    """Whether the embedded servers are meant: neither server is named by the environment."""
    database, redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if bool(database) != bool(redis):
        here, missing = ("DATABASE_URL", "REDIS_URL") if database else ("REDIS_URL", "DATABASE_URL")
        raise Misconfigured(
            f"{here} is set but {missing} is not. Set both to use your own servers, "
            "or unset both to use the embedded ones."
        )
    return not database


def text(name: str, default: str = "") -> str:
    """The variable, else what the data directory remembers, else the default. An empty variable is unset."""
    found = os.environ.get(name) or _remembered().get(name)
    if not found and name in _SERVER_URLS and is_embedded():
        found = embedded_urls(data_dir())[name]
    return found or default


def flag(name: str, default: bool = False) -> bool:
    """A variable that is on or off."""
    value = text(name).strip().lower()
    if not value:
        return default
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise Misconfigured(f"{name} must be 1 or 0, not {value!r}.")


def number(name: str, default: int, *, least: int = 0) -> int:
    """A whole number, at least `least`."""
    value = text(name).strip()
    try:
        parsed = int(value) if value else default
    except ValueError:
        raise Misconfigured(f"{name} must be a whole number, not {value!r}.") from None
    if parsed < least:
        raise Misconfigured(f"{name} must be at least {least}, not {parsed}.")
    return parsed


def peppers() -> dict[int, bytes]:
    """Pepper id → key from PORTAL_PEPPERS (`1:base64,2:base64`); empty when none is configured.

    The highest number is the one new digests are made with.
    """
    found: dict[int, bytes] = {}
    for item in filter(None, (part.strip() for part in text("PORTAL_PEPPERS").split(","))):
        number_, separator, encoded = item.partition(":")
        try:
            key, pepper_id = base64.b64decode(encoded, validate=True), int(number_)
        except (binascii.Error, ValueError):
            separator = ""
        if not separator or not 0 < pepper_id < 2**15:
            raise Misconfigured("PORTAL_PEPPERS must look like 1:<base64>,2:<base64>.")
        if len(key) < 32:
            raise Misconfigured(f"Pepper {pepper_id} in PORTAL_PEPPERS is shorter than 32 bytes.")
        if pepper_id in found:
            raise Misconfigured(f"Pepper {pepper_id} is in PORTAL_PEPPERS twice.")
        found[pepper_id] = key
    return found


def database(url: str = "") -> dict[str, Any]:
    """A `DATABASES` entry from `postgresql://user:password@host:port/name?host=/socket/directory&sslmode=…`.

    Connections live 60 s: one for each thread of the web server, checked before it is used again. With
    PORTAL_DB_POOL=N a process shares a pool of at most N instead. Every wait has an end (REQ-REL-06):
    PORTAL_STATEMENT_TIMEOUT, PORTAL_LOCK_TIMEOUT in the notation of PostgreSQL (`5s`, `0` = none).
    """
    parts = urlsplit(url or text("DATABASE_URL"))
    if parts.scheme not in ("postgresql", "postgres"):
        raise Misconfigured(f"A database URL starts with postgresql://, not {parts.scheme or 'nothing'}://.")
    query = dict(parse_qsl(parts.query))
    options: dict[str, Any] = {
        "connect_timeout": 2,
        # A host that vanished answers nothing at all: notice within seconds, not when the system gives up.
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": text("PORTAL_APPLICATION_NAME", "portal"),
        "options": (
            f"-c statement_timeout={text('PORTAL_STATEMENT_TIMEOUT', '5s')}"
            f" -c lock_timeout={text('PORTAL_LOCK_TIMEOUT', '2s')}"
            " -c idle_in_transaction_session_timeout=30s"
        ),
    }
    host = query.pop("host", "") or unquote(parts.hostname or "")
    pool = number("PORTAL_DB_POOL", 0)
    if pool:
        options["pool"] = {"min_size": 1, "max_size": pool, "timeout": 2}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or DATABASE,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 0 if pool else 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | query,
    }


def broker_url(url: str = "") -> str:
    """REDIS_URL in the notation of Celery, which writes unix sockets its own way."""
    parts = urlsplit(url or text("REDIS_URL"))
    if parts.scheme != "unix":
        return parts.geturl()
    return f"redis+socket://{parts.path}?virtual_host={dict(parse_qsl(parts.query)).get('db', '0')}"


def email(url: str = "") -> dict[str, Any]:
    """Django's settings of outgoing mail from `smtp://user:password@host:587` and the like.

    `smtp` upgrades with STARTTLS unless `?tls=none`, `smtps` is TLS from the start, `file:///directory` writes a
    file for each mail, `console:` prints it. Empty: nothing is mailed, people read their alerts in the portal.
    """
    parts = urlsplit(url)
    backend = "django.core.mail.backends.{}.EmailBackend"
    if not url:
        return {"HAS_MAIL": False, "EMAIL_BACKEND": backend.format("dummy")}
    if parts.scheme == "file":
        return {
            "HAS_MAIL": True,
            "EMAIL_BACKEND": backend.format("filebased"),
            "EMAIL_FILE_PATH": unquote(parts.path),
        }
    if parts.scheme == "console":
        return {"HAS_MAIL": True, "EMAIL_BACKEND": backend.format("console")}
    tls = dict(parse_qsl(parts.query)).get("tls", "starttls")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or tls not in ("starttls", "none"):
        raise Misconfigured("PORTAL_EMAIL_URL looks like smtp://user:password@host:587 or smtps://host:465.")
    is_tls = parts.scheme == "smtps"
    return {
        "HAS_MAIL": True,
        "EMAIL_BACKEND": backend.format("smtp"),
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if is_tls else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": is_tls,
        "EMAIL_USE_TLS": not is_tls and tls == "starttls",
        "EMAIL_TIMEOUT": 5,
    }


def embedded_urls(directory: Path) -> dict[str, str]:
    """Addresses of the embedded servers of a data directory, whether they run or not."""
    stored = read(directory)
    host = quote(str(reachable(directory / "pgdata")), safe="/")

    def postgres(role: str, secret: str) -> str:
        return f"postgresql://{role}:{stored.get(secret, '')}@/{DATABASE}?host={host}"

    return {
        "DATABASE_URL": postgres(APP_ROLE, "PORTAL_APP_PASSWORD"),
        "DATABASE_OWNER_URL": postgres(OWNER_ROLE, "PORTAL_OWNER_PASSWORD"),
        "REDIS_URL": f"unix://{quote(str(reachable(directory / 'valkey')))}/valkey.sock?db=0",
    }


def reachable(directory: Path) -> Path:
    """The directory of a socket by a name short enough to connect to.

    The sockets of a deep data directory stay in it; clients go through a symbolic link in a directory of
    their own under the temporary directory.
    """
    if len(os.fsencode(directory / ".s.PGSQL.5432")) < _SOCKET_PATH_MAX:
        return directory
    links = short_names(directory.parent)
    links.mkdir(mode=0o700, exist_ok=True)
    found = links.lstat()
    if links.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Misconfigured(f"{links} belongs to somebody else; use a data directory with a shorter path.")
    link = links / directory.name
    if not link.is_symlink() or link.readlink() != directory:
        fresh = links / f".{directory.name}-{os.getpid()}"
        fresh.symlink_to(directory)
        fresh.replace(link)
    return link


def short_names(directory: Path) -> Path:
    """Where `reachable` keeps its links for a data directory."""
    return Path(tempfile.gettempdir(), f"portal-{os.geteuid()}-{zlib.crc32(os.fsencode(directory)):08x}")


def read(directory: Path) -> dict[str, str]:
    """What `environment.json` of a data directory holds; empty when there is none."""
    try:
        content = json.loads((directory / "environment.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{directory / 'environment.json'} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise Misconfigured(f"{directory / 'environment.json'} is not an object.")
    return {str(name): str(value) for name, value in content.items()}


def remember(directory: Path, values: Mapping[str, str] | None = None) -> dict[str, str]:
    """Create the data directory and its secrets where they are missing, add `values`, return everything.

    Safe against other processes doing the same; a reader sees the file before or after, never half of it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory / "environment.lock"):
        stored = read(directory)
        content = {
            "PORTAL_SECRET_KEY": secrets.token_urlsafe(48),
            "PORTAL_PEPPERS": f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            "PORTAL_OWNER_PASSWORD": secrets.token_urlsafe(24),
            "PORTAL_APP_PASSWORD": secrets.token_urlsafe(24),
            "PORTAL_EMAIL_URL": f"file://{quote(str(directory / 'mail'))}",
            **stored,
            **(values or {}),
        }
        if content != stored:
            write_json(directory / "environment.json", content)
    return content


def write_json(path: Path, content: object) -> None:
    """Replace a file at once, readable by its owner only, on the disk before this returns."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        path.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_cache: dict[Path, tuple[int, dict[str, str]]] = {}


def _remembered() -> dict[str, str]:
    if not (os.environ.get("PORTAL_DATA_DIR") or is_embedded()):
        return {}
    directory = data_dir()
    try:
        changed = (directory / "environment.json").stat().st_mtime_ns
    except OSError:
        return {}
    cached = _cache.get(directory)
    if cached is None or cached[0] != changed:
        cached = _cache[directory] = (changed, read(directory))
    found = cached[1]
    if any(name.startswith(_SIGN_IN) for name in os.environ):
        # Sign-in is configured by one side as a whole: a stand-in's tenant never mixes with a real one.
        found = {name: value for name, value in found.items() if not name.startswith(_SIGN_IN)}
    return found
