"""What rows say, wherever they are stored: canonical values, a fingerprint of each row, and whole rows."""

# ruff: noqa: S608 - all names are quoted, and all conditions are made here

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import dlt
import duckdb
from dlt.common.schema import Schema
from dlt.common.schema.utils import get_nested_tables
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientWithStagingDataset

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.disposition import within
from analytics_dagster.loading.staging import NO_STAGING
from analytics_dagster.reading.errors import DestinationError
from analytics_dagster.spec import Window

_BATCH = 10_000  # rows that are in memory at once
_ID, _PARENT, _ROOT, _PLACE = "_dlt_id", "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"
_OWN = {_ID, _PARENT, _ROOT, _PLACE, "_dlt_load_id"}
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

Row = dict[str, Any]


@dataclass(frozen=True)
class Nested:
    """Rows within a row, each with its place there."""

    rows: list[tuple[int, Row]] = field(default_factory=list[tuple[int, Row]])


def canonical(value: Any, data_type: str | None = None) -> Any:
    """A value in the one form that is equal, and looks equal, for all that say the same.

    Args:
        value: As a database's driver gives it.
        data_type: dlt's type of its column.
    """
    if data_type == "json" and isinstance(value, str):
        value = json.loads(value, parse_float=Decimal)
    match value:
        case int() | float() | Decimal() if not isinstance(value, bool):
            # The digits of a double are those that JSON has for it.
            exact = Decimal(repr(value) if isinstance(value, float) else value)
            value = exact.normalize(_EXACT) if exact else Decimal(0)
        case datetime():
            value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        case dict():
            fields = cast("Row", value)
            value = {key: canonical(fields[key]) for key in sorted(fields)}
        case list():
            value = [canonical(item) for item in cast("list[Any]", value)]
        case bytearray() | memoryview():
            value = bytes(cast("Any", value))
        case _:
            pass
    return value


@dataclass(frozen=True)
class _Table:
    name: str
    parent: str | None
    field: str
    """Where a row of the parent has these rows."""
    columns: Sequence[tuple[str, str, str | None]]
    """Of each column: its name, the field that it is for, and dlt's type."""
    is_there: bool


