"""The cursor of a resource: which instant each row belongs to, and which rows belong to the window."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

import dlt
from dlt.common import jsonpath
from dlt.extract.incremental import IncrementalResourceWrapper
from dlt.extract.items_transform import ItemTransform

from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.errors import ContractError, CursorError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import Incremental, Resource, Window

_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")

LIFTED = "_cursor"
"""The column that holds the cursor's instant where the field itself does not."""


def cursor_column(resource: Resource) -> str | None:
    """The field that holds the cursor as an instant once rows are prepared.

    The field itself where it is a plain one with ISO times, which dlt makes a timestamp anyway; else a
    column of its own, so that the destination compares instants, and the field stays as it was sent.
    """
    incremental = resource.endpoint.incremental
    if incremental is None:
        return None
    path = incremental.cursor_path
    hint = resource.columns.get(path, {})
    becomes_timestamp = (
        _is_plain(path)
        and (incremental.format or "iso") == "iso"
        and hint.get("data_type", "timestamp") == "timestamp"
    )
    return path if becomes_timestamp or is_number_cursor(incremental) else LIFTED


def is_number_cursor(incremental: Incremental) -> bool:
    """Whether the cursor is a number that grows, such as an id, and not a time."""
    return incremental.format is None and isinstance(incremental.initial_value, int | float)


def _is_plain(path: str) -> bool:
    return jsonpath.extract_simple_field_name(path) is not None


class RowTimes:
    """Which instant each row belongs to.

    Args:
        resource: The resource that is read; it has a cursor.
    """

    def __init__(self, resource: Resource) -> None:
        incremental = resource.endpoint.incremental
        assert incremental is not None
        self.path = incremental.cursor_path
        self.column = cast("str", cursor_column(resource))
        self._bounds = Bounds(incremental)
        self._find = None if _is_plain(self.path) else jsonpath.compile_path(self.path)

    def at_once(self, page: list[Any]) -> Any:
        """The instants of all rows as Arrow's; None where a row does not say plainly which it means."""
        from analytics_dagster.loading.columns import instants  # noqa: PLC0415 - pyarrow is slow to import

        if self.column != self.path or set(map(type, page)) != {dict}:
            return None
        times = instants([row.get(self.path) for row in page])
        return None if times is None or times.null_count else times

    def span(self, page: list[Any]) -> tuple[datetime, datetime] | None:
        """The first and the last instant of rows; None where a row does not say plainly which it means."""
        from analytics_dagster.loading.columns import first_and_last  # noqa: PLC0415 - pyarrow is slow to import

        times = self.at_once(page) if page else None
        return None if times is None else first_and_last(times)

    def of(self, page: list[Any]) -> list[datetime | None]:
        """The instant of each row, None where it has no cursor.

        Raises:
            ContractError: If one is finer than a column holds.
            CursorError: If one means none, or is of no row.
        """
        values = map(self.value, page)
        return [None if value is None else self.instant(value) for value in values]

    def value(self, row: Any) -> Any:
        """What a row has at the cursor's path.

        Raises:
            CursorError: If it is no row.
        """
        if not isinstance(row, dict):
            inside = "; `[*]` at its end picks what is in each list" if isinstance(row, list) else ""
            raise CursorError(
                f"A row is {row!r:.80}, which has no fields, so no cursor `{self.path}`. Check"
                f" data_selector{inside}."
            )
        fields = cast("dict[str, Any]", row)
        if self._find is None:
            return fields.get(self.path)
        return next((match.value for match in self._find.find(fields)), None)

    def instant(self, value: Any) -> datetime:
        """The instant that a cursor means.

        Raises:
            ContractError: If it is finer than a column holds.
            CursorError: If it means none.
        """
        if self.column == self.path and isinstance(value, str) and _FINER.search(value):
            raise ContractError(
                f"The cursor `{self.path}` of a row is {value}, finer than the microseconds of a timestamp."
                f" Write `columns: {{{self.path}: {{data_type: text}}}}`, so that it is kept as text."
            )
        try:
            return self._bounds.parse(value)
        except (ValueError, OverflowError) as error:
            otherwise = (
                "; where rows write times in a way of their own, have one made by a `cast` in records.fields,"
                " such as `timestamp:%d.%m.%Y %H:%M`"
            )
            raise CursorError(
                f"The cursor `{self.path}` of a row cannot be read: {error}. Check cursor_path and format in"
                f" endpoint.incremental{otherwise if isinstance(value, str) else ''}."
            ) from None


