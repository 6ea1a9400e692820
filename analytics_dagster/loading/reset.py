"""Drops what the destination has of one resource: its tables, dlt's state and schema, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.source import schema_name
from analytics_dagster.loading.stored import (
    Stored,
    count_rows,
    opened,
    read_stored,
    reading,
    stored_schemas,
    table_of,
)
from analytics_dagster.spec import Api, ApiFile
from analytics_dagster.spec.combinations import table_key


@dataclass(frozen=True)
class Reset:
    """What a reset drops.

    `tables` have their rows; `shared` are tables that stay, each with the other resource that has it too;
    `records` counts the rows of dlt's own tables.
    """

    stored: Stored
    tables: dict[str, int]
    shared: dict[str, str]
    records: int


def plan_reset(file: ApiFile, resource: str, destination: Destination | None = None) -> Reset | None:
    """What a reset of a resource would drop; None if nothing is stored.

    Args:
        file: The API file.
        resource: The resource's name; the file need not have it any more.
        destination: Where the rows are; by default what `ANALYTICS_DESTINATION` says.
    """
    destination = destination or Destination.from_environment()
    if destination.is_missing():
        return None
    with opened(file, destination, resource) as pipeline, reading(pipeline) as client:
        return _plan(client, file.api, resource)


def reset(
    file: ApiFile,
    resource: str,
    destination: Destination | None = None,
    *,
    and_also: Callable[[], None] = lambda: None,
) -> Reset | None:
    """Drop what is stored of a resource, in its turn, so that its next load starts from nothing.

    That is one transaction where the destination has such. Elsewhere the names of the tables go last, so
    that a second reset finds what a first one that was killed left.

    Args:
        file: The API file.
        resource: The resource's name; the file need not have it any more.
        destination: Where the rows are; by default what `ANALYTICS_DESTINATION` says.
        and_also: Called when all is dropped, and not committed yet: if it fails, everything stays.

    Returns:
        What was dropped.
    """
    destination = destination or Destination.from_environment()
    if destination.is_missing():
        and_also()
        return None
    with opened(file, destination, resource) as pipeline:
        schema = Schema(pipeline.pipeline_name)
        tables = {one.name: table_of(schema, one) for one in file.api.resources}
        table = tables.get(resource, table_key(resource))
        sql = pipeline.sql_client()
        with destination.turn(sql, f"{sql.dataset_name}.{table}"), reading(pipeline) as client:
            plan = _plan(client, file.api, resource)
            with client.maybe_ddl_transaction():
                if plan:
                    _drop(client, plan)
                and_also()
            return plan


def _plan(client: SqlJobClientBase, api: Api, resource: str) -> Reset | None:
    schema = schema_name(api, resource)
    stored = read_stored(client, api, schema)
    if stored is None:
        return None
    others = {
        table: other.name
        for name in stored_schemas(client, api)
        if name != schema and (other := read_stored(client, api, name))
        for table in other.tables
    }
    if all(schema_name(api, one) != schema for one in api.resources):
        others |= _taken_along(client, api, stored)
    counts = {table: count_rows(client, table) for table in stored.tables if table not in others}
    records = (
        client.sql_client.execute_sql(f"SELECT COUNT(*) FROM {place} = %s", schema)  # noqa: S608 - names
        for place in _places(client)
    )
    return Reset(
        stored,
        {table: count for table, count in counts.items() if count is not None},
        {table: others[table] for table in stored.tables if table in others},
        sum(int(rows[0][0]) for rows in records if rows),
    )


def _taken_along(client: SqlJobClientBase, api: Api, stored: Stored) -> dict[str, str]:
    """The tables of a gone resource that another one has by its `table_name`, with that one's name."""
    return {
        table: one.name
        for one in api.resources
        for table in stored.tables
        if f"{table}__".startswith(f"{table_of(client.schema, one)}__")
    }


def _drop(client: SqlJobClientBase, plan: Reset) -> None:
    """A cursor without its rows would leave them out for good, so the state goes first."""
    state, loads, version = (f"DELETE FROM {place} = %s" for place in _places(client))  # noqa: S608 - names
    client.sql_client.execute_sql(state, plan.stored.schema)
    client.sql_client.drop_tables(*plan.tables)
    client.sql_client.execute_sql(loads, plan.stored.schema)
    client.sql_client.execute_sql(version, plan.stored.schema)


def _places(client: SqlJobClientBase) -> Iterator[str]:
    """dlt's tables of state, loads and schemas, each with the column that names the schema or pipeline."""
    schema, sql = client.schema, cast("SqlClientBase[Any]", client.sql_client)
    for table, column in (
        (schema.state_table_name, "pipeline_name"),
        (schema.loads_table_name, "schema_name"),
        (schema.version_table_name, "schema_name"),
    ):
        name = sql.escape_column_name(schema.naming.normalize_path(column))
        yield f"{sql.make_qualified_table_name(table)} WHERE {name}"
