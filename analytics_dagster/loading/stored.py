"""What the destination has of an API's resources, read from dlt's own tables; nothing is changed here."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import dlt
from dlt.common.destination.client import StorageSchemaInfo
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.pipeline import Pipeline
from dlt.pipeline.state_sync import load_pipeline_state_from_destination

from analytics_dagster.loading.changes import DEFINITION, spelled
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.source import schema_name, schema_prefix
from analytics_dagster.loading.staging import NO_STAGING
from analytics_dagster.loading.workspace import private_directory
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Api, ApiFile, Resource

_log = logging.getLogger(__name__)
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Stored:
    """What the destination has of one resource.

    `schema` is dlt's name of its schema and pipeline; `tables` are those that had rows, nested ones after the
    tables that they belong to; `state` is what dlt keeps of the resource, its cursor included.
    """

    name: str
    schema: str
    tables: list[str]
    state: dict[str, Any]

    @property
    def cursors(self) -> dict[str, Any]:
        """The last value of each cursor that was ever stored, by its column."""
        found: dict[str, Any] = self.state.get("incremental", {})
        return {column: one["last_value"] for column, one in found.items()}

    @property
    def definition(self) -> dict[str, Any] | None:
        """What the file said when the rows were loaded."""
        return self.state.get(DEFINITION)


@contextmanager
def opened(file: ApiFile, destination: Destination, resource: str | None = None) -> Generator[Pipeline]:
    """The dlt pipeline of a resource, without its source; it needs none of the API's secrets.

    Args:
        file: The API file.
        destination: Where the rows are.
        resource: The resource's name; None to look at all of them.

    Raises:
        LoadError: If the destination cannot be read.
    """
    where = f"{file.path}: resource `{resource}`" if resource else str(file.path)
    schema = schema_name(file.api, resource or "state")
    with explained(Redactor(), where), private_directory() as directory:
        yield dlt.pipeline(
            pipeline_name=schema,
            pipelines_dir=str(directory),
            destination=cast("Any", destination.open(NO_STAGING)),
            dataset_name=Schema(schema).naming.normalize_table_identifier(file.api.name),
        )


@contextmanager
def reading(pipeline: Pipeline) -> Generator[SqlJobClientBase]:
    """A connected client for the pipeline's dataset, which reads dlt's tables too."""
    with pipeline.destination_client() as client:
        yield cast("SqlJobClientBase", client)


def stored_schemas(client: SqlJobClientBase, api: Api) -> list[str]:
    """The names of all schemas of an API that the destination has.

    Args:
        client: Is connected.
        api: The API.
    """
    table = client.sql_client.make_qualified_table_name(client.schema.version_table_name)
    column = client.sql_client.escape_column_name(client.schema.naming.normalize_path("schema_name"))
    try:
        rows = client.sql_client.execute_sql(f"SELECT DISTINCT {column} FROM {table}")  # noqa: S608 - names
    except DestinationUndefinedEntity:
        return []
    return sorted(str(name) for (name,) in rows or () if str(name).startswith(schema_prefix(api)))


def read_stored(client: SqlJobClientBase, api: Api, schema: str) -> Stored | None:
    """What the destination has of a resource; None if nothing.

    Args:
        client: Is connected.
        api: The API.
        schema: dlt's name of the resource's schema.
    """
    found = cast("StorageSchemaInfo | None", client.get_stored_schema(schema))  # which the stubs deny
    if found is None:
        return None
    tables = Schema.from_stored_schema(json.loads(found.schema)).data_tables(seen_data_only=True)
    try:
        state = load_pipeline_state_from_destination(schema, client)
    except DestinationUndefinedEntity:
        state = None
    resources: dict[str, Any] = (
        cast("Any", state or {}).get("sources", {}).get(schema, {}).get("resources", {})
    )
    # The schema's name is not written as the resource's; before the first state, it is all there is.
    name = spelled(resources, schema.removeprefix(schema_prefix(api)))
    return Stored(
        name or schema.removeprefix(schema_prefix(api)),
        schema,
        [str(table.get("name")) for table in tables],
        resources[name] if name else {},
    )


def gone(client: SqlJobClientBase, api: Api) -> list[Stored]:
    """What is stored of resources that the file does not have, or no longer.

    Args:
        client: Is connected.
        api: The API.
    """
    present = {schema_name(api, resource.name) for resource in api.resources}
    left = [name for name in stored_schemas(client, api) if name not in present]
    return [stored for name in left if (stored := read_stored(client, api, name))]


def gone_text(file: ApiFile, stored: Stored) -> str:
    """What a person should know of a resource that is gone, and what to do about it."""
    tables = ", ".join(f"`{table}`" for table in stored.tables)
    cursors = ", ".join(f"{column} = {cursor_text(value)}" for column, value in stored.cursors.items())
    has = [f"table {tables}" if tables else "no table", f"stored cursor {cursors}" if cursors else ""]
    return (
        f"{file.path}: there is no resource `{stored.name}` any more, but the destination still has what was"
        f" loaded of it: {', '.join(filter(None, has))}. Nothing was dropped. To drop it, run"
        f" `analytics-dagster reset {file.api.name} {stored.name}`; if the resource was renamed, the old name"
        " makes it go on; with `selected: false` it stays in the file, and its rows stay as they are."
    )


def warn_of_gone(file: ApiFile, client: SqlJobClientBase) -> None:
    """Log a warning for each resource that is stored and gone from the file, once in a process."""
    for stored in gone(client, file.api):
        known = (str(file.path.absolute()), stored.schema)
        if known not in _told:
            _told.add(known)
            _log.warning(gone_text(file, stored))


def grown_from_stored(client: SqlJobClientBase, schema: Schema) -> Schema:
    """A schema with the tables and columns that the destination already has.

    dlt sees to that itself where a state is stored. The first load of a resource that dies between making its
    tables and storing its state leaves columns that the next load would else take for new ones, and give
    other types than they have.

    Args:
        client: Is connected.
        schema: What a load begins with.
    """
    try:
        found = cast("StorageSchemaInfo | None", client.get_stored_schema(schema.name))
    except DestinationUndefinedEntity:
        return schema
    if found is None:
        return schema
    stored = Schema.from_stored_schema(json.loads(found.schema))
    stored.update_schema(schema)
    return stored


def table_of(schema: Schema, resource: Resource) -> str:
    """The name of a resource's table in the dataset.

    Args:
        schema: Any of dlt's schemas of the API; it has the naming.
        resource: The resource.
    """
    return schema.naming.normalize_tables_path(resource.table_name or resource.name)


def count_rows(client: SqlJobClientBase, table: str) -> int | None:
    """The rows of a table; None if it is not there.

    Args:
        client: Is connected.
        table: Its name in the dataset.
    """
    name = client.sql_client.make_qualified_table_name(table)
    try:
        rows = client.sql_client.execute_sql(f"SELECT COUNT(*) FROM {name}")  # noqa: S608 - a quoted name
    except DestinationUndefinedEntity:
        return None
    return int(rows[0][0]) if rows else 0


def last_commit(client: SqlJobClientBase, schema: str) -> datetime | None:
    """When something was last committed for a resource, be it rows or its state.

    Args:
        client: Is connected.
        schema: dlt's name of the resource's schema.
    """
    escape, naming = client.sql_client.escape_column_name, client.schema.naming
    at, name, status = (
        escape(naming.normalize_path(one)) for one in ("inserted_at", "schema_name", "status")
    )
    table = client.sql_client.make_qualified_table_name(client.schema.loads_table_name)
    try:
        rows = client.sql_client.execute_sql(
            f"SELECT MAX({at}) FROM {table} WHERE {name} = %s AND {status} = 0",  # noqa: S608 - names
            schema,
        )
    except DestinationUndefinedEntity:
        return None
    found: datetime | None = rows[0][0] if rows else None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def cursor_text(value: Any) -> str:
    """A stored cursor as a person would write it."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
