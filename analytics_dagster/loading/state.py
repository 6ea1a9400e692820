"""Changes of the state that dlt stores: a cursor is moved, a changed file is accepted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any, cast

from dlt.common.schema import Schema

from analytics_dagster.loading.changes import DEFINITION, Change, definition, harmful_changes, spelled
from analytics_dagster.loading.cursor import cursor_column, is_number_cursor
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.parent_cursors import BEGIN, FOUND_BY
from analytics_dagster.loading.stored import opened, table_of
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile, Resource, in_timezone
from analytics_dagster.spec.units import parse_time


class StateError(LoadError):
    """What was asked of the stored state cannot be done."""

    permanent = True


def cursor_zone(resource: Resource) -> str:
    """The time zone in which the file speaks of a resource's cursor."""
    cursor = resource.endpoint.incremental
    return resource.partitions.timezone if resource.partitions else cursor.timezone if cursor else "UTC"


def set_cursor(
    file: ApiFile, resource: Resource, text: str, destination: Destination | None = None
) -> tuple[Any, Any]:
    """Move the stored cursor of a resource; its next load begins there.

    Args:
        file: The API file.
        resource: One of its resources.
        text: An ISO 8601 date or time, in the cursor's time zone where it has no offset; or a number where
            the cursor is one.
        destination: Where the rows are; by default what `ANALYTICS_DESTINATION` says.

    Returns:
        The old cursor and the new one.

    Raises:
        StateError: If the resource stores no cursor, or the text is none.
    """
    column = cursor_column(resource)
    with _changing(file, resource, destination) as state:
        if resource.has_cursor_per_parent and FOUND_BY in state:
            state[BEGIN] = new = _parse_cursor(resource, text)
            return "the newest row of each parent", new
        incremental: dict[str, Any] = state.get("incremental", {}).get(column, {})
        if reason := _no_cursor(resource, incremental):
            raise StateError(f"it has no stored cursor: {reason}.")
        old, new = incremental["last_value"], _parse_cursor(resource, text)
        # Rows at the old cursor are marked as loaded; of the new one nothing is known.
        incremental |= {"last_value": new, "unique_hashes": []}
    return old, new


def accept(file: ApiFile, resource: Resource, destination: Destination | None = None) -> list[Change]:
    """Take the stored rows of a resource as if they had been loaded by what the file says now.

    Args:
        file: The API file.
        resource: One of its resources.
        destination: Where the rows are; by default what `ANALYTICS_DESTINATION` says.

    Returns:
        The changes that were accepted.

    Raises:
        StateError: If nothing is stored.
    """
    new = definition(resource)
    with _changing(file, resource, destination) as state:
        old: dict[str, Any] = state.get(DEFINITION, {})
        state[DEFINITION] = new
    return harmful_changes(old, new)


@contextmanager
def _changing(
    file: ApiFile, resource: Resource, destination: Destination | None
) -> Generator[dict[str, Any]]:
    """dlt's state of a resource, in its turn; dlt commits what is changed in it."""
    destination = destination or Destination.from_environment()
    with opened(file, destination, resource.name) as pipeline:
        if destination.is_missing():
            raise StateError("nothing was loaded yet.")
        table = table_of(Schema(pipeline.pipeline_name), resource)
        client = pipeline.sql_client()
        with destination.turn(client, f"{client.dataset_name}.{table}"):
            pipeline.sync_destination()
            with pipeline.managed_state(extract_state=True) as state:
                sources = cast("Any", state).get("sources", {})
                resources = sources.get(pipeline.pipeline_name, {}).get("resources", {})
                name = spelled(resources, resource.name)
                if name is None:
                    raise StateError("nothing was loaded yet.")
                yield resources[name]
            pipeline.normalize()
            pipeline.load(raise_on_failed_jobs=True)


def _no_cursor(resource: Resource, stored: dict[str, Any]) -> str | None:
    """Why a resource has no stored cursor, if so."""
    cursor = resource.endpoint.incremental
    if resource.partitions:
        return (
            "each run reads the windows of its partitions; load windows again with `load … --from … --to …`"
        )
    if cursor is None:
        return "without endpoint.incremental each load reads everything"
    if resource.write_disposition == "replace":
        return "with write_disposition: replace each load reads everything"
    if cursor.end_value is not None:
        return "with end_value each load reads the same rows"
    return None if stored else "none was stored by its loads so far; initial_value says where the next begins"


def _parse_cursor(resource: Resource, text: str) -> Any:
    cursor = resource.endpoint.incremental
    assert cursor is not None
    if is_number_cursor(cursor):
        for number in (int, float):
            with suppress(ValueError):
                return number(text)
        raise StateError(f"its cursor is a number, and `{text}` is none.")
    try:
        return in_timezone(parse_time(text), cursor.timezone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise StateError(f"{error}.") from None
