"""A DuckDB file that several programs want, that is none, or that cannot be opened."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
from dlt.common.destination import reference

from analytics_dagster.loading import duckdb_file
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load
from analytics_dagster.reading.errors import DestinationError, MissingDriverError, MissingSecretError
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.loading.helpers import (
    Store,
    hold,
    load_into,
    sandbox_file,
)

USERS = "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}"


def test_a_load_waits_for_a_program_that_only_reads_and_then_says_which_it_is(
    sandbox: RunningSandbox,
    duckdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(duckdb_file, "PATIENCE", 1.0)
    file = sandbox_file(sandbox.url, USERS)
    load_into(duckdb_store, file, "users")
    holder = hold(str(duckdb_store.destination.credentials))
    with pytest.raises(DestinationError) as failure:
        load_into(duckdb_store, file, "users")
    holder.communicate("\n")
    assert str(duckdb_store.destination.credentials) in str(failure.value)
    assert f"PID {holder.pid}" in str(failure.value)
    assert "Close that program" in str(failure.value)
    assert not failure.value.permanent
    assert [record.levelname for record in caplog.records if "waiting up to 1 s" in record.message]


def test_a_load_goes_on_when_the_program_lets_go(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    file = sandbox_file(sandbox.url, USERS)
    load_into(duckdb_store, file, "users")
    holder = hold(str(duckdb_store.destination.credentials))
    threading.Timer(0.7, lambda: holder.communicate("\n")).start()
    assert load_into(duckdb_store, file, "users").rows == 40


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("notes.txt", "notes.txt cannot be opened: .*not a valid DuckDB"),
        ("nowhere/rows.duckdb", "nowhere/rows.duckdb cannot be opened: .* is no folder"),
        ("notes.txt/rows.duckdb", "cannot be opened: .* is no folder"),
        (".", "cannot be opened"),
        (":memory:", "DuckDB needs a file"),
        ("md:warehouse?motherduck_token=very-secret", "ANALYTICS_DESTINATION=motherduck"),
    ],
)
def test_what_cannot_be_opened_fails_at_once(
    sandbox: RunningSandbox, own_place: Path, path: str, message: str
) -> None:
    (own_place / "cwd" / "notes.txt").write_text("not a database, but long enough to be one. " * 1000)
    began = time.monotonic()
    with pytest.raises(DestinationError, match=message) as failure:
        load(sandbox_file(sandbox.url, USERS), "users", destination=Destination("duckdb", path))
    assert time.monotonic() - began < 10
    assert "very-secret" not in str(failure.value)
    assert str(failure.value).startswith("sandbox.yaml: resource `users`: ")
    assert sandbox.requests.list("/v1") == []


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ("here.duckdb", "cwd/here.duckdb"),
        ("../up.duckdb", "up.duckdb"),
        ("duckdb:///here.duckdb", "cwd/here.duckdb"),
        ("~/home.duckdb", "home/home.duckdb"),
        ("duckdb:///{}/cwd/absolute.duckdb", "cwd/absolute.duckdb"),
        ("{}/cwd/absolute.duckdb", "cwd/absolute.duckdb"),
        (None, "cwd/analytics.duckdb"),
    ],
)
def test_the_file_is_where_the_settings_say(
    own_place: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, file: str
) -> None:
    if given:
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", given.format(own_place))
    assert Destination.from_environment().duckdb_path().resolve() == own_place / file


def test_a_destination_that_dlt_does_not_have_is_named(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYTICS_DESTINATION", "postgress")
    with pytest.raises(DestinationError, match=r"`postgress`.*ANALYTICS_DESTINATION"):
        load(sandbox_file(sandbox.url, USERS), "users")


def test_a_server_that_does_not_answer_is_named_without_its_password(sandbox: RunningSandbox) -> None:
    nobody = Destination("postgres", "postgresql://me:very-secret@127.0.0.1:1/none")
    with pytest.raises(DestinationError, match="cannot be opened") as failure:
        load(sandbox_file(sandbox.url, USERS), "users", destination=nobody)
    assert "very-secret" not in str(failure.value)


def test_a_driver_that_is_not_installed_is_named(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    for name in (
        "analytics_dagster.loading.postgres_copy",
        "dlt.destinations.impl.postgres.postgres",
        "dlt.destinations.impl.postgres.sql_client",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    nobody = Destination("postgres", "postgresql://me:very-secret@127.0.0.1:1/none")
    with pytest.raises(MissingDriverError, match=r"`psycopg2`.*pip install 'dlt\[postgres\]'") as failure:
        load(sandbox_file(sandbox.url, USERS), "users", destination=nobody)
    assert failure.value.permanent


def test_settings_that_are_missing_are_named_in_a_few_words(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me@127.0.0.1:1/none")
    with pytest.raises(MissingSecretError, match=r"lack password\. Set DESTINATION__") as failure:
        load(sandbox_file(sandbox.url, USERS), "users", destination=Destination("postgres"))
    assert "\n" not in str(failure.value)
    assert failure.value.permanent  # so no sensor tries it again


def test_a_malformed_connection_string_is_not_shown(sandbox: RunningSandbox) -> None:
    malformed = Destination("postgres", "postgresql:me:very-secret@127.0.0.1/none")
    with pytest.raises(DestinationError) as failure:
        load(sandbox_file(sandbox.url, USERS), "users", destination=malformed)
    assert "very-secret" not in str(failure.value)


def test_the_settings_of_a_destination_are_looked_up_once_a_load(
    sandbox: RunningSandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for what it can do, and once for its clients; each look goes through all of dlt's providers."""
    looks: list[Any] = []
    resolve = cast("Any", reference).resolve_configuration

    def counted(*arguments: Any, **named: Any) -> Any:
        looks.append(named["sections"])
        return resolve(*arguments, **named)

    monkeypatch.setattr(reference, "resolve_configuration", counted)
    load_into(store, sandbox_file(sandbox.url, USERS, store.api), "users")
    assert 1 <= len(looks) <= 2
