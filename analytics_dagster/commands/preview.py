"""`preview`: rows and types as they would be loaded, by way of a DuckDB file that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from analytics_dagster.certifying.pages import only_first
from analytics_dagster.commands.choice import (
    all_windows,
    find_api,
    find_resource,
    range_text,
    window_of_key,
    windows_from_to,
)
from analytics_dagster.commands.progress import waits_shown
from analytics_dagster.commands.report import cell
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output, table
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import PreparedLoad, prepare_load
from analytics_dagster.sample import is_sample, sandbox_variables
from analytics_dagster.spec import Resource, Window

_VALUE_WIDTH = 26  # characters
_NAMES_WIDTH = 44  # of a column's name and type, more or less


def preview(
    name: str, resource_name: str, rows: int, partition: str | None, start: str | None, end: str | None
) -> None:
    """Show the first rows of a resource and the types that they would be loaded with.

    Args:
        name: The API.
        resource_name: The resource.
        rows: How many rows.
        partition: The partition to read, by its key.
        start: Or the first edge of windows to read.
        end: And the edge where they end.

    Raises:
        CommandError: If that cannot be done.
        LoadError: If the resource cannot be read.
    """
    file = find_api(name)
    resource = find_resource(file, resource_name)
    console = standard_output()
    with ExitStack() as stack:
        values = stack.enter_context(sandbox_variables()) if is_sample(file) else None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="analytics_dagster-")))
        for number, windows in enumerate(_windows_to_try(resource, partition, start, end)):
            # Made anew for each try, so that nothing is left of an empty one.
            destination = Destination("duckdb", str(directory / f"preview{number}.duckdb"))
            with (
                waits_shown(standard_error(), f"{resource.name}: reading") as on_change,
                prepare_load(
                    file,
                    resource.name,
                    windows,
                    destination,
                    values=values,
                    batch_rows=rows,
                    sample=True,
                    on_change=on_change,
                ) as prepared,
            ):
                for one, read in prepared.source.resources.items():
                    if not read.is_transformer:
                        read.add_limit(rows, count_rows=True)
                    if one != resource.name:
                        read.add_filter(only_first(rows))
                prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
                if prepared.meter.rows or partition or start or end:
                    break
        else:
            raise CommandError(f"`{resource.name}` has no rows{_windows_text(resource)}")
        # The tables are read while the file still exists.
        title = f" of {range_text(resource.partitions, windows)}" if resource.partitions else ""
        console.print(escape(f"{name}/{resource.name}{title}: nothing was written"))
        _show(console, destination, prepared, rows)


def _windows_text(resource: Resource) -> str:
    return " in its last and first windows; name others with --from and --to" if resource.partitions else ""


def _windows_to_try(
    resource: Resource, partition: str | None, start: str | None, end: str | None
) -> list[list[Window]]:
    """What to read, one after another until there are rows: the last window that is over, then the first."""
    partitions, now = resource.partitions, datetime.now(UTC)
    ranged = start is not None or end is not None
    if partitions is None:
        if partition is not None or ranged:
            raise CommandError(f"`{resource.name}` has no partitions; leave out --partition, --from and --to")
        return [[]]
    if partition is not None:
        if ranged:
            raise CommandError("give either --partition, or --from and --to")
        return [[window_of_key(partitions, partition, now)]]
    if ranged:
        return [windows_from_to(partitions, start, end, now)]
    over = all_windows(partitions, now)
    return [[window] for window in dict.fromkeys((over[-1], over[0]))] if over else []


def _show(console: Console, destination: Destination, prepared: PreparedLoad, rows: int) -> None:
    import duckdb  # noqa: PLC0415 - the pipeline's own directory is gone by now

    schema = prepared.pipeline.default_schema
    with duckdb.connect(str(destination.duckdb_path()), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for shown in schema.data_table_names():
            place = f'"{prepared.pipeline.dataset_name}"."{shown}"'
            found = connection.execute(f"SELECT * FROM {place} LIMIT {rows}").fetchall()  # noqa: S608
            names = [column[0] for column in connection.description or ()]
            columns = schema.get_table_columns(shown)
            types = [_type(columns.get(column, {})) for column in names]
            console.print(f"\n[bold]{shown}[/]")
            _print_turned(console, names, types, found)


def _type(column: Any) -> str:
    return f"{column.get('data_type', '')}{' key' * bool(column.get('primary_key'))}"


def _print_turned(
    console: Console, names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Print rows as columns, as many side by side as there is room for."""
    beside = max(1, (console.width - _NAMES_WIDTH) // (_VALUE_WIDTH + 2))
    for first in range(0, max(len(rows), 1), beside):
        some = rows[first : first + beside]
        made = table("column", "type", *(f"row {first + place + 1}" for place in range(len(some))))
        for place, (name, kind) in enumerate(zip(names, types, strict=True)):
            made.add_row(*map(escape, [name, kind, *(cell(row[place], _VALUE_WIDTH) for row in some)]))
        console.print(made)
