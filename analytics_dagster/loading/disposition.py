"""What a load does with the rows that the destination already has."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from dlt.common.normalizers.naming import NamingConvention
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.cursor import cursor_column
from analytics_dagster.spec import Resource, Window


def replaces_window(resource: Resource, window: Window | None) -> bool:
    """Whether the load makes the destination's window exactly what was read."""
    return window is not None and resource.rerun_mode == "replace_window"


def disposition(
    resource: Resource,
    client: SqlClientBase[Any],
    naming: NamingConvention,
    window: Window | None = None,
    *,
    full_refresh: bool = False,
) -> Any:
    """dlt's write disposition for one load.

    Args:
        resource: The resource that is loaded.
        client: Writes names and values as the destination wants them.
        naming: Turns names of fields and resources into those of columns and tables.
        window: What is read; None for everything, or what is new since the stored cursor.
        full_refresh: Without a window: replace all rows.
    """
    if full_refresh and window is None and resource.write_disposition == "append":
        return "replace"
    if resource.write_disposition != "merge" and not replaces_window(resource, window):
        return resource.write_disposition
    merge = {"disposition": "merge", "strategy": "delete-insert"}
    if full_refresh and window is None:
        # All rows go, in the transaction in which those that were read come, once for each key.
        return {**merge, "destination_scope": "1 = 1"}
    words = _Words(resource, client, naming)
    if words.whole_older:
        merge["source_filter"] = words.whole_older
    if replaces_window(resource, window):
        assert window is not None
        merge["destination_scope"] = words.scope(window)
    return merge


class _Words:
    """The SQL conditions of a merge. None of them needs the staged rows' dataset by name, which is new each time."""

    def __init__(self, resource: Resource, client: SqlClientBase[Any], naming: NamingConvention) -> None:
        def column(field: str) -> str:
            return client.escape_column_name(naming.normalize_path(field))

        given = resource.primary_key or []
        self._keys = [column(key) for key in ([given] if isinstance(given, str) else given)]
        cursor = cursor_column(resource)
        self._cursor = column(cursor) if cursor else None
        self._client = client
        table = naming.normalize_tables_path(resource.table_name or resource.name)
        self._table = client.make_qualified_table_name(table)
        self.whole_older = "" if resource.merge_key else self._is_not_older()

    def _is_not_older(self) -> str:
        """Which staged rows may replace what the destination has: all but older versions of its rows.

        The destination's columns get other names, so that the plain ones mean the staged row wherever dlt
        puts the condition.
        """
        if not (self._keys and self._cursor):
            return ""
        names = [f"_present_{number}" for number in range(len(self._keys))]
        columns = ", ".join(f"{key} AS {name}" for key, name in zip(self._keys, names, strict=True))
        same = " AND ".join(f"{name} = {key}" for key, name in zip(self._keys, names, strict=True))
        return (
            f"NOT EXISTS (SELECT 1 FROM (SELECT {columns}, {self._cursor} AS _present_cursor"
            f" FROM {self._table}) AS _present WHERE {same} AND _present_cursor > {self._cursor})"
        )

    def scope(self, window: Window) -> str:
        """Which of the destination's rows go: those of the window that did not come, and older versions of
        those that came, also in another window (a row whose cursor moved would else be there twice)."""
        literal = self._client.capabilities.escape_literal
        assert literal is not None
        start, end = (literal(bound.astimezone(UTC)) for bound in (window.start, window.end))
        within = f"{self._cursor} >= {start} AND {self._cursor} < {end}"
        if not self._keys:
            return within
        keys = ", ".join(self._keys)
        came = f"SELECT {keys} FROM {{staging_table}}"
        return (
            f"({keys}) IN ({came} WHERE {self.whole_older or '1 = 1'})"
            f" OR ({within} AND ({keys}) NOT IN ({came}))"
        )