class PageStep(ItemTransform[Any, dict[str, Any]]):
    """A step of a dlt resource that sees a whole page at once."""

    def __init__(self, on_page: Callable[[list[Any]], Any]) -> None:
        super().__init__(on_page)
        self._on_page = on_page

    def __call__(self, item: Any, meta: Any = None) -> Any:
        return self._on_page(cast("list[Any]", item) if isinstance(item, list) else [item])


class ReadCursor(PageStep):
    """Before dlt's filter: give each row its instant. Rows beyond a window are left out here, many at once.

    A text that says plainly which instant it means stays a text, of which dlt makes the same instant.

    Args:
        resource: The resource that is read.
        window: What is read; None without partitions.
        forget: Forget the stored cursor first, for a full refresh.
        counted: Is told of the rows beyond the window.
    """

    placement_affinity: ClassVar[float] = 0.5

    def __init__(
        self, resource: Resource, window: Window | None, *, forget: bool, counted: CountRows | None = None
    ) -> None:
        super().__init__(self._new_rows if window is None else self._rows_within)
        incremental = resource.endpoint.incremental
        assert incremental is not None
        self._times = RowTimes(resource)
        self._number = is_number_cursor(incremental)
        self._required = incremental.on_cursor_value_missing == "raise"
        self._is_usual = (
            incremental.last_value_func == "max"
            and incremental.end_value is None
            and not incremental.row_order
        )
        self._window = window
        self._missing_stay = incremental.on_cursor_value_missing == "include"
        self._forget = forget
        self._table = resource.table_name or resource.name
        self._counted = counted

    def bind(self, pipe: Any) -> ReadCursor:
        """Called by dlt before the first page, while the stored cursor can still be changed."""
        self._pipe = pipe
        if self._forget:
            dlt.current.resource_state(pipe.name).pop("incremental", None)
        # The hint of an earlier cursor stays in the stored schema; the present one comes with the first page.
        schema = dlt.current.source_schema()
        table: Any = schema.tables.get(schema.naming.normalize_tables_path(self._table), {})
        for column in table.get("columns", {}).values():
            column.pop("dedup_sort", None)
        return self

    def _rows_within(self, page: list[Any]) -> list[Any]:
        from analytics_dagster.loading.columns import datetimes, inside  # noqa: PLC0415 - pyarrow is slow to import

        assert self._window is not None
        self._pipe.get_by_type(IncrementalResourceWrapper).incremental.advance(None)  # filters nothing itself
        start, end = self._window.start, self._window.end
        if (instants := self._times.at_once(page)) is not None:
            kept = inside(page, instants, start, end)
            first = next(iter(datetimes(instants[:1])), None)
        else:
            times = [row.get(self._times.column) for row in self._rows(page)]
            first = next((time for time in times if time is not None), None)
            kept = [
                row
                for row, time in zip(page, times, strict=True)
                if (self._missing_stay if time is None else start <= time < end)
            ]
        if self._counted and first is not None and len(kept) < len(page):
            self._counted.left_out(len(page) - len(kept), first)
        return kept

    def _new_rows(self, page: list[Any]) -> list[Any]:
        """Have dlt look only at the rows that it decides on or remembers: of the start, and the last instant.

        Earlier ones are old. Those between are new, and none of them stays in the state.
        """
        from analytics_dagster.loading.columns import at_either_end, not_before  # noqa: PLC0415 - pyarrow is slow to import

        wrapper = self._pipe.get_by_type(IncrementalResourceWrapper)
        known = wrapper.incremental if wrapper else None
        if known is None:  # a child, each of whose parents has a start of its own
            return self._rows(page)
        known._advanced = False  # so that it filters; `advance` sets it
        start = known.start_value
        is_usual = self._is_usual and (start is None or (isinstance(start, datetime) and start.tzinfo))
        times = self._times.at_once(page) if is_usual else None
        if times is None:
            return self._rows(page)
        path = self._times.path
        page, times = not_before(page, times, start)
        asked = {place: {**page[place], path: time} for place, time in at_either_end(times, start).items()}
        kept = {id(row) for row in known(list(asked.values())) or ()}
        known.advance(None)
        dropped = {place for place, row in asked.items() if id(row) not in kept}
        return [row for place, row in enumerate(page) if place not in dropped] if dropped else page

    def _rows(self, page: list[Any]) -> list[Any]:
        times = self._times
        for row in page:
            value = times.value(row)
            if times.column == LIFTED and LIFTED in row:
                raise ContractError(
                    f"A row has a field `{LIFTED}`, and a column of that name keeps its cursor as an instant."
                    f" Rename it: `records: {{fields: {{api_cursor: {LIFTED}}}, drop: [{LIFTED}]}}`."
                )
            if value is None:
                if self._required:
                    raise CursorError(self._missing(row))
                if times.column == LIFTED:
                    row[LIFTED] = None
            elif not self._number:
                row[times.column] = times.instant(value)
        return page

    def _missing(self, row: dict[str, Any]) -> str:
        keys = ", ".join(list(row)[:20])
        path = self._times.path
        what = "is null in a row" if path in row else "is not in a row"
        return (
            f"The cursor `{path}` {what}. Its fields are: {keys}."
            " Correct cursor_path in endpoint.incremental, or write `on_cursor_value_missing: include` or"
            " `exclude` there."
        )


