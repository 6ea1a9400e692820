"""Loads of several processes at once into one destination: some wait, saying so, and all are exact."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from analytics_dagster.loading import load as load_module
from analytics_dagster.loading import turns
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load, prepare_load
from analytics_dagster.loading.staging import staging_name
from analytics_dagster.reading.errors import DestinationError
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import ApiFile, Window
from analytics_dagster_tests.loading.helpers import (
    DATASETS,
    TABLES,
    Store,
    day,
    load_into,
    sandbox_file,
    versions,
)

# Imports what a load needs once; each process is a fork of it.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])

SINCE_UPDATE = "{cursor_path: updated_at, start_param: updated_after, initial_value: '2024-01-01T00:00:00Z'}"
BY_CREATION = "{cursor_path: created_at, start_param: created_after, end_param: created_before}"
UPSERT = "primary_key: id, write_disposition: merge"
REPLACING = f"{UPSERT}, on_rerun: replace_window"


def windowed(resource: str, options: str) -> str:
    return f"""
    - {{name: {resource}, endpoint: {{path: /v1/{resource}, incremental: {BY_CREATION}}},
       partitions: {{every: day, start: 2024-01-01}}, {options}}}
    """


def since_update(resource: str, options: str) -> str:
    return f"""
    - {{name: {resource}, endpoint: {{path: /v1/{resource}, incremental: {SINCE_UPDATE}}}, {options}}}
    """


def created(sandbox: RunningSandbox, resource: str, window: Window) -> list[dict[str, Any]]:
    return list(sandbox.data.truth(resource, created_after=window.start, created_before=window.end))


@dataclass
class Outcome:
    """How a load in another process ended, and what it said on the way."""

    rows: int | None
    error: str
    said: list[str]


class Loading:
    """A load in a process of its own, which begins when the gate opens.

    Args:
        ends: `killed` for a process that dies while it commits, `slowly` for one that hesitates between
            looking for the dataset and making it.
    """

    def __init__(
        self,
        store: Store,
        file: ApiFile,
        resource: str,
        window: Window | None = None,
        *,
        gate: Any = None,
        ends: str = "",
    ) -> None:
        self._outcome, theirs = PROCESSES.Pipe(duplex=False)
        self.staging = staging_name()  # known here, as others may use the same server
        arguments = (theirs, gate, ends, self.staging, Path.cwd(), tempfile.gettempdir())
        self.process: BaseProcess = PROCESSES.Process(
            target=_load, args=(*arguments, file, resource, window, store.destination)
        )
        self.process.start()
        theirs.close()

    def outcome(self) -> Outcome:
        assert self._outcome.poll(60)
        outcome = self._outcome.recv()
        self.process.join(10)
        return outcome


def _load(
    outcome: Any, gate: Any, ends: str, staging: str, place: Path, temporary: str, *arguments: Any
) -> None:  # in the other process
    os.chdir(place)
    os.environ["TMPDIR"] = tempfile.tempdir = temporary
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("analytics_dagster").addHandler(handler)
    load_module.staging_name = lambda: staging
    if ends == "killed":
        SqlMergeFollowupJob.generate_sql = _die
    elif ends == "slowly":
        SqlClientBase.has_dataset = _answered_late(SqlClientBase.has_dataset)
    if gate:
        gate.wait(60)
    try:
        outcome.send(Outcome(load(*arguments).rows, "", said))
    except BaseException as error:  # noqa: BLE001 - an interruption, too, is an outcome
        outcome.send(Outcome(None, f"{type(error).__name__}: {error}", said))


def _die(*_: Any, **__: Any) -> list[str]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _answered_late(ask: Any) -> Any:
    def late(client: Any) -> bool:
        answer = ask(client)
        time.sleep(0.2)
        return answer

    return late


def at_once(store: Store, file: ApiFile, *loads: tuple[str, Window | None], ends: str = "") -> list[int]:
    """The rows that each of some loads read, which all began together and went well."""
    gate = PROCESSES.Barrier(len(loads))
    running = [Loading(store, file, *one, gate=gate, ends=ends) for one in loads]
    outcomes = [one.outcome() for one in running]
    assert [one.error for one in outcomes] == [""] * len(loads)
    assert not {one.staging for one in running} & {name for (name,) in store.fetch(DATASETS)}
    return [one.rows or 0 for one in outcomes]


@pytest.mark.parametrize("options", [REPLACING, UPSERT, "on_rerun: replace_window"])
def test_one_window(sandbox: RunningSandbox, store: Store, options: str) -> None:
    file = sandbox_file(sandbox.url, windowed("events", options), store.api)
    truth = created(sandbox, "events", day(2))
    assert at_once(store, file, *[("events", day(2))] * 4) == [len(truth)] * 4
    assert store.versions("events") == versions(truth)


def test_neighbouring_windows(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", "on_rerun: replace_window"), store.api)
    at_once(store, file, *[("orders", day(number)) for number in (1, 2, 3, 4)])
    truth = created(sandbox, "orders", day(1, 4))
    assert store.versions("orders") == versions(truth)
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [
        (sum(len(row["items"]) for row in truth),)
    ]


def test_windows_that_overlap_after_changes_at_the_source(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("events", REPLACING), store.api)
    load_into(store, file, "events", day(1, 5))
    ids = store.ids("events")
    sandbox.data.update("events", ids=ids[:200], at="2024-02-01T00:00:00Z")
    sandbox.data.delete("events", ids[150:400])
    at_once(store, file, *[("events", window) for window in (day(1, 3), day(2, 3), day(3, 3), day(1, 5))])
    assert store.versions("events") == versions(created(sandbox, "events", day(1, 5)))


@pytest.mark.parametrize("options", [UPSERT, "write_disposition: append"])
def test_what_is_new_since_the_stored_cursor(sandbox: RunningSandbox, store: Store, options: str) -> None:
    """No load reads again what another one already has, and the cursor never goes back."""
    file = sandbox_file(sandbox.url, since_update("events", options), store.api)
    assert sorted(at_once(store, file, *[("events", None)] * 3)) == [0, 0, 900]
    assert store.versions("events") == versions(sandbox.data.truth("events"))
    changed = sandbox.data.update("events", count=50, at="2024-02-01T00:00:00Z")
    assert sorted(at_once(store, file, *[("events", None)] * 3)) == [0, 0, len(changed)]
    assert load_into(store, file, "events").rows == 0
    before = 900 if "append" in options else 900 - len(changed)
    assert len(store.ids("events")) == before + len(changed)


def test_a_replaced_table(sandbox: RunningSandbox, store: Store) -> None:
    text = "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}"
    file = sandbox_file(sandbox.url, text, store.api)
    assert at_once(store, file, *[("users", None)] * 3) == [40] * 3
    assert store.versions("users") == versions(sandbox.data.truth("users"))


def test_the_first_loads_of_all_resources(sandbox: RunningSandbox, store: Store) -> None:
    """Each wants to make the dataset and dlt's own tables."""
    text = "\n".join(
        [
            "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}",
            windowed("events", REPLACING),
            since_update("orders", UPSERT),
            since_update("sessions", "write_disposition: append"),
        ]
    )
    text = "\n".join(line.removeprefix("    ") for line in text.splitlines())
    file = sandbox_file(sandbox.url, text, store.api)
    at_once(
        store, file, ("users", None), ("events", day(1)), ("orders", None), ("sessions", None), ends="slowly"
    )
    for resource in ("users", "orders", "sessions"):
        assert store.versions(resource) == versions(sandbox.data.truth(resource))
    assert store.versions("events") == versions(created(sandbox, "events", day(1)))
    assert len(store.fetch(TABLES)) == 8  # with those of dlt and the items of orders


