"""Whether the rows that a load read are in the destination, by one query that counts."""

# ruff: noqa: S608 - all names are quoted, and all conditions are made here

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.common.schema.utils import has_table_seen_data
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.cursor import cursor_column
from analytics_dagster.loading.disposition import merges, starts_over, within
from analytics_dagster.loading.load import PreparedLoad
from analytics_dagster.spec import Resource, Window


@dataclass(frozen=True)
class Arrival:
    """What came of the rows of one load; None is what does not apply.

    Rows are staged and then merged or put in place of others, except those that are only appended: `stored`
    are those that were staged or appended. `expected` are the rows that the table should have for them, one
    for each primary key, and `there` those that it has; a newer version of a row will do. `left` are rows
    that this load should have replaced, and `newer` those of other windows that kept an older version out of
    this one. A schema contract may discard rows on their way.
    """

    read: int
    stored: int
    may_discard: bool
    expected: int | None = None
    there: int | None = None
    left: int | None = None
    newer: int | None = None

    @property
    def doubt(self) -> str | None:
        """What is right if the API's rows only ever get a later cursor; None if all is right in any case."""
        if not self.newer:
            return None
        return (
            f"{self.newer:,} rows that came have a version with a later cursor in the destination, in another"
            " window, and stayed out. If the API moved them back, load both windows in one run: the one that"
            " they left lets them go when it is loaded"
        )

    @property
    def problem(self) -> str | None:
        """What is wrong; None if nothing is."""
        problems: list[str] = []
        if self.stored > self.read or (self.stored < self.read and not self.may_discard):
            problems.append(f"{self.read:,} rows were read, and {self.stored:,} arrived")
        if self.expected != self.there:
            problems.append(
                f"the table should have {self.expected:,} rows for those that arrived, and has {self.there:,}"
            )
        if self.left:
            problems.append(f"{self.left:,} rows are there that this load should have replaced")
        return "; ".join(problems) or None


def count_arrived(prepared: PreparedLoad, windows: Sequence[Window], *, full_refresh: bool) -> Arrival:
    """Count what a load left in the destination; to be asked before what it staged is dropped.

    Args:
        prepared: The load, after it was run.
        windows: The windows that it read.
        full_refresh: Whether it was to replace all rows.
    """
    resource, read = prepared.resource, prepared.meter.rows
    discards = _may_discard(resource)
    window = Window(windows[0].start, windows[-1].end) if windows else None
    fresh = starts_over(resource, window, full_refresh=full_refresh)
    staged = fresh or merges(resource, window, full_refresh=full_refresh)
    schema = prepared.pipeline.default_schema
    name = schema.naming.normalize_tables_path(resource.table_name or resource.name)
    # dagster-dlt has taken names and types of columns out of this schema (dagster#34052), so only the table's
    # own words are left.
    if not (name in schema.tables and has_table_seen_data(schema.tables[name])):
        return Arrival(read, 0, discards)
    with prepared.pipeline.sql_client() as client:

        def quoted(field: str) -> str:
            return client.escape_column_name(schema.naming.normalize_path(field))

        table = client.make_qualified_table_name(name)
        with client.with_staging_dataset():
            staging = client.make_qualified_table_name(name)
        given = resource.primary_key or []
        key_columns = list(map(quoted, [given] if isinstance(given, str) else given))
        keys = ", ".join(key_columns)
        cursor = cursor_column(resource)
        at = quoted(cursor) if cursor else None
        replaced = window if at and resource.rerun_mode == "replace_window" else None
        scope = "1 = 1" if fresh else None
        if replaced and at:
            scope = within(client, at, replaced)
        counts: dict[str, str] = {}
        if not staged:
            counts["stored"] = f"{table} WHERE {quoted(C_DLT_LOAD_ID)} IN ({_load_ids(prepared, client)})"
        elif not read:
            counts |= {"left": f"{table} WHERE {scope}"} if scope else {}
        else:
            counts["stored"] = staging
            if keys:
                came = f"SELECT {keys} FROM {staging}"
                counts["expected"] = f"(SELECT DISTINCT {keys} FROM {staging}) AS came"
                counts["there"] = f"{table} WHERE ({keys}) IN ({came})"
                if scope:
                    counts["left"] = f"{table} WHERE {scope} AND ({keys}) NOT IN ({came})"
                if replaced:
                    same = " AND ".join(f"present.{key} = came.{key}" for key in key_columns)
                    elsewhere = f"NOT ({within(client, f'present.{at}', replaced)})"
                    counts["newer"] = (
                        f"{staging} AS came JOIN {table} AS present ON {same}"
                        f" WHERE present.{at} > came.{at} AND {elsewhere}"
                    )
            elif scope:
                counts["expected"] = staging
                counts["there"] = f"{table} WHERE {scope}"
        found: dict[str, int] = {}
        if counts:
            query = ", ".join(f"(SELECT count(*) FROM {rows})" for rows in counts.values())
            rows = client.execute_sql(f"SELECT {query}")
            assert rows is not None
            found = dict(zip(counts, rows[0], strict=True))
    return Arrival(read, may_discard=discards, **{"stored": 0, **found})


def _load_ids(prepared: PreparedLoad, client: SqlClientBase[Any]) -> str:
    """The ids of what the load loaded, for SQL; a text that is none where it had nothing to load."""
    trace = prepared.pipeline.last_trace
    info = trace.last_load_info if trace and prepared.meter.rows else None
    literal = client.capabilities.escape_literal
    assert literal is not None
    return ", ".join(map(literal, info.loads_ids if info else [""]))


def _may_discard(resource: Resource) -> bool:
    contract = resource.schema_contract
    modes = contract.values() if isinstance(contract, dict) else [contract]
    return "discard_row" in modes
