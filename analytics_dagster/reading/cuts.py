"""Where a window is cut, so that each part of it can be asked for by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.spec import Incremental, Window, in_timezone

_DAY, _HOUR, _MINUTE, _SECOND = (
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
)
_LONGEST_DAY = timedelta(hours=26)


class Cuts:
    """Cuts windows at full days, hours, minutes or seconds of the file's time zone, as long as they are.

    An API that rounds its bounds, or rows that count whole hours, are least likely to show it there.

    Args:
        incremental: The endpoint's `incremental`.
    """

    def __init__(self, incremental: Incremental) -> None:
        self._zone = incremental.timezone
        self._unit = Bounds(incremental).unit
        self._least = max(incremental.min, self._unit)

    def end(self, window: Window, start: datetime, length: timedelta) -> datetime:
        """Where the part of a window ends that begins at `start`.

        Args:
            window: The window.
            start: An instant of it.
            length: How long the part is to be at most; it is as long as the unit of the bounds at least.
        """
        for size in (_DAY, _HOUR, _MINUTE, _SECOND):
            if self._unit <= size <= length and (cut := self._floor(start + length, size)) > start:
                return min(cut, window.end)
        size = max(self._unit, _SECOND)
        further = _LONGEST_DAY if size == _DAY else size
        while (cut := self._floor(start + further, size)) <= start:  # where clocks go back by half an hour
            further += size
        return min(cut, window.end)

    def steps(self, window: Window, length: timedelta) -> Iterator[Window]:
        """The parts of a window, in order, each of at most a length."""
        start = window.start
        while start < window.end:
            part = Window(start, self.end(window, start, length))
            yield part
            start = part.end

    def halves(self, window: Window) -> tuple[Window, Window] | None:
        """Both parts of a window that is cut in the middle; None where they would be shorter than `min`."""
        cut = self.end(window, window.start, (window.end - window.start) / 2)
        if min(cut - window.start, window.end - cut) < self._least:
            return None
        return Window(window.start, cut), Window(cut, window.end)

    def _floor(self, instant: datetime, size: timedelta) -> datetime:
        local = instant.astimezone(ZoneInfo(self._zone))
        if size == _DAY:
            return in_timezone(local.date(), self._zone).astimezone(UTC)
        minute = 0 if size == _HOUR else local.minute
        second = local.second if size == _SECOND else 0
        return local.replace(minute=minute, second=second, microsecond=0).astimezone(UTC)