@pytest.fixture
def under_way(sandbox: RunningSandbox, store: Store) -> Iterator[tuple[ApiFile, Loading]]:
    """A load that has the turn, and is killed while it commits, four seconds from now."""
    file = sandbox_file(sandbox.url, since_update("orders", UPSERT), store.api)
    sandbox.faults.add(Fault(kind="slow", seconds=4))
    loading = Loading(store, file, "orders", ends="killed")
    while sandbox.faults.pending():
        time.sleep(0.05)
    yield file, loading
    loading.process.join(10)
    if store.destination.type == "postgres":  # the server is there for other tests, too
        connection = psycopg2.connect(str(store.destination.credentials))
        with connection, connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {loading.staging} CASCADE")
        connection.close()


def test_a_turn_ends_when_its_process_is_killed(
    sandbox: RunningSandbox, store: Store, under_way: tuple[ApiFile, Loading]
) -> None:
    file, killed = under_way
    waiting = [Loading(store, file, "orders") for _ in range(3)]
    outcomes = [one.outcome() for one in waiting]
    killed.process.join(10)
    assert killed.process.exitcode == -signal.SIGKILL
    assert [one.error for one in outcomes] == [""] * 3
    assert sorted(one.rows or 0 for one in outcomes) == [0, 0, 30]
    said = f"Waiting for another load of `{store.api}.orders`…"
    assert any(said in one.said for one in outcomes)  # all but those that a busy machine starts late
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))


