"""Compares what an API has with what the destination has, by key and by content; writes nothing there."""

# ruff: noqa: S608 - all names and conditions are made here

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import dlt
import duckdb
from dlt.common.destination import Destination as DltDestination
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.extract import DltSource

from analytics_dagster.loading.contents import Nested, Row, StoredRows, stored_rows
from analytics_dagster.loading.cursor import cursor_column, is_number_cursor
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.load import PreparedLoad, prepare_load
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import schema_name
from analytics_dagster.loading.steps import step_size
from analytics_dagster.loading.workspace import private_directory
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile, Resource, Window

EXAMPLES = 5
"""How many rows of each kind are told in full."""

_UNUSED = "_staging_unused"

Kind = Literal["missing", "extra", "different"]
OnChange = Callable[[Sequence[Window], Meter], None]


@dataclass(frozen=True)
class Difference:
    """A row that is not the same on both sides.

    `key` has the fields of the primary key, or all fields where there is none; `cursor` is the API's, else
    the destination's. `fields` has both values, the API's first, of what differs; nested rows are numbered
    from 0. Nothing of it holds a secret.
    """

    kind: Kind
    key: dict[str, str]
    cursor: str | None
    fields: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Comparison:
    """What the API and the destination have of a resource.

    `missing` rows are in the API only, `extra` ones in the destination only. `older` ones, which are none of
    these, are earlier versions that `append` keeps. `examples` are the first few of each kind.
    """

    in_api: int
    in_destination: int
    missing: int
    extra: int
    different: int
    older: int
    examples: Sequence[Difference]

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.missing or self.extra or self.different)


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
        last: PreparedLoad | None = None
        for step in _steps(windows):
            with prepare_load(
                file,
                resource_name,
                step.windows,
                scratch,
                values=values,
                on_change=lambda meter, step=step: on_change(step.windows, meter),
            ) as prepared:
                prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
                step.rows = prepared.meter.rows
            last = prepared
        assert last is not None  # as there is a first step
        last.meter.wait("comparing with the destination…")
        naming = last.pipeline.default_schema.naming
        with _Comparing(resource, windows, naming, directory) as comparing, opened(scratch) as in_api:
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
        caps = destination.open(_UNUSED, read_only=True).capabilities()
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
            destination=cast("Any", self.open(_UNUSED)),
            dataset_name=dataset,
        )
        pipeline.extract(DltSource(schema, schema.name, []))
        pipeline.sync_schema()
        pipeline.normalize()
        pipeline.load()


