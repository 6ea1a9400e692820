"""dlt's DuckDB destination for a file that several programs want: loads take turns, and wait for readers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import duckdb
from dlt.common.configuration import configspec
from dlt.common.destination.client import FollowupJobRequest, LoadJob, RunnableLoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations import duckdb as dlt_duckdb
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.duckdb.configuration import (
    DuckDbClientConfiguration,
    DuckDbConnectionPool,
    DuckDbCredentials,
)
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from filelock import FileLock, Timeout

from analytics_dagster.loading.duckdb_staging import LeanMerge, StagedFile
from analytics_dagster.loading.resolved_once import ResolvedOnce
from analytics_dagster.reading.errors import DestinationError

PATIENCE = 60.0
"""Seconds to wait for another program that holds the file."""

_MEMORY = "64MB"
_MORE_MEMORY = [f"SET GLOBAL memory_limit = '{size}'" for size in ("256MB", "1GB")]
_ALL_MEMORY = "RESET GLOBAL memory_limit"

_log = logging.getLogger(__name__)
_hurried: ContextVar[bool] = ContextVar("hurried", default=False)
_kept: ContextVar[ExitStack | None] = ContextVar("kept", default=None)


@contextmanager
def without_waiting() -> Generator[None]:
    """Inside, a file that others hold is an error at once."""
    token = _hurried.set(True)
    try:
        yield
    finally:
        _hurried.reset(token)


@contextmanager
def kept_open() -> Generator[None]:
    """Inside, the file stays open from when dlt begins to write, which it would close after each step.

    Each time that a file is closed, DuckDB moves what was written to its place, also rows that are staged.
    """
    with ExitStack() as kept:
        token = _kept.set(kept)
        try:
            yield
        finally:
            _kept.reset(token)


@contextmanager
def no_empty_file(path: Path) -> Generator[None]:
    """Inside, a failure takes the file away again that dlt made to look for its state, if it is still empty.

    Args:
        path: The DuckDB file; one that was there before stays.
    """
    new = not path.exists()
    try:
        yield
    except BaseException:
        if new:
            with suppress(Timeout, OSError, duckdb.Error):  # others use it already
                _remove_if_empty(path)
        raise


def _remove_if_empty(path: Path) -> None:
    with _turn(path).acquire(timeout=0):
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
        if tables == (0,):
            path.unlink()
            Path(_turn(path).lock_file).unlink(missing_ok=True)


def _turn(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", is_singleton=True, thread_local=False)


class _TakingTurns(DuckDbConnectionPool):
    """Opens the file when no other load has it, and waits a while for other programs.

    DuckDB lets one process write. Loads wait for each other as long as it takes, with a lock beside the
    file; a program that is not ours holds no such lock, so only DuckDB's own refusal shows it. Threads of
    one process share a turn: DuckDB lets them all in, and refuses changes that conflict.
    """

    def __init__(self, credentials: DuckDbCredentials) -> None:
        super().__init__(credentials)
        self._path = Path(str(credentials.database))
        self._turn = _turn(self._path)

    def borrow_conn(self, *args: Any, **kwargs: Any) -> duckdb.DuckDBPyConnection:
        with self._conn_lock:
            if self._conn is not None:  # pyright: ignore[reportUnnecessaryComparison]
                return super().borrow_conn(*args, **kwargs)
            self._take_turn()
            try:
                return self._open(*args, **kwargs)
            except BaseException:
                self._turn.release()
                raise

    def return_conn(self, borrowed_conn: duckdb.DuckDBPyConnection) -> int:
        with self._conn_lock:
            left = super().return_conn(borrowed_conn)
            if left == 0:
                self._turn.release()
            return left

    def _take_turn(self) -> None:
        try:
            self._turn.acquire(timeout=1)
        except Timeout:
            if _hurried.get():
                raise DestinationError(f"Another load has {self._path}.") from None
            _log.warning("Waiting for another load to finish with %s.", self._path)
            self._turn.acquire()
        except OSError as error:
            raise DestinationError(
                f"The DuckDB file {self._path} cannot be opened: {error}. Check that its folder exists and"
                " may be written to."
            ) from None

    def _open(self, *args: Any, **kwargs: Any) -> duckdb.DuckDBPyConnection:
        patience = 0 if _hurried.get() else PATIENCE
        deadline = time.monotonic() + patience
        told = False
        while True:
            try:
                return super().borrow_conn(*args, **kwargs)
            except duckdb.Error as error:
                held = "lock on file" in str(error)
                if not held or time.monotonic() >= deadline:
                    raise DestinationError(self._problem(error, held=held)) from None
            if not told:
                _log.warning(
                    "Another program has %s open; waiting up to %.0f s for it.", self._path, patience
                )
                told = True
            time.sleep(0.5)

    def _problem(self, error: duckdb.Error, *, held: bool) -> str:
        reason = str(error).splitlines()[0]
        if held:
            return (
                f"The DuckDB file {self._path} was held by another program for {PATIENCE:.0f} s: {reason}\n"
                "Close that program (a notebook or DuckDB shell that only reads blocks it too), then"
                " materialize again. Nothing was written."
            )
        return f"The DuckDB file {self._path} cannot be opened: {reason}\nNothing was written."


@configspec(init=False)
class _Credentials(DuckDbCredentials):
    drivername: Final[str] = "duckdb"  # pyright: ignore[reportGeneralTypeIssues]
    __config_gen_annotations__: ClassVar[list[str]] = []

    def on_resolved(self) -> None:
        super().on_resolved()
        self.conn_pool = _TakingTurns(self)


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    credentials: _Credentials = cast("_Credentials", None)  # pyright: ignore[reportIncompatibleVariableOverride]


@contextmanager
def _in_little_memory(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    """Inside, DuckDB keeps few of the file's blocks in memory, where it would keep all that it wrote."""
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]  # noqa: PLC0415 - slow to import

    cast("Any", pyarrow).default_memory_pool().release_unused()  # what the rows were in
    with suppress(duckdb.OutOfMemoryException):  # another load of this process has more in use
        connection.execute(f"SET GLOBAL memory_limit = '{_MEMORY}'")
    try:
        yield
    finally:
        connection.execute(_ALL_MEMORY)