class CountRows(PageStep):
    """After dlt's filter: count the rows of each window and keep the first few for a preview.

    Args:
        windows: The partitions' windows, in order; empty without partitions.
        column: The field with the instant; used with windows only.
        meter: Is told of each page's rows.
        emptied: The table that must become empty if no row comes.
    """

    placement_affinity: ClassVar[float] = 3

    def __init__(
        self, windows: Sequence[Window], column: str | None, meter: Meter, *, emptied: str | None = None
    ) -> None:
        super().__init__(self._rows)
        self._starts = [window.start for window in windows]
        self._column = column
        self._meter = meter
        self._emptied = emptied
        self.counts = [0] * len(windows)
        self.preview: list[Any] = []
        self._left_out = 0
        self._example: datetime | None = None

    def left_out(self, count: int, example: datetime) -> None:
        """Rows came that are beyond the window.

        Args:
            count: How many.
            example: The instant of a row that came with them.
        """
        self._left_out += count
        self._example = self._example or example

    def none_inside(self, resource: Resource, window: Window) -> str | None:
        """What a person should know of a load whose rows were all beyond its window; None if none was."""
        cursor = resource.endpoint.incremental
        if not self._left_out or self._meter.rows or self._example is None or cursor is None:
            return None
        return (
            f"the API sent {self._left_out:,} rows, none of them in the window {window}: the first one has"
            f" `{cursor.cursor_path}` at {self._example.isoformat()}. Check in endpoint.incremental whether"
            " `format` and `timezone` write the bounds as the API reads them (epoch or epoch_ms?), whether"
            " start_param and end_param are what the API calls them, and whether it filters by this field."
        )

    def _rows(self, page: list[Any]) -> Any:
        emptied, self._emptied = self._emptied, None
        if not page:
            return dlt.mark.materialize_table_schema() if _had_rows(emptied) else page
        self._meter.add(rows=len(page))
        if len(self.preview) < PREVIEW_ROWS:
            self.preview += [
                dict(cast("dict[str, Any]", row)) if isinstance(row, dict) else {"value": row}
                for row in page[: PREVIEW_ROWS - len(self.preview)]
            ]
        if len(self._starts) == 1:  # rows without a cursor are of the window that they were asked for with
            self.counts = [self.counts[0] + len(page)]
        elif self._starts and self._column:
            from analytics_dagster.loading.columns import counts_from, instants  # noqa: PLC0415

            column = self._column
            found = counts_from(instants([row.get(column) for row in page]), self._starts)
            self.counts = [count + more for count, more in zip(self.counts, found, strict=True)]
        return page


def _had_rows(table: str | None) -> bool:
    """Whether a table ever had one; one without has nothing to lose, and dlt would miss its key."""
    if table is None:
        return False
    schema = dlt.current.source_schema()
    return schema.naming.normalize_tables_path(table) in schema.data_table_names(seen_data_only=True)


PREVIEW_ROWS = 5