class _Comparing:
    """Compares two sides by fingerprints of their rows, which are tables, so that memory does not grow."""

    def __init__(
        self, resource: Resource, windows: Sequence[Window], naming: NamingConvention, directory: Path
    ) -> None:
        given = resource.primary_key or []
        cursor = cursor_column(resource)
        self._keys = [naming.normalize_path(key) for key in ([given] if isinstance(given, str) else given)]
        self._cursor = cursor and naming.normalize_path(cursor)
        self._window = Window(windows[0].start, windows[-1].end) if windows else None
        incremental = resource.endpoint.incremental
        self._takes_null = incremental is not None and incremental.on_cursor_value_missing == "include"
        self._keeps_versions = resource.write_disposition == "append" and not resource.partitions
        # What is more than that goes to the disk.
        self._scratch = duckdb.connect(
            str(directory / "fingerprints.duckdb"), config={"memory_limit": "256MB"}
        )

    def __enter__(self) -> _Comparing:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()

    def read(self, side: Literal["api", "destination"], rows: StoredRows | None) -> None:
        """Take the fingerprints of one side."""
        if rows is None:
            self._scratch.execute(f"CREATE TABLE {side} (id TEXT, key TEXT, cursor TEXT, hash TEXT)")
            return
        if self._window and self._cursor:
            rows.limit(self._cursor, self._window, or_null=self._takes_null)
        rows.fingerprint(self._scratch, side, self._keys, self._cursor)

    def result(
        self, in_api: StoredRows | None, in_destination: StoredRows | None, redact: Callable[[str], str]
    ) -> Comparison:
        """Compare what was read; the rows of both sides are asked for the examples."""
        older, elsewhere = self._match()
        counts = {kind: self._count(f"pairs WHERE {where}") for kind, where in _KINDS.items()}
        return Comparison(
            in_api=self._count("api"),
            in_destination=self._count("destination") - elsewhere,
            missing=counts["missing"],
            extra=counts["extra"],
            different=counts["different"],
            older=older,
            examples=list(self._examples(in_api, in_destination, redact)),
        )

    def _match(self) -> tuple[int, int]:
        """Write the table `pairs`: of rows that have no equal on the other side, those with equal keys.

        Returns:
            How many rows were left out as older versions, and as those of other windows.
        """
        for side, other in (("api", "destination"), ("destination", "api")):
            numbered = "SELECT *, row_number() OVER (PARTITION BY hash) AS copy FROM"
            self._scratch.execute(
                f"CREATE TABLE {side}_only AS FROM ({numbered} {side}) ANTI JOIN ({numbered} {other})"
                " USING (hash, copy)"
            )
        older = elsewhere = 0
        if self._keeps_versions and self._keys:
            older = self._drop("key IN (SELECT key FROM api) AND hash NOT IN (SELECT hash FROM api)")
        if self._window and self._takes_null:  # which windows the API counts such rows to is not known
            elsewhere = self._drop("cursor IS NULL AND key NOT IN (SELECT key FROM api_only)")
        by = "key" if self._keys and not self._keeps_versions else "hash"
        numbered = f"SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY hash) AS place FROM"
        self._scratch.execute(
            "CREATE TABLE pairs AS SELECT coalesce(a.key, d.key) AS key, a.id AS api, d.id AS destination"
            f" FROM ({numbered} api_only) AS a FULL JOIN ({numbered} destination_only) AS d"
            f" ON a.{by} = d.{by} AND a.place = d.place"
        )
        return older, elsewhere

    def _drop(self, where: str) -> int:
        dropped = self._count(f"destination_only WHERE {where}")
        self._scratch.execute(f"DELETE FROM destination_only WHERE {where}")
        return dropped

    def _count(self, rows: str) -> int:
        return self._scratch.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]

    def _examples(
        self, in_api: StoredRows | None, in_destination: StoredRows | None, redact: Callable[[str], str]
    ) -> Iterator[Difference]:
        chosen: dict[Kind, list[Any]] = {
            kind: self._scratch.execute(
                f"SELECT key, api, destination FROM pairs WHERE {where} ORDER BY ALL LIMIT {EXAMPLES}"
            ).fetchall()
            for kind, where in _KINDS.items()
        }
        ids = [pair for pairs in chosen.values() for pair in pairs]
        left = in_api.contents([api for _, api, _ in ids if api]) if in_api else {}
        right = in_destination.contents([own for _, _, own in ids if own]) if in_destination else {}
        for kind, pairs in chosen.items():
            for _, api, own in pairs:
                sides = _texts(left.get(api, {})), _texts(right.get(own, {}))
                sent, there = ({name: redact(text) for name, text in side.items()} for side in sides)
                known = {**there, **sent}
                yield Difference(
                    kind,
                    key={name: known[name] for name in self._keys or known if name in known},
                    cursor=known.get(self._cursor) if self._cursor else None,
                    fields={
                        name: (sent.get(name, ""), there.get(name, ""))
                        for name in known
                        if kind == "different" and sides[0].get(name) != sides[1].get(name)
                    },
                )


_KINDS: dict[Kind, str] = {
    "missing": "destination IS NULL",
    "extra": "api IS NULL",
    "different": "api IS NOT NULL AND destination IS NOT NULL",
}


def _texts(row: Row, path: str = "") -> dict[str, str]:
    """The fields of a row as texts in which no value looks like another one; those of nested rows, too."""
    texts: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, Nested):
            texts[f"{path}{name}"] = f"{len(value.rows)} rows"
            for place, nested in value.rows:
                texts |= _texts(nested, f"{path}{name}.{place}.")
        else:
            texts[f"{path}{name}"] = _text(value)
    return texts


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) < _LONGEST else str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str | bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return str(value)


_LONGEST = 40  # digits
