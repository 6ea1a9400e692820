"""What the destination holds, and what runs did, as tables."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dlt
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase
from rich.table import Table

from analytics_dagster.commands.terminal import table
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.source import schema_name
from analytics_dagster.loading.staging import NO_STAGING
from analytics_dagster.spec import ApiFile, Resource

if TYPE_CHECKING:
    from analytics_dagster.commands.runs import Outcome


def outcome_table(outcomes: Sequence[Outcome], counts: Mapping[tuple[str, str], int]) -> Table:
    """What runs did: a line for each resource.

    Args:
        outcomes: What became of the resources.
        counts: The rows that their tables have now, by API and resource.
    """
    numbers = ("windows", "rows loaded", "rows in table", "requests", "retries", "seconds")
    made = table("asset", *numbers, numbers=numbers)
    for one in outcomes:
        names = one.file.api.name, one.resource.name
        count = counts.get(names)
        made.add_row(
            "/".join(names),
            f"{one.windows:,}" if one.resource.partitions else "–",
            f"{one.rows:,}",
            "–" if count is None else f"{count:,}",
            f"{one.requests:,}",
            f"{one.retries:,}",
            "failed" if one.seconds is None else f"{one.seconds:.1f}",
        )
    return made


def count_rows(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], int]:
    """The rows that the tables of loaded resources have now, by API and resource."""
    return {
        (one.file.api.name, one.resource.name): _count(one.file, one.resource)
        for one in outcomes
        if one.problem is None
    }


def _count(file: ApiFile, resource: Resource) -> int:
    with reading(Destination.from_environment(), file, resource) as (client, name):
        try:
            rows = client.execute_sql(f"SELECT COUNT(*) FROM {name}")  # noqa: S608 - a quoted name
        except DatabaseUndefinedRelation:  # dlt makes a table with its first rows
            return 0
    return rows[0][0] if rows else 0


@contextmanager
def reading(
    destination: Destination, file: ApiFile, resource: Resource
) -> Generator[tuple[SqlClientBase[Any], str]]:
    """A client for the destination, and the qualified name of a resource's table.

    Args:
        destination: Where the rows are.
        file: The API.
        resource: One of its resources.
    """
    with tempfile.TemporaryDirectory(prefix="analytics_dagster-") as directory:
        pipeline = dlt.pipeline(
            schema_name(file.api, resource),
            pipelines_dir=directory,
            destination=cast("Any", destination.open(NO_STAGING)),
            dataset_name=file.api.name,
        )
        with pipeline.sql_client() as client:
            naming = Schema(schema_name(file.api, resource)).naming
            named = naming.normalize_tables_path(resource.table_name or resource.name)
            yield client, client.make_qualified_table_name(named)


def cell(value: Any, width: int) -> str:
    """A value as a cell shows it, on one line and cut to a width; times in UTC."""
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def from_here(path: Path) -> str:
    """A path as a person in the working directory would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
