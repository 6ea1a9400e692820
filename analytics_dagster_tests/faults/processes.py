"""Processes that load, each a fork that has imported everything, and their deaths at drawn points."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.load.load import Load as DltLoad
from dlt.normalize.normalize import Normalize
from dlt.pipeline.pipeline import Pipeline

from analytics_dagster.loading import duckdb_file
from analytics_dagster.loading.arrow import ArrowTables
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load
from analytics_dagster.loading.normalizer import DataItemNormalizer
from analytics_dagster.reading.errors import (
    ContractError,
    CursorError,
    LoadError,
    PageError,
    RefusedError,
    RequestError,
)
from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.faults.history import Kill, Load, Process

_FORKS = multiprocessing.get_context("forkserver")
# Each start looks for processes that ended, and of two threads that look at one only one gets its exit code;
# the other makes it 255 (python/cpython#130895).
_LOOKING = threading.Lock()
_LONGEST = 120  # seconds that any process may take
_WHILE_READING = (RequestError, RefusedError, PageError, ContractError, CursorError)


def preload(*modules: str) -> None:
    """Import modules in all processes that load; to be called before the first one starts."""
    _FORKS.set_forkserver_preload([f"{__package__}.preloaded", *modules])


@dataclass(frozen=True)
class Order:
    """What a process is to do: see `Process` and `Step` of a history."""

    file: ApiFile
    destination: Destination
    process: Process
    patience: float
    place: Path
    instance: Path


@dataclass(frozen=True)
class Failure:
    """Why a load failed; `reading` says whether nothing can have been written yet."""

    message: str
    is_explained: bool
    reading: bool


@dataclass(frozen=True)
class Outcome:
    """How a process ended: for each load that came to an end, None if it went well.

    `how` is `over`, `killed`, or anything else that should not be.
    """

    ended: Sequence[Failure | None]
    how: str


def start(target: Callable[..., object], *arguments: Any) -> tuple[Connection, BaseProcess]:
    """A process that calls `target` with a connection and `arguments`, and that connection's other end."""
    ours, theirs = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=target, args=(theirs, *arguments), daemon=True)
    with _LOOKING:
        process.start()
    theirs.close()
    return ours, process


def exit_code(process: BaseProcess) -> int | None:
    """The exit code of a process, which is waited for; None if it takes too long."""
    wait([process.sentinel], _LONGEST)
    with _LOOKING:
        return process.exitcode


class Loading:
    """A process at work."""

    def __init__(self, order: Order) -> None:
        for place in (order.place / "cwd", order.place / "tmp"):
            place.mkdir(parents=True, exist_ok=True)
        self._results, self._process = start(_work, order)

    def outcome(self) -> Outcome:
        """How it ended, which is waited for."""
        code = exit_code(self._process)
        if code is None:
            self._process.kill()
            return Outcome(self._ended(), f"not over after {_LONGEST} s")
        how = {0: "over", -signal.SIGKILL: "killed", -signal.SIGALRM: "killed"}.get(code, f"exit code {code}")
        return Outcome(self._ended(), how)

    def _ended(self) -> list[Failure | None]:
        found: list[Failure | None] = []
        with suppress(EOFError):
            while self._results.poll():
                found.append(self._results.recv())
        return found


def _work(results: Connection, order: Order) -> None:
    os.chdir(order.place / "cwd")
    os.environ["TMPDIR"] = tempfile.tempdir = str(order.place / "tmp")
    os.environ["HOME"] = str(order.place)
    logging.disable(logging.CRITICAL)
    duckdb_file.PATIENCE = order.patience
    time.sleep(order.process.delay)
    if order.process.kill:
        _arm(order.process.kill)
    if order.process.by_dagster:
        from analytics_dagster_tests.faults.by_dagster import materialize

        told = materialize(order.file, order.destination, order.process.loads, order.instance)
        results.send(told and Failure(told, is_explained=not told.startswith("not explained"), reading=False))
        return
    for one in order.process.loads:
        results.send(_failure(order, one))


def _failure(order: Order, one: Load) -> Failure | None:
    try:
        load(order.file, one.endpoint, one.window, order.destination, full_refresh=one.full_refresh)
    except LoadError as error:
        return Failure(
            f"{type(error).__name__}: {error}", is_explained=True, reading=isinstance(error, _WHILE_READING)
        )
    except Exception as error:  # noqa: BLE001 - that it is no LoadError is what the history fails for
        return Failure(f"{type(error).__name__}: {error}", is_explained=False, reading=False)
    return None


def _arm(kill: Kill) -> None:
    """Let this process die, as if its machine lost power, at some point."""
    numbers = itertools.count(1)

    def count() -> None:
        if next(numbers) == kill.number:
            os.kill(os.getpid(), signal.SIGKILL)

    match kill.where:
        case "ms":
            # Nothing handles this signal, so it ends the process like the other one, but on time.
            signal.setitimer(signal.ITIMER_REAL, kill.number / 1000)
        case "page":
            _count_calls(WatchedPaginator, "update_state", before=count)
        case "row":
            _count_calls(DataItemNormalizer, "_flatten", before=count)
            _count_calls(ArrowTables, "_table", before=count)  # many rows at once, of one table
        case "statement":
            for client in (DuckDbSqlClient, Psycopg2SqlClient):
                _count_calls(client, "execute_query", before=count)
                _count_calls(client, "commit_transaction", before=count, after=count)
        case "commit":
            for client in (DuckDbSqlClient, Psycopg2SqlClient):
                _count_calls(client, "commit_transaction", before=count, after=count)
        case "normalize":
            _count_calls(Normalize, "run", before=count)
        case "load":
            _count_calls(DltLoad, "run", before=count)
        case "end":
            _count_calls(Pipeline, "run", after=count)


def _nothing() -> None: ...


def _count_calls(
    where: Any, name: str, *, before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing
) -> None:
    original = getattr(where, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        before()
        result = original(*arguments, **options)
        after()
        return result

    setattr(where, name, counted)


def materialized(order: Order) -> list[bool]:
    """For each load of a process of Dagster's, whether its instance says that it was done."""
    results, process = start(_look, order)
    exit_code(process)
    return results.recv()


def _look(results: Connection, order: Order) -> None:
    from analytics_dagster_tests.faults.by_dagster import materialized

    results.send(materialized(order.file, order.process.loads, order.instance))


class Holding:
    """A program that has the destination: a DuckDB file open, or a table of a server locked."""

    def __init__(self, destination: Destination, table: str, seconds: float) -> None:
        self._ready, self._process = start(_hold, destination, table, seconds)
        self._ready.poll(_LONGEST)

    def end(self) -> None:
        """Wait for its end."""
        exit_code(self._process)


def _hold(ready: Connection, destination: Destination, table: str, seconds: float) -> None:
    assert destination.credentials is not None
    if destination.type == "duckdb":
        if Path(destination.credentials).exists():
            with duckdb.connect(destination.credentials, read_only=True):
                ready.send(None)
                time.sleep(seconds)
        return
    server = psycopg2.connect(destination.credentials)
    with suppress(psycopg2.Error), server, server.cursor() as cursor:  # there is none yet, or it is cut off
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        ready.send(None)
        time.sleep(seconds)
    server.close()
