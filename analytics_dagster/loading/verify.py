"""Reads a resource again, as a load would, and compares it with the destination; writes nothing there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.destination import Destination as DltDestination
from dlt.common.schema import Schema
from dlt.extract import DltSource

from analytics_dagster.loading.compare import Comparing, Comparison
from analytics_dagster.loading.contents import StoredRows, stored_rows
from analytics_dagster.loading.cursor import is_number_cursor
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.load import PreparedLoad, prepare_load, until_stable
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import schema_name
from analytics_dagster.loading.staging import NO_STAGING
from analytics_dagster.loading.steps import step_size
from analytics_dagster.loading.workspace import private_directory
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile, Resource, Window

OnChange = Callable[[Sequence[Window], Meter], None]


def unreadable_range(resource: Resource) -> str | None:
    """Why no range of a resource without partitions can be read; None if one can."""
    cursor = resource.endpoint.incremental
    if cursor is None:
        return "it has no cursor"
    if is_number_cursor(cursor):
        return "its cursor is a number"
    usual = (cursor.last_value_func, cursor.range_start, cursor.range_end) == ("max", "closed", "open")
    return None if usual else "its cursor does not go forward in time from a start up to an end"


def verify(
    file: ApiFile,
    resource_name: str,
    windows: Sequence[Window] = (),
    destination: Destination | None = None,
    *,
    values: Mapping[str, str] | None = None,
    on_change: OnChange = lambda _windows, _meter: None,
) -> Comparison:
    """Read a resource again and compare it with the destination.

    The rows go the way of a load, into a DuckDB file that is thrown away, so that each value is read as the
    destination's columns have it. The destination is closed while the API is read.

    Args:
        file: The API file.
        resource_name: The resource.
        windows: Neighbouring windows to compare; none for everything.
        destination: Where rows were loaded to; by default what `ANALYTICS_DESTINATION` says.
        values: Values for the file's templates that come before the environment.
        on_change: Called with the windows that are read together, after each change of their counts.

    Raises:
        LoadError: If the API or the destination cannot be read.
    """
    destination = destination or Destination.from_environment()
    resolved = resolve(file, values=values)
    resource = next(one for one in resolved.api.resources if one.name == resource_name)
    where = f"{file.path}: resource `{resource_name}`"
    with private_directory() as directory:

        @contextmanager
        def opened(of: Destination) -> Generator[StoredRows | None]:
            name = schema_name(resolved.api, resource)
            table = resource.table_name or resource.name
            with (
                explained(resolved.redact, where),
                stored_rows(of, directory, file.api.name, name, table) as rows,
            ):
                yield rows

        scratch = _Scratch.like(destination, directory)
        with opened(destination) as rows:
            if rows is not None:
                scratch.make_tables(rows.schema, file.api.name)

        def read(step: _Step) -> PreparedLoad:
            with prepare_load(
                file,
                resource_name,
                step.windows,
                scratch,
                values=values,
                on_change=lambda meter: on_change(step.windows, meter),
            ) as prepared:
                prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
                step.rows = prepared.meter.rows
            return prepared

        last: PreparedLoad | None = None
        for step in _steps(windows):
            last = until_stable(partial(read, step))
        assert last is not None  # as there is a first step
        last.meter.wait("comparing with the destination…")
        naming = last.pipeline.default_schema.naming
        with Comparing(resource, windows, naming, directory) as comparing, opened(scratch) as in_api:
            comparing.read("api", in_api)
            with opened(destination) as in_destination:
                comparing.read("destination", in_destination)
                return comparing.result(in_api, in_destination, resolved.redact)


@dataclass
class _Step:
    windows: Sequence[Window]
    rows: int = 0


def _steps(windows: Sequence[Window]) -> Iterator[_Step]:
    """Read as a run reads them, since an API may not take more at once; it is told the rows of each step."""
    if not windows:
        yield _Step([])
    done, size = 0, 1
    while done < len(windows):
        step = _Step(windows[done : done + size])
        yield step
        done += len(step.windows)
        size = step_size(len(step.windows), step.rows)


@dataclass(frozen=True)
class _Scratch(Destination):
    """A DuckDB file that holds what another destination would hold, under the same names."""

    longest: Mapping[str, int] | None = None

    @classmethod
    def like(cls, destination: Destination, directory: Path) -> _Scratch:
        """A new one.

        Args:
            destination: Whose names it takes over.
            directory: Where the file is to be.
        """
        caps = destination.open(NO_STAGING, read_only=True).capabilities()
        names = ("max_identifier_length", "max_column_identifier_length")
        return cls("duckdb", str(directory / "api.duckdb"), {name: getattr(caps, name) for name in names})

    def open(self, staging: str, *, read_only: bool = False) -> DltDestination[Any, Any]:
        """As of any destination."""
        opened = super().open(staging, read_only=read_only)
        opened.caps_params.update(self.longest or {})
        return opened

    def make_tables(self, schema: Schema, dataset: str) -> None:
        """Make empty tables, and remember their schema as after a load.

        Args:
            schema: What the other destination has.
            dataset: The API's name.
        """
        directory = tempfile.mkdtemp(dir=self.duckdb_path().parent)
        pipeline = dlt.pipeline(
            schema.name,
            pipelines_dir=directory,
            destination=cast("Any", self.open(NO_STAGING)),
            dataset_name=dataset,
        )
        pipeline.extract(DltSource(schema, schema.name, []))
        pipeline.sync_schema()
        pipeline.normalize()
        pipeline.load()