class StoredRows:
    """A resource's rows in a destination, of which nested tables hold parts.

    Args:
        client: Is connected.
        schema: As the destination stores it.
        root: The resource's table.
    """

    def __init__(self, client: SqlJobClientWithStagingDataset, schema: Schema, root: str) -> None:
        self.schema = schema
        self.root = root
        self._client = client
        self._sql = cast("Any", client.sql_client)
        chain: dict[str, Any] = {str(one.get("name")): one for one in get_nested_tables(schema.tables, root)}
        there = {name for name, columns in client.get_storage_tables(chain) if columns}
        self._tables = [self._table(name, table, is_there=name in there) for name, table in chain.items()]
        self._condition = ""

    def limit(self, column: str, window: Window, *, or_null: bool) -> None:
        """Look at the rows of a window only.

        Args:
            column: The instant of each row.
            window: Which instants.
            or_null: Look at rows without an instant, too.

        Raises:
            DestinationError: If there is no such column.
        """
        if column not in self.schema.get_table_columns(self.root):
            raise DestinationError(
                f"`{self.root}` has no column `{column}` to tell its windows by: it was loaded with another"
                " cursor. Load these windows again."
            )
        name = self._quoted(column)
        nulls = f" OR {name} IS NULL" if or_null else ""
        self._condition = f"({within(self._sql, name, window)}{nulls})"

    def fingerprint(
        self, scratch: duckdb.DuckDBPyConnection, side: str, keys: Sequence[str], cursor: str | None
    ) -> None:
        """Write a table with `id`, `key`, `cursor` and `hash` of each row; equal rows have equal hashes.

        Args:
            scratch: Where to write it.
            side: The table's name.
            keys: The fields of the primary key; `key` is null where there are none.
            cursor: The field of the cursor, if any.
        """
        names = {table.name: f"{side}_{number}" for number, table in enumerate(self._tables)}
        for table in reversed(self._tables):  # the innermost first
            name = names[table.name]
            scratch.execute(f"CREATE TABLE {name} (id TEXT, parent TEXT, key TEXT, cursor TEXT, hash TEXT)")
            for batch in self._batches(table):
                _insert(scratch, name, [_line(table, row, keys, cursor) for row in batch])
            for child in sorted(child.name for child in self._tables if child.parent == table.name):
                _fold(scratch, name, names[child])
        scratch.execute(f"ALTER TABLE {names[self.root]} RENAME TO {side}")

    def contents(self, ids: Collection[str]) -> dict[str, Row]:
        """Whole rows by dlt's id of each; a field of nested rows is a `Nested`.

        Args:
            ids: Of few rows.
        """
        if not ids:
            return {}
        found: dict[str, Row] = {}
        nested: defaultdict[str, dict[str, Nested]] = defaultdict(dict)
        for table in reversed(self._tables):
            for batch in self._batches(table, ids):
                for row_id, parent, place, values in batch:
                    row = {**dict(_fields(table, values)), **nested.pop(row_id, {})}
                    if table.parent is None:
                        found[row_id] = row
                    else:
                        nested[parent].setdefault(table.field, Nested()).rows.append((place, row))
        return found

    def _table(self, name: str, table: Any, *, is_there: bool) -> _Table:
        parent = cast("str | None", table.get("parent"))
        columns = [
            (column, column.rsplit("__v_", 1)[0] if hints.get("variant") else column, hints.get("data_type"))
            for column, hints in self.schema.get_table_columns(name).items()
            if column not in _OWN
        ]
        return _Table(name, parent, name.removeprefix(f"{parent}__"), columns, is_there)

    def _batches(self, table: _Table, ids: Collection[str] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Of each row: its id, that of its parent, its place there, and the values of its columns."""
        if not table.is_there:
            return
        own = f"{self._quoted(_ID)}, NULL, NULL"
        which = _ID
        if table.parent:
            own = ", ".join(map(self._quoted, (_ID, _PARENT, _PLACE)))
            which = _ROOT
        columns = "".join(f", {self._quoted(column)}" for column, _, _ in table.columns)
        conditions: list[str] = []
        if ids:
            literal = self._sql.capabilities.escape_literal
            conditions.append(f"{self._quoted(which)} IN ({', '.join(map(literal, ids))})")
        elif self._condition and table.parent:
            root = self._sql.make_qualified_table_name(self.root)
            rows = f"SELECT {self._quoted(_ID)} FROM {root} WHERE {self._condition}"
            conditions.append(f"{self._quoted(_ROOT)} IN ({rows})")
        elif self._condition:
            conditions.append(self._condition)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        place = self._sql.make_qualified_table_name(table.name)
        for batch in self._fetched(f"SELECT {own}{columns} FROM {place}{where}"):
            yield [(row[0], row[1], row[2], row[3:]) for row in batch]

    def _fetched(self, query: str) -> Iterator[Sequence[tuple[Any, ...]]]:
        if self._client.config.destination_type.endswith(".postgres"):
            # Its driver would fetch all rows at once without a named cursor.
            with self._sql.native_connection.cursor("verify") as cursor:
                cursor.execute(query)
                while batch := cursor.fetchmany(_BATCH):
                    yield batch
            return
        with self._sql.execute_query(query) as cursor:
            while batch := cursor.fetchmany(_BATCH):
                yield batch

    def _quoted(self, column: str) -> str:
        return self._sql.escape_column_name(column)


@contextmanager
def stored_rows(
    destination: Destination, directory: Path, dataset: str, schema_name: str, table_name: str
) -> Generator[StoredRows | None]:
    """The rows that a destination has of a resource, as they are at one instant; None if it has no table.

    Nothing is written.

    Args:
        destination: Where the rows are.
        directory: For files of dlt's, which nobody else uses.
        dataset: The API's name.
        schema_name: The name of the resource's schema.
        table_name: The resource's table, as the file names it.
    """
    if destination.type == "duckdb" and not destination.duckdb_path().exists():
        yield None
        return
    pipeline = dlt.pipeline(
        schema_name,
        pipelines_dir=tempfile.mkdtemp(dir=directory),
        destination=cast("Any", destination.open(NO_STAGING, read_only=True)),
        dataset_name=dataset,
    )
    with pipeline.destination_client() as client:
        assert isinstance(client, SqlJobClientWithStagingDataset)
        try:
            stored = client.get_stored_schema(schema_name)
        except DatabaseUndefinedRelation:
            stored = None
        schema = Schema.from_stored_schema(json.loads(stored.schema)) if stored else Schema(schema_name)
        caps = client.capabilities
        longest = min(caps.max_identifier_length, caps.max_column_identifier_length)
        root = type(schema.naming)(longest).normalize_tables_path(table_name)
        if root not in schema.data_table_names(seen_data_only=True):
            yield None
            return
        with client.sql_client.begin_transaction():
            if destination.type == "postgres":
                client.sql_client.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield StoredRows(client, schema, root)


def _fields(table: _Table, values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for (_, name, kind), value in zip(table.columns, values, strict=True):
        if value is not None:
            yield name, canonical(value, kind)


def _line(
    table: _Table, row: tuple[Any, ...], keys: Sequence[str], cursor: str | None
) -> tuple[str | None, ...]:
    row_id, parent, place, values = row
    fields = dict(_fields(table, values))
    said = repr((table.name if table.parent else "", place, sorted(fields.items())))
    digest = blake2b(said.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    if table.parent:
        return row_id, parent, None, None, digest
    instant = fields.get(cursor) if cursor else None
    key = repr([fields.get(key) for key in keys]) if keys else None
    return row_id, None, key, None if instant is None else str(instant), digest


def _insert(scratch: duckdb.DuckDBPyConnection, name: str, lines: Sequence[tuple[str | None, ...]]) -> None:
    columns = [list(column) for column in zip(*lines, strict=True)]
    values = ", ".join(["unnest(?::TEXT[])"] * len(columns))
    scratch.execute(f"INSERT INTO {name} SELECT {values}", columns)


def _fold(scratch: duckdb.DuckDBPyConnection, rows: str, children: str) -> None:
    """Put the hashes of nested rows, whose table and place are in them, into those of their parents."""
    scratch.execute(
        f"""
        CREATE TABLE folded AS
        SELECT id, rows.parent, key, cursor,
            CASE WHEN said IS NULL THEN hash ELSE md5(concat(hash, said)) END AS hash
        FROM {rows} AS rows LEFT JOIN (
            -- Sums, since the memory for them does not grow with the number of rows.
            SELECT parent, concat_ws(' ', sum(md5_number_lower(hash)), sum(md5_number_upper(hash)))
                AS said
            FROM {children} GROUP BY parent
        ) AS nested ON nested.parent = rows.id;
        DROP TABLE {rows};
        DROP TABLE {children};
        ALTER TABLE folded RENAME TO {rows};
        """
    )
