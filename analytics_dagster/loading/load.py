"""One load: a window of a resource, read from its API and committed to the destination."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import dlt
from dlt.extract import DltSource
from dlt.pipeline.pipeline import Pipeline

from analytics_dagster.loading.batches import BATCH_ROWS
from analytics_dagster.loading.changes import RefuseChanges
from analytics_dagster.loading.columnar import Columnar
from analytics_dagster.loading.cursor import CountRows, cursor_column
from analytics_dagster.loading.destination import Destination, secrets_of
from analytics_dagster.loading.disposition import disposition, starts_over
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.growth import schema_changes
from analytics_dagster.loading.parent_cursors import ParentCursors
from analytics_dagster.loading.promises import refuse_weak
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import api_session, build_source
from analytics_dagster.loading.staging import staging_dropped, staging_name
from analytics_dagster.loading.stored import grown_from_stored, reading, warn_of_gone
from analytics_dagster.loading.workspace import EnoughDisk, private_directory
from analytics_dagster.reading.errors import RefusedError, UnstableError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import ApiFile, Resource, Window, windows_between

_READINGS = 3  # at most, of rows that come or go meanwhile
_MAY_BE_TOO_MUCH = re.compile(r"\b(400|413|416|422) ")  # statuses of requests, not of credentials or places
_SHOWN = 1_000  # characters of a value in a preview

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadResult:
    """What a load did.

    `columnar_rows` are those that went by columns, not one by one; `counts` has the rows of each window, in
    order; `stated` is how many the API says there are, those beyond the windows included, or None; `seconds`
    is wall time; `schema_changes` are the tables and columns that it added to those of earlier loads;
    `preview` has the first rows, without secrets.
    """

    rows: int
    columnar_rows: int
    stated: int | None
    counts: list[int]
    requests: int
    retries: int
    pages: int
    bytes: int
    seconds: float
    table: str
    schema_changes: list[str]
    preview: list[dict[str, Any]]


@dataclass
class PreparedLoad:
    """A dlt source and the pipeline to run it in, with what is counted on the way.

    Run it with `pipeline.run(source, **options)`, by hand or by Dagster, then ask for `result()`.
    """

    source: DltSource
    pipeline: Pipeline
    options: dict[str, Any]
    meter: Meter
    counted: CountRows
    columnar: Columnar
    resource: Resource
    redact: Redactor
    where: str
    window: Window | None
    _started: float = field(default_factory=time.monotonic)

    def result(self) -> LoadResult:
        """What the load did; to be asked after it was run."""
        schema = self.pipeline.default_schema
        table = schema.naming.normalize_tables_path(self.resource.table_name or self.resource.name)
        client = self.pipeline.sql_client()
        if self.window and (problem := self.counted.none_inside(self.resource, self.window)):
            _log.warning("%s: %s", self.where, problem)
        return LoadResult(
            rows=self.meter.rows,
            columnar_rows=self.columnar.rows,
            stated=None if self.resource.is_child else self.meter.stated,  # a child has one for each parent
            counts=self.counted.counts,
            requests=self.meter.requests,
            retries=self.meter.retries,
            pages=self.meter.pages,
            bytes=self.meter.bytes,
            seconds=time.monotonic() - self._started,
            table=".".join(client.make_qualified_table_name_path(table, quote=False)),
            schema_changes=schema_changes(self.pipeline, table),
            preview=[
                {name: _shown(value, self.redact) for name, value in row.items()}
                for row in cast("list[dict[str, Any]]", self.counted.preview)
            ],
        )


def _shown(value: Any, redact: Redactor) -> Any:
    """A value of a row, for people: an API may well send a secret as data."""
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value)[:_SHOWN])


@contextmanager
def prepare_load(
    file: ApiFile,
    resource_name: str,
    windows: Sequence[Window] = (),
    destination: Destination | None = None,
    *,
    run: Window | None = None,
    full_refresh: bool = False,
    auth: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    on_change: Callable[[Meter], None] = lambda _: None,
    batch_rows: int = BATCH_ROWS,
    sample: bool = False,
) -> Generator[PreparedLoad]:
    """Make everything ready for one load, and tidy up after it.

    Args:
        file: The API file.
        resource_name: The resource to load.
        windows: Neighbouring windows that are read as one and committed together; none for a resource
            without partitions.
        destination: Where rows go.
        run: What this load and others read one after another, where it is not the only one.
        full_refresh: For a resource without partitions: read everything and replace what is there.
        auth: Fields that replace those of the file's `client.auth`.
        values: Values for the file's templates that come before the environment.
        on_change: Called after each change of the counts.
        batch_rows: How many rows to read before they go on together.
        sample: Read no more than the beginning of exports.

    Raises:
        LoadError: If the load fails; its message is written for people and holds no secret.
    """
    resolved = resolve(file, auth, values)
    resource = next(one for one in resolved.api.resources if one.name == resource_name)
    destination = destination or Destination.from_environment()
    meter = Meter(on_change=on_change)
    where = f"{file.path}: resource `{resource_name}`"
    window = Window(windows[0].start, windows[-1].end) if windows else None
    fresh = starts_over(resource, window, full_refresh=full_refresh)
    table = resource.table_name or resource.name
    cursors = None
    if resource.has_cursor_per_parent and window is None:
        cursors = ParentCursors(resolved.api, resource, forget=fresh)
    counted = CountRows(windows, cursor_column(resource), meter, emptied=table if window or fresh else None)
    with (
        _several_windows_named(resource, window),
        explained(resolved.redact, where),
        private_directory() as directory,
        api_session(resolved, meter, sample=sample) as session,
    ):
        refuse_weak(resource, destination.type, full_refresh=full_refresh)
        source = build_source(
            resolved, resource, session, counted, window, cursors=cursors, forget=fresh, batch_rows=batch_rows
        )
        columnar = Columnar()
        source.resources[resource_name].add_step(EnoughDisk(directory, meter)).add_step(columnar)
        naming = source.schema.naming
        dataset = naming.normalize_table_identifier(resolved.api.name)
        name = f"{dataset}.{naming.normalize_tables_path(table)}"
        pipeline = dlt.pipeline(
            pipeline_name=source.name,
            pipelines_dir=str(directory),
            destination=destination.open(staging_name(name)),
            dataset_name=dataset,
        )
        client = pipeline.sql_client()
        for secret in secrets_of(client):
            resolved.redact.hide(secret)
        hint = disposition(resource, client, naming, windows, run=run, full_refresh=full_refresh)
        source.resources[resource_name].apply_hints(write_disposition=hint)
        source.resources[resource_name].add_step(RefuseChanges(file, resource_name, starts_over=fresh))
        # Parquet is many times faster than dlt's default for DuckDB; elsewhere it needs further packages.
        options: dict[str, Any] = {"loader_file_format": "parquet"} if destination.type == "duckdb" else {}
        if destination.type == "postgres":  # its files stay here until COPY reads them
            dlt.config[f"{source.name}.normalize.data_writer.disable_compression"] = True
        turn = destination.turn(client, name)
        alone = destination.keeps_all_loads_apart
        with (
            turn,
            destination.no_empty_file(),
            destination.kept_open(),
            staging_dropped(pipeline, alone=alone),
        ):
            with reading(pipeline) as opened:
                warn_of_gone(file, opened)
                source.schema = grown_from_stored(opened, source.schema)
                if cursors is not None:
                    cursors.read(opened)
            yield PreparedLoad(
                source, pipeline, options, meter, counted, columnar, resource, resolved.redact, where, window
            )


@contextmanager
def _several_windows_named(resource: Resource, window: Window | None) -> Generator[None]:
    """Say of a request that was refused that it was for several windows, which may be too much at once."""
    problem: RefusedError | None = None
    try:
        yield
    except RefusedError as error:
        partitions, cursor = resource.partitions, resource.endpoint.incremental
        count = len(windows_between(partitions, window.start, window.end)) if partitions and window else 1
        if count == 1 or (cursor and cursor.step) or not _MAY_BE_TOO_MUCH.search(str(error)):
            raise
        problem = RefusedError(
            f"{error}\n{count} windows were asked for at once; if the API takes no such long ones, write the"
            " longest that it takes in endpoint.incremental, such as `step: 24h`."
        )
    if problem:
        raise problem


def load(
    file: ApiFile,
    resource_name: str,
    window: Window | None = None,
    destination: Destination | None = None,
    *,
    full_refresh: bool = False,
    auth: Mapping[str, str] | None = None,
) -> LoadResult:
    """Load one resource, without Dagster.

    Args:
        file: The API file.
        resource_name: The resource to load.
        window: What to load of a resource with partitions.
        destination: Where rows go; by default what `ANALYTICS_DESTINATION` says.
        full_refresh: For a resource without partitions: read everything and replace what is there.
        auth: Fields that replace those of the file's `client.auth`.

    Raises:
        ValueError: If a resource with partitions gets no window, or one without them does.
        LoadError: If the load fails.
    """
    resource = next(one for one in file.api.resources if one.name == resource_name)
    if resource.partitions and window is None and not full_refresh:
        raise ValueError(
            f"{file.path}: resource `{resource_name}` has partitions: say which `window` to load. Without one"
            " its rows would come once more beside those of windows that are loaded."
        )
    if window is not None and not resource.partitions:
        raise ValueError(
            f"{file.path}: resource `{resource_name}` has no partitions, so that it cannot be loaded by a"
            " `window`. Leave it out, or give the resource `partitions`."
        )
    windows = [window] if window else []

    def once() -> LoadResult:
        with prepare_load(
            file, resource_name, windows, destination, full_refresh=full_refresh, auth=auth
        ) as prepared:
            prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
            return prepared.result()

    return until_stable(once)


def until_stable(once: Callable[[], T]) -> T:
    """Load, and load anew where rows came or went while they were read.

    Args:
        once: Prepares and runs one load, which commits nothing if it fails.

    Raises:
        UnstableError: If that happened each time.
        LoadError: If the load fails.
    """
    for number in range(1, _READINGS):
        try:
            return once()
        except UnstableError as error:
            _log.warning("%s\nReading again from the start (%d of %d).", error, number + 1, _READINGS)
    try:
        return once()
    except UnstableError as error:
        problem = UnstableError(
            f"{error} It was read {_READINGS} times: ask for a window that is over, or for an order in which"
            " each row has a place of its own and new rows come last."
        )
    raise problem
