"""The cursor of a child: the newest row of each parent in its table, from which a load goes on.

dlt keeps one stored cursor for all parents, behind which rows of the others are lost
(https://github.com/dlt-hub/dlt/issues/2429). What the table has is committed with the rows and needs no room.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.cursor import PageStep, cursor_column, is_number_cursor
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.spec import Api, Resource, families

FOUND_BY = "cursor_per_parent"
"""The key in dlt's state of a resource: the columns by which its cursors are found in the table."""

BEGIN = "begin"
"""The key in dlt's state of a resource: where the next load begins for all parents, set by a person."""


def newest(client: SqlJobClientBase, api: Api, resource: Resource) -> dict[tuple[str, ...], Any]:
    """The newest cursor of each parent in the table of a child, by the values that ask for its rows.

    Args:
        client: Is connected.
        api: The API.
        resource: A child with a cursor and without partitions.
    """
    sql = cast("SqlClientBase[Any]", client.sql_client)
    naming = client.schema.naming
    table = sql.make_qualified_table_name(naming.normalize_tables_path(resource.table_name or resource.name))
    columns = families.key_columns(resource, families.by_name(api.resources)).values()
    cursor = sql.escape_column_name(naming.normalize_path(cursor_column(resource) or ""))
    keys = ", ".join(sql.escape_column_name(naming.normalize_path(name)) for name in columns)
    query = f"SELECT MAX({cursor}), {keys} FROM {table} WHERE {cursor} IS NOT NULL GROUP BY {keys}"  # noqa: S608 - names
    try:
        rows = sql.execute_sql(query) or ()
    except DestinationUndefinedEntity:  # of the table or a column
        return {}
    return {tuple(map(str, key)): _instant(value) for value, *key in rows}


class ParentCursors(PageStep):
    """Where a load goes on for each parent. As a step of the dlt resource it sees what dlt has stored.

    Args:
        api: The API.
        resource: A child with a cursor and without partitions.
        forget: Begin at the first value for all.
    """

    placement_affinity: ClassVar[float] = 0.45  # after it is known that the file fits what is stored

    def __init__(self, api: Api, resource: Resource, *, forget: bool) -> None:
        super().__init__(lambda page: page)
        cursor, column = resource.endpoint.incremental, cursor_column(resource)
        assert cursor is not None
        assert column is not None
        self._api = api
        self._resource = resource
        self._columns = [*families.key_columns(resource, families.by_name(api.resources)).values()]
        self._found_by = [*self._columns, column]
        self._forget = forget
        self._last: dict[tuple[str, ...], Any] = {}
        self._begin: Any = None
        self._lag = cursor.lag or 0
        self._bounds = None if is_number_cursor(cursor) else Bounds(cursor)
        self._initial = self._bounds.parse(cursor.initial_value) if self._bounds else cursor.initial_value

    def read(self, client: SqlJobClientBase) -> None:
        """Read from the table where each parent's rows end.

        Args:
            client: Is connected.
        """
        self._last = newest(client, self._api, self._resource)

    def bind(self, pipe: Any) -> ParentCursors:
        """Called by dlt before the first page.

        Rows that were not loaded in this way, such as those of some windows, say nothing of what is missing.
        """
        state = dlt.current.resource_state(pipe.name)
        begin = state.pop(BEGIN, None)
        if self._forget or state.get(FOUND_BY) != self._found_by:
            self._last = {}
        else:
            self._begin = begin
        state[FOUND_BY] = self._found_by
        return self

    def bounds(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The bounds of a request, as the API wants them.

        Args:
            given: What each of its rows gets.
        """
        last = self._last.get(tuple(str(given[column]) for column in self._columns))
        start = self._initial
        if last is not None:
            start = max(self._back(last if self._begin is None else self._begin), self._initial)
        return {"start": self._written(start), "initial": self._written(self._initial)}

    def _back(self, last: Any) -> Any:
        return last - (timedelta(seconds=self._lag) if self._bounds else self._lag)

    def _written(self, value: Any) -> Any:
        return self._bounds.start(value) if self._bounds else value


def _instant(value: Any) -> Any:
    """A time with its offset, which a destination may leave out."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
