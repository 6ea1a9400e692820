"""The search for secrets finds what is there, in each form and each place."""

from __future__ import annotations

import base64
import gzip
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analytics_dagster_tests.security.leaks import forms, in_bytes, in_directory

SECRET = 'k3y/with+odd="chars"&é more'


@pytest.mark.parametrize("form", forms(SECRET))
def test_each_form_is_found(form: str) -> None:
    assert any(found.endswith(form) for found in in_bytes([SECRET], b"before " + forms(SECRET)[form] + b"'"))


@pytest.mark.parametrize("before", ["", "a", "me:", "user:", "longer:"])
@pytest.mark.parametrize("after", ["", "x", "yz"])
def test_base64_is_found_whatever_stands_around_the_secret(before: str, after: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert in_bytes([SECRET], b"Basic " + encode((before + SECRET + after).encode()))


def plant_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE logs (body TEXT, packed BLOB)")
        connection.execute("INSERT INTO logs VALUES (?, NULL)", ["x" * 4080 + SECRET])
        connection.commit()


def plant_packed_in_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE logs (packed BLOB)")
        connection.execute("INSERT INTO logs VALUES (?)", [zlib.compress(SECRET.encode())])
        connection.commit()


def plant_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA other; CREATE TABLE other.rows (value VARCHAR)")
        connection.execute("INSERT INTO other.rows SELECT ? FROM range(3000)", [SECRET])


def plant_state(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        packed = base64.b64encode(zlib.compress(SECRET.encode())).decode()
        connection.execute("CREATE TABLE state (value VARCHAR)")
        connection.execute("INSERT INTO state VALUES (?)", [packed])


PLACES: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.write_text(f"Traceback …\n{SECRET}\n"),
    "binary": lambda path: path.write_bytes(b"\0\xff" + SECRET.encode() + b"\0"),
    "gzip": lambda path: path.write_bytes(gzip.compress(SECRET.encode())),
    "name": lambda path: (path.parent / forms(SECRET)["base64url after 0"].decode()).mkdir(),
    "sqlite": plant_sqlite,
    "packed in sqlite": plant_packed_in_sqlite,
    "duckdb": plant_duckdb,
    "dlt's state": plant_state,
}


@pytest.mark.parametrize("place", PLACES)
def test_each_place_is_searched(tmp_path: Path, place: str) -> None:
    directory = tmp_path / "some" / "where"
    directory.mkdir(parents=True)
    PLACES[place](directory / "file")
    assert in_directory([SECRET], tmp_path)
    assert not in_directory(["another-secret"], tmp_path)