def _with_the_memory_it_needs(job: Any, run: Callable[[], None]) -> None:
    """Run a job, which is one transaction; anew where that takes more memory, as many or wide rows do."""
    for more in (*_MORE_MEMORY, _ALL_MEMORY):
        try:
            run()
        except DatabaseTransientException as error:
            if not isinstance(error.dbapi_exception, duckdb.OutOfMemoryException):
                raise
            with suppress(DatabaseTransientException):  # another load has more in use already
                job._job_client.sql_client.execute_sql(more)
        else:
            return
    run()


class _Client(DuckDbClient):
    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Called by dlt when it begins to write."""
        if (kept := _kept.get()) is not None:
            credentials = self.sql_client.credentials
            pool = cast("DuckDbConnectionPool", credentials.conn_pool)
            connection = pool.borrow_conn()
            kept.callback(pool.return_conn, connection)
            if not self._has_own_limit:
                kept.enter_context(_in_little_memory(connection))
            _kept.set(None)
        super().initialize_storage(cast("Any", truncate_tables))

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, *more: Any, **named: Any
    ) -> LoadJob:
        """What loads a file, or merges staged rows."""
        job = super().create_load_job(table, file_path, load_id, *more, **named)
        if isinstance(job, DuckDbCopyJob):
            job = StagedFile(file_path)
        if isinstance(job, RunnableLoadJob) and not self._has_own_limit:
            job.run = partial(_with_the_memory_it_needs, job, job.run)
        return job

    @property
    def _has_own_limit(self) -> bool:
        """Whether the user says how much memory DuckDB may take."""
        return "memory_limit" in (self.sql_client.credentials.global_config or {})

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        return [LeanMerge.from_table_chain(table_chain, self.sql_client)]


class duckdb_file(ResolvedOnce, dlt_duckdb):  # noqa: N801 - dlt names destinations so, and derives the name from the class
    """dlt's `duckdb`, taking turns."""

    spec = _Configuration  # pyright: ignore[reportIncompatibleMethodOverride] - so do all of dlt's

    @property
    def client_class(self) -> Any:
        return _Client
