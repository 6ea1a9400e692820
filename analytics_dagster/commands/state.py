"""`state`: what is stored of an API's resources, and whether the file still fits it; moves a cursor."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape

from analytics_dagster.commands.choice import find_api, find_resource
from analytics_dagster.commands.terminal import CommandError, standard_output, table
from analytics_dagster.loading.changes import definition, harmful_changes
from analytics_dagster.loading.cursor import cursor_column
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.parent_cursors import BEGIN, newest
from analytics_dagster.loading.source import schema_name
from analytics_dagster.loading.state import accept, cursor_zone, set_cursor
from analytics_dagster.loading.stored import (
    Stored,
    count_rows,
    cursor_text,
    gone,
    gone_text,
    last_commit,
    opened,
    read_stored,
    reading,
    table_of,
)
from analytics_dagster.spec import ApiFile, Resource


def show_state(name: str, resource: str | None, moved_to: str | None, *, accepted: bool) -> None:
    """Show what is stored of an API, or of one resource; before that, change it if asked to.

    Args:
        name: The API.
        resource: One of its resources; needed for a change.
        moved_to: Where the stored cursor goes.
        accepted: Take the stored rows as loaded by what the file says now.

    Raises:
        CommandError: If that cannot be done.
        LoadError: If the destination cannot be read or written.
    """
    file = find_api(name)
    chosen = [find_resource(file, resource)] if resource else file.api.resources
    console = standard_output()
    if resource is None and (accepted or moved_to is not None):
        raise CommandError("--set and --accept are for one resource; name it with --resource")
    if accepted:
        _accept(file, chosen[0], console)
    if moved_to is not None:
        _move(file, chosen[0], moved_to, console)
    destination = Destination.from_environment()
    if destination.is_missing():
        console.print(f"Nothing was loaded yet: there is no {destination.duckdb_path()}.", markup=False)
        return
    _show(file, chosen, destination, console, all_of_them=resource is None)


def _move(file: ApiFile, resource: Resource, text: str, console: Console) -> None:
    old, new = set_cursor(file, resource, text)
    shown = [_local(resource, value) for value in (old, new)]
    console.print(f"{file.api.name}/{resource.name}: cursor {shown[0]} -> {shown[1]}", markup=False)
    if resource.write_disposition == "append":
        console.print(
            "Its rows are appended: those behind the new cursor that are in the table already come again and"
            " are added a second time."
        )


def _accept(file: ApiFile, resource: Resource, console: Console) -> None:
    for change in accept(file, resource):
        console.print(f"{file.api.name}/{resource.name}: accepted: {change}", markup=False)
    console.print(f"{file.api.name}/{resource.name}: its rows count as loaded by what the file says now.")


def _show(
    file: ApiFile, resources: list[Resource], destination: Destination, console: Console, *, all_of_them: bool
) -> None:
    made = table("resource", "table", "rows", "cursor", "as stored", "last commit", numbers=("rows",))
    notes: list[str] = []
    with opened(file, destination) as pipeline, reading(pipeline) as client:
        for resource in resources:
            stored = read_stored(client, file.api, schema_name(file.api, resource))
            if stored is None:
                made.add_row(resource.name, "–", "–", "–", "–", "never")
                continue
            named = table_of(client.schema, resource)
            count = count_rows(client, named)
            cursor = stored.cursors.get(cursor_column(resource) or "")
            ends = newest(client, file.api, resource) if resource.has_cursor_per_parent else {}
            if ends:
                cursor = max(ends.values())
                notes.append(
                    f"{file.api.name}/{resource.name}: loads go on where the rows of each parent end: of"
                    f" {len(ends):,} parents, from {_local(resource, min(ends.values()))} on"
                )
            if (begin := stored.state.get(BEGIN)) is not None:
                at = _local(resource, begin)
                notes.append(f"{file.api.name}/{resource.name}: the next load begins at {at} for all parents")
            committed = last_commit(client, stored.schema)
            made.add_row(
                resource.name,
                named if count is not None else "–",
                "–" if count is None else f"{count:,}",
                "–" if cursor is None else _local(resource, cursor),
                "–" if cursor is None else cursor_text(cursor),
                "–" if committed is None else _local(resource, committed.replace(microsecond=0)),
            )
            notes += _pending(file, resource, stored)
            notes += [
                f"{file.api.name}/{resource.name}: table `{one}` is left from before; nothing loads into it"
                for one in stored.tables
                if one != named and not one.startswith(f"{named}__")
            ]
        left = gone(client, file.api) if all_of_them else []
    console.print(made)
    for note in [*notes, *(gone_text(file, one) for one in left)]:
        console.print(escape(note), soft_wrap=True)


def _pending(file: ApiFile, resource: Resource, stored: Stored) -> list[str]:
    """The changes that the next load would refuse."""
    if stored.definition is None or not stored.tables or resource.write_disposition == "replace":
        return []
    changes = harmful_changes(stored.definition, definition(resource))
    return [f"{file.api.name}/{resource.name}: the next load will refuse: {change}" for change in changes]


def _local(resource: Resource, value: Any) -> str:
    """A cursor or time in the time zone that the file speaks of."""
    if isinstance(value, datetime):
        value = value.astimezone(ZoneInfo(cursor_zone(resource)))
    return cursor_text(value)
