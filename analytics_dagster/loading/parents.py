"""How a resource is asked for that is read for its children alone: for all of its rows, each time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from analytics_dagster.loading.cursor import is_number_cursor
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.spec import Endpoint, Resource


def from_the_first(resource: Resource) -> Endpoint:
    """The endpoint of a parent, with the bounds of all of its rows written out and no cursor.

    A stored cursor would leave out the children of rows that are no longer new.

    Args:
        resource: The parent.
    """
    endpoint, cursor, partitions = resource.endpoint, resource.endpoint.incremental, resource.partitions
    if cursor is None:
        return endpoint
    start = partitions.first if partitions else cursor.initial_value
    end = datetime.now(UTC) if partitions else cursor.end_value
    if not is_number_cursor(cursor):
        bounds = Bounds(cursor)
        start = None if start is None else bounds.start(bounds.parse(start))
        end = None if end is None else bounds.end(bounds.parse(end))
    params = {cursor.start_param: start, cursor.end_param: end}
    texts = {
        "{incremental.initial_value}": start,
        "{incremental.start_value}": start,
        "{incremental.last_value}": start,
        "{incremental.end_value}": end,
    }
    parts = endpoint.model_dump(include={"path", "params", "json_body", "form", "data", "headers"})
    written = _replaced(parts, texts)
    written["headers"] = {name: str(value) for name, value in written["headers"].items()}
    written["params"] |= {name: bound for name, bound in params.items() if name and bound is not None}
    return endpoint.model_copy(update={**written, "incremental": None})


def _replaced(value: Any, texts: Mapping[str, Any]) -> Any:
    match value:
        case str() if value in texts:
            return texts[value]  # a number stays one, as dlt does it
        case str():
            for placeholder, bound in texts.items():
                value = value.replace(placeholder, str(bound))
            return value
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {str(_replaced(key, texts)): _replaced(item, texts) for key, item in items}
        case list():
            return [_replaced(item, texts) for item in cast("list[Any]", value)]
        case _:
            return value
