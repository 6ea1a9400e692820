"""Loads of several processes at once into one destination: some wait for others, and all are exact."""

from __future__ import annotations

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

import pytest
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from analytics_dagster.loading import turns
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load, prepare_load
from analytics_dagster.reading.errors import DestinationError
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import ApiFile, Window
from analytics_dagster_tests.loading.helpers import (
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
    """How a load in another process ended."""

    rows: int | None
    error: str


class Loading:
    """A load in a process of its own.

    Args:
        gate: What the process waits for: to begin, or if it is to be killed, to die.
        ends: `killed` for a process that dies while it commits, `slowly` for one that hesitates, in
            PostgreSQL, between looking for the dataset and making it, and before it commits its tables.
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
        self._told, theirs = PROCESSES.Pipe(duplex=False)
        arguments = (theirs, gate, ends, Path.cwd(), tempfile.gettempdir())
        self.process: BaseProcess = PROCESSES.Process(
            target=_load, args=(*arguments, file, resource, window, store.destination)
        )
        self.process.start()
        theirs.close()

    def has_told(self, seconds: float) -> bool:
        return self._told.poll(seconds)

    def told(self) -> Any:
        assert self._told.poll(120)
        return self._told.recv()

    def wait_until(self, place: str) -> None:
        """Wait until it `asks` for the turn, or `commits` before it is killed."""
        while (told := self.told()) != place:
            assert not isinstance(told, Outcome), told

    def outcome(self) -> Outcome:
        while not isinstance(told := self.told(), Outcome):
            pass
        self.process.join(60)
        return told


def _load(
    told: Any, gate: Any, ends: str, place: Path, temporary: str, *arguments: Any
) -> None:  # in the other process
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what shells run in the background
    os.chdir(place)
    os.environ["TMPDIR"] = tempfile.tempdir = temporary
    turns._wait = _telling(told, turns._wait)
    if ends == "killed":

        def die(*_: Any, **__: Any) -> list[str]:
            told.send("commits")
            gate.wait(120)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        SqlMergeFollowupJob.generate_sql = die
    elif gate:
        gate.wait(120)
    if ends == "slowly":
        Psycopg2SqlClient.has_dataset = _answered_late(Psycopg2SqlClient.has_dataset, 0.1)
        update = PostgresClient._execute_schema_update_sql
        PostgresClient._execute_schema_update_sql = _answered_late(update, 0.5)
    try:
        told.send(Outcome(load(*arguments).rows, ""))
    except BaseException as error:  # noqa: BLE001 - an interruption, too, is an outcome
        told.send(Outcome(None, f"{type(error).__name__}: {error}"))


def _telling(told: Any, wait: Any) -> Any:
    def telling(*arguments: Any) -> None:
        told.send("asks")
        wait(*arguments)

    return telling


def _answered_late(ask: Any, seconds: float) -> Any:
    def late(*arguments: Any, **options: Any) -> Any:
        answer = ask(*arguments, **options)
        time.sleep(seconds)
        return answer

    return late


def at_once(store: Store, file: ApiFile, *loads: tuple[str, Window | None], ends: str = "") -> list[int]:
    """The rows that each of some loads read, which all began together and went well."""
    gate = PROCESSES.Barrier(len(loads))
    running = [Loading(store, file, *one, gate=gate, ends=ends) for one in loads]
    outcomes = [one.outcome() for one in running]
    assert [one.error for one in outcomes] == [""] * len(loads)
    assert [store.staged(resource) for resource, _ in loads] == [[]] * len(loads)
    return [one.rows or 0 for one in outcomes]


def test_one_window(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("events", "on_rerun: replace_window"), store.api)
    truth = created(sandbox, "events", day(2))
    assert at_once(store, file, *[("events", day(2))] * 3) == [len(truth)] * 3
    assert store.versions("events") == versions(truth)


def test_neighbouring_windows(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", "on_rerun: replace_window"), store.api)
    at_once(store, file, *[("orders", day(number)) for number in (1, 2, 3)])
    truth = created(sandbox, "orders", day(1, 3))
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
    at_once(store, file, *[("events", window) for window in (day(1, 3), day(3, 3), day(1, 5))])
    assert store.versions("events") == versions(created(sandbox, "events", day(1, 5)))


def test_what_is_new_since_the_stored_cursor(sandbox: RunningSandbox, store: Store) -> None:
    """No load reads again what another one already has, and the cursor never goes back."""
    file = sandbox_file(sandbox.url, since_update("events", "write_disposition: append"), store.api)
    assert sorted(at_once(store, file, *[("events", None)] * 3)) == [0, 0, 900]
    assert store.versions("events") == versions(sandbox.data.truth("events"))
    changed = sandbox.data.update("events", count=50, at="2024-02-01T00:00:00Z")
    assert sorted(at_once(store, file, *[("events", None)] * 2)) == [0, len(changed)]
    assert load_into(store, file, "events").rows == 0
    assert len(store.ids("events")) == 900 + len(changed)


def test_a_replaced_table(sandbox: RunningSandbox, store: Store) -> None:
    text = "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}"
    file = sandbox_file(sandbox.url, text, store.api)
    assert at_once(store, file, *[("users", None)] * 2) == [40] * 2
    assert store.versions("users") == versions(sandbox.data.truth("users"))


def test_the_first_loads_of_all_resources(sandbox: RunningSandbox, store: Store) -> None:
    """Each wants to make the dataset and dlt's own tables."""
    text = "\n".join(
        [
            "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}",
            windowed("events", REPLACING),
            since_update("orders", UPSERT),
        ]
    )
    text = "\n".join(line.removeprefix("    ") for line in text.splitlines())
    file = sandbox_file(sandbox.url, text, store.api)
    at_once(store, file, ("users", None), ("events", day(1)), ("orders", None), ends="slowly")
    for resource in ("users", "orders"):
        assert store.versions(resource) == versions(sandbox.data.truth(resource))
    assert store.versions("events") == versions(created(sandbox, "events", day(1)))
    assert len(store.fetch(TABLES)) == 7  # with those of dlt and the items of orders


def test_two_apis(sandbox: RunningSandbox, store: Store) -> None:
    """Each makes its own dataset and tables beside the other's."""
    stores = [store, Store(store.destination, f"{store.api}_too")]
    gate = PROCESSES.Barrier(len(stores))
    running = [
        Loading(
            one,
            sandbox_file(sandbox.url, windowed("events", REPLACING), one.api),
            "events",
            day(number),
            gate=gate,
            ends="slowly",
        )
        for number, one in enumerate(stores, 1)
    ]
    assert [one.outcome().error for one in running] == ["", ""]
    for number, one in enumerate(stores, 1):
        assert one.versions("events") == versions(created(sandbox, "events", day(number)))
        assert one.staged("events") == []


@pytest.fixture
def under_way(sandbox: RunningSandbox, store: Store) -> Iterator[tuple[ApiFile, Loading, Any]]:
    """A load that has the turn, and is killed in the middle of its commit when the gate opens."""
    file = sandbox_file(sandbox.url, since_update("orders", UPSERT), store.api)
    gate = PROCESSES.Event()
    loading = Loading(store, file, "orders", gate=gate, ends="killed")
    loading.wait_until("commits")
    yield file, loading, gate
    gate.set()
    loading.process.join(60)
    assert loading.process.exitcode == -signal.SIGKILL


def test_a_turn_ends_when_its_process_is_killed(
    sandbox: RunningSandbox, store: Store, under_way: tuple[ApiFile, Loading, Any]
) -> None:
    file, _, gate = under_way
    waiting = [Loading(store, file, "orders") for _ in range(2)]
    for one in waiting:
        one.wait_until("asks")
    gate.set()
    outcomes = [one.outcome() for one in waiting]
    assert [one.error for one in outcomes] == ["", ""]
    assert sorted(one.rows or 0 for one in outcomes) == [0, 30]
    assert store.staged("orders") == []
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))


def test_who_waits_can_be_interrupted(store: Store, under_way: tuple[ApiFile, Loading, Any]) -> None:
    file, first, gate = under_way
    waiting = Loading(store, file, "orders")
    waiting.wait_until("asks")
    assert waiting.process.pid
    for _ in range(10):
        os.kill(waiting.process.pid, signal.SIGINT)
        if waiting.has_told(10):  # Python loses an interrupt that comes while it deletes an object
            break
    assert waiting.outcome().error == "KeyboardInterrupt: "
    assert first.process.is_alive()
    gate.set()
    assert load_into(store, file, "orders").rows == 30
    assert store.staged("orders") == []


@pytest.mark.postgres
def test_a_turn_that_was_lost_on_the_way_is_told(sandbox: RunningSandbox, store: Store) -> None:
    if store.destination.type == "duckdb":
        pytest.skip("the turn is a locked file, which cannot be lost")
    file = sandbox_file(sandbox.url, since_update("orders", UPSERT), store.api)
    key = turns.turn_number(f"{store.api}.orders")
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
