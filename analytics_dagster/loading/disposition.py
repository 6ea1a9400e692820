"""What a load does with the rows that the destination already has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dlt.common.normalizers.naming import NamingConvention
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.cursor import cursor_column
from analytics_dagster.spec import Resource, Window

_ALL = "1 = 1"


def starts_over(resource: Resource, window: Window | None, *, full_refresh: bool) -> bool:
    """Whether the load reads everything and replaces all rows that the destination has."""
    return window is None and (full_refresh or resource.write_disposition == "replace")


def merges(resource: Resource, window: Window | None, *, full_refresh: bool) -> bool:
    """Whether some of the destination's rows go when those come that were read."""
    if starts_over(resource, window, full_refresh=full_refresh):
        return bool(resource.primary_key)
    return resource.write_disposition == "merge" or window is not None


def disposition(
    resource: Resource,
    client: SqlClientBase[Any],
    naming: NamingConvention,
    windows: Sequence[Window] = (),
    *,
    run: Window | None = None,
    full_refresh: bool = False,
) -> Any:
    """dlt's write disposition for one load.

    A merge deletes and inserts in one transaction. Both of its conditions are always given, since dlt keeps
    those of the last load where a new one gives none.

    Args:
        resource: The resource that is loaded.
        client: Writes names and values as the destination wants them.
        naming: Turns names of fields and resources into those of columns and tables.
        windows: What is read, in order; none for everything, or what is new since the stored cursor.
        run: What the run reads, of which the windows are a part; None if they are all of it.
        full_refresh: Without windows: replace all rows.
    """
    window = Window(windows[0].start, windows[-1].end) if windows else None
    all_go = starts_over(resource, window, full_refresh=full_refresh)
    if not merges(resource, window, full_refresh=full_refresh):
        return "replace" if all_go else resource.write_disposition
    conditions = _Conditions(resource, client, naming, windows, run or window)
    return {
        "disposition": "merge",
        "strategy": "delete-insert",
        "source_filter": _ALL if all_go else conditions.may_come(),
        "destination_scope": _ALL if all_go else conditions.must_go(),
    }


def within(client: SqlClientBase[Any], column: str, window: Window) -> str:
    """The condition in SQL that an instant is in a window.

    Args:
        client: Writes instants as the destination wants them.
        column: The instant's column, quoted.
        window: The window.
    """
    start, end = (_literal(client, bound) for bound in (window.start, window.end))
    return f"{column} >= {start} AND {column} < {end}"


def _literal(client: SqlClientBase[Any], instant: datetime) -> str:
    literal = client.capabilities.escape_literal
    assert literal is not None
    return literal(instant.astimezone(UTC))


class _Conditions:
    """The conditions of a merge in SQL. Only the bounds of windows in them differ from load to load."""

    def __init__(
        self,
        resource: Resource,
        client: SqlClientBase[Any],
        naming: NamingConvention,
        windows: Sequence[Window],
        run: Window | None,
    ) -> None:
        def columns(fields: str | Sequence[str] | None) -> list[str]:
            listed = [fields] if isinstance(fields, str) else fields or []
            return [client.escape_column_name(naming.normalize_path(field)) for field in listed]

        self._client = client
        self._replaces = resource.rerun_mode == "replace_window"
        self._windows = windows
        self._run = run
        self._keys = columns(resource.primary_key)
        self._merge_keys = columns(resource.merge_key)
        self._cursor = next(iter(columns(cursor_column(resource))), None)
        table = naming.normalize_tables_path(resource.table_name or resource.name)
        self._table = client.make_qualified_table_name(table)

    def may_come(self) -> str:
        """The staged rows that are no older versions of rows that the destination has.

        With `replace_window`, rows of other windows of the run do not count: what was moved from one of them
        to an earlier window would be left out there, and then let go here, as it does not come any more.

        The destination's columns get other names here, so that the plain ones mean those of the staged row
        wherever dlt puts the condition.
        """
        if not (self._keys and self._cursor) or self._merge_keys:
            return _ALL
        present = {f"_present_{number}": key for number, key in enumerate(self._keys)}
        columns = ", ".join(f"{key} AS {name}" for name, key in present.items())
        same = " AND ".join(f"{name} = {key}" for name, key in present.items())
        newer = f"_present_cursor > {self._cursor}"
        if self._replaces and self._run and self._run != self._windows[0]:
            in_run = within(self._client, "_present_cursor", self._run)
            newer += f" AND NOT ({in_run} AND {self._is_beyond()})"
        return (
            f"NOT EXISTS (SELECT 1 FROM (SELECT {columns}, {self._cursor} AS _present_cursor"  # noqa: S608
            f" FROM {self._table}) AS _present WHERE {same} AND {newer})"
        )

    def _is_beyond(self) -> str:
        """Whether a stored row is beyond the window that a staged one is in."""
        ends = [_literal(self._client, window.end) for window in self._windows]
        cases = [f"WHEN {self._cursor} < {end} THEN _present_cursor >= {end}" for end in ends]
        return f"CASE {' '.join(cases)} END"

    def must_go(self) -> str:
        """The destination's rows that others replace.

        With `replace_window` these are the rows of the window that did not come, too. Rows that came are
        replaced wherever they are: one whose cursor moved to another window would else be there twice.
        """
        conditions: list[str] = []
        came = "SELECT {} FROM {{staging_table}}"  # dlt puts the table in
        if self._keys:
            keys = ", ".join(self._keys)
            conditions.append(f"({keys}) IN ({came.format(keys)} WHERE {self.may_come()})")
        if self._merge_keys:
            keys = ", ".join(self._merge_keys)
            conditions.append(f"({keys}) IN ({came.format(keys)})")
        if self._windows and self._replaces:
            assert self._cursor is not None
            window = Window(self._windows[0].start, self._windows[-1].end)
            condition = within(self._client, self._cursor, window)
            if self._keys:
                keys = ", ".join(self._keys)
                condition += f" AND ({keys}) NOT IN ({came.format(keys)})"
            conditions.append(f"({condition})")
        return " OR ".join(conditions)
