"""What the tests of `loading` share: a sandbox, destinations, and a place of their own on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

from analytics_dagster.loading.destination import Destination
from analytics_dagster.sandbox import RunningSandbox, running_sandbox
from analytics_dagster_tests.loading.helpers import SMALL, Store


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with an empty home and an empty directory for temporary files."""
    for name in ("cwd", "home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A small sandbox that a test may change."""
    with running_sandbox(SMALL) as running:
        yield running


@pytest.fixture
def duckdb_store(tmp_path: Path) -> Store:
    return Store(Destination("duckdb", str(tmp_path / "cwd" / "rows.duckdb")), "sandbox")


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, duckdb_store: Store) -> Iterator[Store]:
    """DuckDB, then PostgreSQL."""
    if request.param == "duckdb":
        yield duckdb_store
        return
    name = f"test_{uuid4().hex[:12]}"
    database: str = request.getfixturevalue("postgres_database")
    connection = psycopg2.connect(database)
    connection.autocommit = True
    yield Store(Destination("postgres", database), name)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    connection.close()
