"""Whatever becomes of a load, nothing of it is left but its rows; and the next one is exact."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
import responses
from dlt.common.destination import Destination as DltDestination
from dlt.destinations.sql_jobs import SqlMergeFollowupJob, SqlStagingReplaceFollowupJob
from dlt.load.load import Load

from analytics_dagster.loading import staging
from analytics_dagster.loading.load import prepare_load
from analytics_dagster.loading.staging import staging_name
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import (
    LOADING,
    Store,
    hold,
    load_into,
    run_python,
    sandbox_file,
    sandbox_text,
    versions,
)

ORDERS = """
    - name: orders
      endpoint: {path: /v1/orders, paginator: {type: offset, limit: 10}}
      primary_key: id
      write_disposition: merge
"""


def left(place: Path) -> list[str]:
    """Names of files outside of the destination."""
    return sorted(path.name for path in place.rglob("*") if path.is_file())


@pytest.fixture
def loaded(sandbox: RunningSandbox, store: Store) -> list[tuple[Any, ...]]:
    """What a first load brought, with an update at the source since then."""
    load_into(store, sandbox_file(sandbox.url, ORDERS, store.api), "orders")
    before = store.versions("orders")
    sandbox.data.update("orders", count=5, at="2024-03-01T00:00:00Z")
    return before


def check_next_load_is_exact(sandbox: RunningSandbox, store: Store, place: Path) -> None:
    load_into(store, sandbox_file(sandbox.url, ORDERS, store.api), "orders")
    truth = list(sandbox.data.truth("orders"))
    assert store.versions("orders") == versions(truth)
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [
        (sum(len(row["items"]) for row in truth),)
    ]
    assert set(left(place)) <= {"rows.duckdb", "rows.duckdb.lock"}


def test_after_success(own_place: Path, sandbox: RunningSandbox, duckdb_store: Store) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    assert left(own_place) == ["rows.duckdb", "rows.duckdb.lock"]
    assert duckdb_store.staged("orders") == []


def test_after_a_failure_of_the_api(own_place: Path, sandbox: RunningSandbox, duckdb_store: Store) -> None:
    sandbox.faults.add(Fault(kind="status", status=404, skip=1))
    with pytest.raises(LoadError, match="404"):
        load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    assert left(own_place) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ValueError("broken")], ids=["Ctrl-C", "error"])
def test_after_an_end_in_the_middle_of_reading(
    own_place: Path, sandbox: RunningSandbox, duckdb_store: Store, interruption: BaseException
) -> None:
    def end(meter: Meter) -> None:
        if meter.pages == 2:
            raise interruption

    file = sandbox_file(sandbox.url, ORDERS)
    load_into(duckdb_store, file, "orders")
    before = duckdb_store.versions("orders")
    sandbox.data.update("orders", count=5, at="2024-03-01T00:00:00Z")
    with (
        pytest.raises((KeyboardInterrupt, LoadError)),
        prepare_load(file, "orders", (), duckdb_store.destination, on_change=end) as prepared,
    ):
        prepared.pipeline.run(prepared.source, **prepared.options)
    assert duckdb_store.versions("orders") == before
    assert left(own_place) == ["rows.duckdb", "rows.duckdb.lock"]
    check_next_load_is_exact(sandbox, duckdb_store, own_place)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ValueError("broken")], ids=["Ctrl-C", "error"])
def test_after_an_end_in_the_middle_of_the_commit(
    own_place: Path,
    sandbox: RunningSandbox,
    store: Store,
    loaded: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    interruption: BaseException,
) -> None:
    def end(*_: Any) -> list[str]:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(SqlMergeFollowupJob, "generate_sql", end)
        with pytest.raises((KeyboardInterrupt, LoadError)):
            load_into(store, sandbox_file(sandbox.url, ORDERS, store.api), "orders")
    assert store.versions("orders") == loaded
    assert store.staged("orders") == []
    check_next_load_is_exact(sandbox, store, own_place)


@pytest.mark.parametrize("way", ["merge", "replace"])
def test_old_rows_stay_when_new_ones_cannot_be_inserted(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Between the statement that deletes and the one that inserts, nothing is committed."""

    def rows(name: str) -> None:
        text = f"""\
name: {store.api}
client: {{base_url: "https://api.example.com"}}
resources:
- {{name: rows, primary_key: id, write_disposition: {way}, endpoint: {{path: rows, paginator: single_page}}}}
"""
        with responses.RequestsMock() as api:
            api.get("https://api.example.com/rows", json=[{"id": number, "name": name} for number in (1, 2)])
            load_into(store, parse_text(text, "rows.yaml"), "rows")

    def broken(generate: Any) -> Any:
        def statements(*arguments: Any) -> list[str]:
            *first, last = generate(*arguments)
            assert first
            assert last.strip().startswith("INSERT")
            return [*first, f"{last.strip().rstrip(';')} LIMIT (SELECT CAST('none' AS INTEGER))"]

        return statements

    rows("old")
    with monkeypatch.context() as patch:
        for job in (SqlMergeFollowupJob, SqlStagingReplaceFollowupJob):
            patch.setattr(job, "generate_sql", broken(job.generate_sql))
        with pytest.raises(LoadError):
            rows("new")
    assert store.fetch("SELECT id, name FROM {}.rows ORDER BY id") == [(1, "old"), (2, "old")]


