"""Searches what runs leave behind for secrets, in every form in which they travel."""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import duckdb

_PACKED: tuple[Callable[[bytes], bytes], ...] = (gzip.decompress, zlib.decompress)


def forms(secret: str) -> dict[str, bytes]:
    """How a secret may be written, by the form's name."""
    written = {
        "raw": secret,
        "quoted": quote(secret),
        "quoted, slashes too": quote(secret, safe=""),
        "form": quote_plus(secret),
        "quoted twice": quote(quote(secret, safe=""), safe=""),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, slashes too": json.dumps(secret)[1:-1].replace("/", "\\/"),
        "JSON twice": json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "HTML": html.escape(secret),
        "Python": repr(secret)[1:-1],
        "hex": secret.encode().hex(),
    }
    found = {name: text.encode() for name, text in written.items()}
    found |= {f"{name}, small": text.lower() for name, text in found.items() if "quoted" in name}
    found |= {"hex, large": found["hex"].upper()}
    for before in range(3):  # bytes of something else, such as a user's name, that share the first letters
        data = bytes(before) + secret.encode()
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            # Only the letters that are made of the secret's bits alone.
            found[f"{name} after {before}"] = encode(data)[-(-before * 8 // 6) : len(data) * 8 // 6]
    return found


def in_bytes(secrets: Iterable[str], *pieces: bytes) -> list[str]:
    """The forms in which secrets stand in `pieces`, plain or in what they unpack to."""
    data = b"\n".join(unpacked for piece in pieces for unpacked in _unpacked(piece))
    return [f"{secret}: {name}" for secret in secrets for name, form in forms(secret).items() if form in data]


def in_directory(secrets: Iterable[str], directory: Path) -> list[str]:
    """The files, their tables included, and the forms in which secrets stand in them or in their names."""
    secrets = list(secrets)
    leaks: list[str] = []
    for path in sorted(directory.rglob("*")):
        pieces = {str(path.relative_to(directory)).encode()}
        if path.is_file():
            pieces |= {path.read_bytes(), *_cells(path)}
        leaks += [f"{path}: {leak}" for leak in in_bytes(secrets, *pieces)]
    return leaks


def _unpacked(data: bytes) -> Iterator[bytes]:
    """The data, and what is in it if it is compressed, or base64 of that as dlt's state is."""
    yield data
    with suppress(binascii.Error):
        plain = base64.b64decode(data, validate=True)
        yield plain
        data = plain
    for unpack in _PACKED:
        with suppress(OSError, EOFError, zlib.error):
            yield unpack(data)


def _cells(path: Path) -> Iterator[bytes]:
    """The values of a database: files keep them compressed, or spread over pages."""
    beginning = path.read_bytes()[:16]
    if beginning.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                yield from _values(connection.execute(f'SELECT * FROM "{table}"'))
    elif beginning[8:12] == b"DUCK":
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute("SELECT database, schema, name FROM (SHOW ALL TABLES)").fetchall()
            for table in tables:
                place = ".".join('"' + part.replace('"', '""') + '"' for part in table)
                yield from _values(connection.execute(f"SELECT * FROM {place}"))


def _values(query: Any) -> Iterator[bytes]:
    for row in query.fetchall():
        for value in row:
            yield value if isinstance(value, bytes) else str(value).encode()
