"""Whether the parts of a window have each of its rows, and have it once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from analytics_dagster.loading.cursor import RowTimes
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.errors import PartsError
from analytics_dagster.spec import Window

_MOST_ASTRAY = 10_000  # rows that came before the part that they belong to


class Account:
    """Sees to it that each row of a window comes with the part that it belongs to, and is taken once.

    A row may come with a neighbour too: bounds may be inclusive or coarse. Where it comes with another part
    alone, the API's clock is not the rows' cursor, or its bounds are coarser than the file says.

    Args:
        times: Reads the cursors of rows.
        bounds: Writes the bounds of parts.
        window: The window.
    """

    def __init__(self, times: RowTimes, bounds: Bounds, window: Window) -> None:
        self._times = times
        self._bounds = bounds
        self._window = window
        self._due: Counter[tuple[datetime, int]] = Counter()  # rows that must come with their part
        self._first_due: datetime | None = None
        self._astray: Counter[tuple[datetime, int]] = Counter()  # such rows of the present part
        self._given: Counter[int] = Counter()  # rows that came, and may come with the next part again
        self._came = 0

    def expect(self, page: list[Any]) -> None:
        """Rows that came with the window as a whole must come again."""
        self._astray.update(
            (time, _mark(row)) for row, time in zip(page, self._times.of(page), strict=True) if time
        )
        self._are_due()

    def own(self, part: Window, page: list[Any]) -> list[Any]:
        """The rows of a page that its part is to give: its own, and those that are in no part at all.

        Args:
            part: The part.
            page: What came for it.

        Raises:
            PartsError: If a row belongs to an earlier part, which did not give it.
        """
        reach, latest = self._bounds.earliest(part.end), self._bounds.latest(part.end)
        at_once = self._times.span(page)
        if at_once is not None:
            first, last = at_once
            is_due = self._first_due is not None and self._first_due <= last
            if part.start <= first and last < min(part.end, reach) and not is_due:
                self._came += len(page)
                return page
        kept: list[Any] = []
        for row, time in zip(page, self._times.of(page), strict=True):
            if time is None or time not in self._window:
                kept.append(row)
            elif time >= latest:
                raise self._problem(part, time, "which is beyond its end")
            elif time >= part.end:
                self._astray[time, _mark(row)] += 1
            elif time >= part.start:
                kept.append(row)
                self._take(time, _mark(row), remember=time >= reach)
            elif not self._given[_mark(row)]:
                raise self._problem(part, time, "which had not come with the part before")
        self._came += len(kept)
        self._first_due = min((due for due, _ in self._due), default=None)
        if self._astray.total() > _MOST_ASTRAY:
            raise self._problem(part, max(self._astray)[0], "and so did many others")
        return kept

    def end(self, part: Window) -> None:
        """No further page comes for a part.

        Raises:
            PartsError: If a row that belongs to it did not come.
        """
        missing = [time for time, _ in self._due if time < part.end]
        if missing:
            raise PartsError(
                f"A row of {min(missing).isoformat()} came with another request, not with that for {part}:"
                " the API filters by another clock than the cursor, or its bounds are coarser than `format`."
            )
        self._are_due()
        if self._bounds.earliest(part.end) == part.end:
            self._given.clear()

    def close(self, total: int | None) -> None:
        """All parts have come.

        Args:
            total: How many rows the API stated for the whole window; or None.

        Raises:
            PartsError: If these are more than came.
        """
        if total is not None and self._came < total:
            raise PartsError(f"The API states {total} rows for the window, and its parts had {self._came}.")

    def _take(self, time: datetime, mark: int, *, remember: bool) -> None:
        if self._due[time, mark] > 1:
            self._due[time, mark] -= 1
        else:
            del self._due[time, mark]
        if remember:
            self._given[mark] += 1

    def _are_due(self) -> None:
        self._due |= self._astray  # the greater count: a row may come with more than one part before its own
        self._astray.clear()
        self._first_due = min((due for due, _ in self._due), default=None)

    def _problem(self, part: Window, time: datetime, what: str) -> PartsError:
        return PartsError(
            f"With the request for {part} a row of {time.isoformat()} came, {what}: the API does not keep to"
            " these bounds, or filters by another clock than the cursor."
        )


def _mark(row: Any) -> int:
    return hash(repr(row))