@pytest.mark.parametrize("name", ["duckdb", "postgres"])
def test_dlt_does_not_say_that_these_destinations_have_transactions(name: str) -> None:
    """If it does one day, ours need not say it for it."""
    found = DltDestination.from_reference(name)
    assert found is not None
    assert found.capabilities().supports_transactions is None


def test_the_error_of_the_load_is_told_and_not_that_of_the_tidying(
    sandbox: RunningSandbox, duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program takes the file just when dlt fails to begin; nobody waits a minute for it."""
    assert duckdb_store.destination.credentials
    holder = None

    def end(*_: Any) -> None:
        raise ValueError("the first error")

    def held(pipeline: Any) -> None:
        nonlocal holder
        holder = hold(str(duckdb_store.destination.credentials))
        tidy(pipeline)

    tidy = staging._tidy  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(staging, "_tidy", held)
    monkeypatch.setattr(Load, "initialize_package", end)
    began = time.monotonic()
    with pytest.raises(LoadError, match="the first error"):
        load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    assert time.monotonic() - began < 30
    assert holder is not None
    holder.communicate("\n")


KILLED = (
    LOADING
    + """
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob
    SqlMergeFollowupJob.generate_sql = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    run("orders")
"""
)


def test_after_sigkill_in_the_middle_of_the_commit(
    own_place: Path, sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    file, database = own_place / "cwd" / "sandbox.yaml", str(duckdb_store.destination.credentials)
    file.write_text(sandbox_text(sandbox.url, ORDERS))
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    before = duckdb_store.versions("orders")
    sandbox.data.update("orders", count=5, at="2024-03-01T00:00:00Z")
    process = run_python(KILLED, str(file), database)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert duckdb_store.versions("orders") == before
    assert len(duckdb_store.staged("orders")) == 1
    assert len(left(own_place / "tmp")) > 1
    file.unlink()
    check_next_load_is_exact(sandbox, duckdb_store, own_place)
    assert duckdb_store.staged("orders") == []


def test_sigint_while_the_rows_are_committed(
    own_place: Path, sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    code = """
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob
    generate = SqlMergeFollowupJob.generate_sql
    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return generate(*arguments)
    SqlMergeFollowupJob.generate_sql = interrupted
    try:
        run("orders")
    except KeyboardInterrupt:
        print("interrupted")
    """
    file = own_place / "cwd" / "sandbox.yaml"
    file.write_text(sandbox_text(sandbox.url, ORDERS))
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    before = duckdb_store.versions("orders")
    sandbox.data.update("orders", count=5, at="2024-03-01T00:00:00Z")
    process = run_python(LOADING + code, str(file), str(duckdb_store.destination.credentials))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "interrupted\n"), errors
    file.unlink()
    assert duckdb_store.versions("orders") in (before, versions(sandbox.data.truth("orders")))
    assert left(own_place) == ["rows.duckdb", "rows.duckdb.lock"]
    assert duckdb_store.staged("orders") == []
    check_next_load_is_exact(sandbox, duckdb_store, own_place)


def test_the_staged_rows_of_another_table_stay_for_a_day(
    sandbox: RunningSandbox, duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its load may be alive; if it is not, its table may never be loaded again."""
    file = sandbox_file(sandbox.url, ORDERS)
    load_into(duckdb_store, file, "orders")
    other = staging_name(f"{duckdb_store.api}.users")
    with duckdb.connect(str(duckdb_store.destination.credentials)) as database:
        database.execute(f"CREATE SCHEMA {other}")
    load_into(duckdb_store, file, "orders")
    assert duckdb_store.staged("users") == [other]
    tomorrow = time.time() + 90_000
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    load_into(duckdb_store, file, "orders")
    assert duckdb_store.staged("users") == []