def test_who_waits_can_be_interrupted(store: Store, under_way: tuple[ApiFile, Loading]) -> None:
    file, first = under_way
    waiting = Loading(store, file, "orders")
    time.sleep(1.5)
    assert first.process.is_alive()
    assert waiting.process.pid
    os.kill(waiting.process.pid, signal.SIGINT)
    began = time.monotonic()
    assert waiting.outcome().error == "KeyboardInterrupt: "
    assert time.monotonic() - began < 1
    first.process.join(10)


@pytest.mark.postgres
def test_a_turn_that_was_lost_on_the_way_is_told(sandbox: RunningSandbox, store: Store) -> None:
    if store.destination.type == "duckdb":
        pytest.skip("the turn is a locked file, which cannot be lost")
    file = sandbox_file(sandbox.url, since_update("orders", UPSERT), store.api)
    key = turns._number(f"{store.api}.orders")
    with ExitStack() as stack:
        prepared = stack.enter_context(prepare_load(file, "orders", (), store.destination))
        prepared.pipeline.run(prepared.source)
        holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        mine = f" AND classid = {key >> 32} AND objid = {key & 0xFFFFFFFF}"
        assert store.fetch(holder + mine) == [(True,)]
        with pytest.raises(DestinationError, match=rf"`{store.api}.orders`.* materialize again"):
            stack.close()
    assert load_into(store, file, "orders").rows == 0


def test_threads_of_one_process(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    text = "\n".join(windowed(resource, "on_rerun: replace_window") for resource in ("events", "sessions"))
    file = sandbox_file(sandbox.url, text)
    rows: list[int] = []

    def run(resource: str, window: Window) -> None:
        rows.append(load(file, resource, window, duckdb_store.destination).rows)

    loads: Sequence[tuple[str, Window]] = [("events", day(1)), ("sessions", day(1)), ("events", day(2))]
    threads = [threading.Thread(target=run, args=one) for one in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(rows) == 3
    assert duckdb_store.versions("events") == versions(created(sandbox, "events", day(1, 2)))
    assert duckdb_store.versions("sessions") == versions(created(sandbox, "sessions", day(1)))


def test_a_file_that_another_link_names(
    sandbox: RunningSandbox, duckdb_store: Store, own_place: Path
) -> None:
    """The turn belongs to the file, by whatever name a load knows it."""
    (own_place / "link").symlink_to(own_place / "cwd")
    linked = Store(Destination("duckdb", str(own_place / "link" / "rows.duckdb")), "sandbox")
    file = sandbox_file(sandbox.url, since_update("events", "write_disposition: append"))
    gate = PROCESSES.Barrier(2)
    running = [Loading(store, file, "events", gate=gate) for store in (linked, duckdb_store)]
    assert sorted(one.outcome().rows or 0 for one in running) == [0, 900]
