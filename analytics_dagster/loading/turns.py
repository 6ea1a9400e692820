"""Loads of one table take turns, so that each starts from what the one before committed.

A turn is held from before the stored state and schema are read until the rows are committed. Loads of
different tables go on side by side. A turn ends with the process that holds it, however that dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from dlt.destinations import postgres as dlt_postgres
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.resolved_once import ResolvedOnce
from analytics_dagster.reading.errors import DestinationError, MissingDriverError

_POLL = 0.2  # seconds between two tries
_QUIET = 1.0  # seconds of waiting that need no word

_log = logging.getLogger(__name__)
_in_this_process: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def turn_in_duckdb(path: Path, table: str) -> Generator[None]:
    """Hold the turn of a table, with a lock beside the DuckDB file.

    Threads of one process take turns with the whole file: DuckDB lets them all in, and refuses changes that
    conflict.

    Args:
        path: The DuckDB file.
        table: Dataset and table.

    Raises:
        DestinationError: If there can be no lock beside the file.
    """
    path = path.resolve()
    thread = _in_this_process[path]
    _wait(lambda: thread.acquire(blocking=False), f"Waiting for another load into {path}…")
    try:
        with turn_on_this_machine(path, table):
            yield
    finally:
        thread.release()


@contextmanager
def turn_on_this_machine(beside: Path, table: str) -> Generator[None]:
    """Hold the turn of a table with a locked file, which is there as long as somebody has the turn.

    Args:
        beside: Where the file is, and how its name begins.
        table: Dataset and table.

    Raises:
        DestinationError: If the file cannot be made.
    """
    lock = beside.with_name(f"{beside.name}.{turn_number(table):016x}.lock")
    descriptor: int | None = None

    def take() -> bool:
        nonlocal descriptor
        descriptor = locked_file(lock)
        return descriptor is not None

    try:
        _wait(take, _waiting_for(table))
    except OSError as error:
        raise DestinationError(
            f"{lock} cannot be made, which keeps other loads away: {error}. Check that its folder exists and"
            " may be written to."
        ) from None
    assert descriptor is not None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is locked: whoever opened it already sees that it is gone
        os.close(descriptor)


def locked_file(path: Path) -> int | None:
    """Make a file and lock it, until its descriptor is closed or the process ends.

    Whoever takes the file away does so while it is locked, so those that opened it before cannot have it.

    Args:
        path: The file.

    Returns:
        Its descriptor; None if somebody else has it.

    Raises:
        OSError: If the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                taken, descriptor = descriptor, -1
                return taken
        return None
    finally:
        if descriptor != -1:
            os.close(descriptor)


@contextmanager
def turn_in_postgres(client: SqlClientBase[Any], table: str) -> Generator[None]:
    """Hold the turn of a table with an advisory lock, which all machines see.

    Args:
        client: Is connected for this alone. A pooler between it and the server must keep sessions apart.
        table: Dataset and table.

    Raises:
        DestinationError: If the connection, and so the turn, was lost on the way.
    """
    with client:
        # The server must neither end a connection that is idle for hours nor keep one whose machine is gone.
        client.execute_sql(
            "SELECT set_config(name, CASE name WHEN 'idle_session_timeout' THEN '0' ELSE '60' END, false)"
            " FROM pg_settings WHERE name IN ('idle_session_timeout', 'tcp_keepalives_idle')"
        )
        take = _advisory(client, "pg_try_advisory_lock", table)
        _wait(take, _waiting_for(table))
        yield
        if not _is_held(_advisory(client, "pg_advisory_unlock", table)):
            raise DestinationError(
                f"The connection that kept other loads of `{table}` away was lost before this load was over."
                " Its rows were written, but maybe another load came in between: materialize again."
            )


class postgres_in_turn(ResolvedOnce, dlt_postgres):  # noqa: N801 - dlt names destinations so
    """dlt's `postgres`, where loads that need the same new dataset make it one after another."""

    @property
    def client_class(self) -> Any:
        try:
            from analytics_dagster.loading.postgres_copy import CopiesExactly  # noqa: PLC0415 - its driver
        except ModuleNotFoundError as error:
            raise MissingDriverError(
                f"PostgreSQL needs the Python package `{error.name}`, which is not installed. Install it with"
                " `pip install 'dlt[postgres]'`."
            ) from None
        return type("PostgresClient", (_MakingInTurn, CopiesExactly), {})


class _MakingInTurn(SqlJobClientBase):
    """PostgreSQL refuses to one of two transactions what both make, also with IF NOT EXISTS.

    The lock belongs to the transaction, for dlt discards all that a session has, its locks too, after the
    error by which it finds out that a dataset is new.
    """

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        with self.maybe_ddl_transaction():
            super().initialize_storage(cast("Any", truncate_tables))

    @contextmanager
    def maybe_ddl_transaction(self) -> Generator[None]:
        client = cast("SqlClientBase[Any]", self.sql_client)
        dataset = client.dataset_name
        with super().maybe_ddl_transaction():
            take = _advisory(client, "pg_try_advisory_xact_lock", dataset)
            _wait(take, f"Waiting for another load to make its tables in `{dataset}`…")
            yield


def _advisory(client: SqlClientBase[Any], function: str, name: str) -> Callable[[], bool]:
    def call() -> bool:
        rows = client.execute_sql(f"SELECT {function}(%s)", turn_number(name))
        return bool(rows and rows[0][0])

    return call


def _is_held(unlock: Callable[[], bool]) -> bool:
    try:
        return unlock()
    except Exception as error:  # noqa: BLE001 - of any driver; without its connection the lock is gone
        _log.debug("A lock could not be released: %s", type(error).__name__)
        return False


def turn_number(name: str) -> int:
    """63 bits of a name, as PostgreSQL wants its locks named.

    Args:
        name: Dataset and table, for the turn of a table.
    """
    return int.from_bytes(hashlib.sha256(f"analytics_dagster {name}".encode()).digest()[:8]) >> 1


def _waiting_for(table: str) -> str:
    return f"Waiting for another load of `{table}`…"


def _wait(take: Callable[[], bool], message: str) -> None:
    """Try until it works; in small steps, so that a person can interrupt it at any time."""
    began = time.monotonic()
    told = False
    while not take():
        if not told and time.monotonic() - began > _QUIET:
            _log.warning(message)
            told = True
        time.sleep(_POLL)
