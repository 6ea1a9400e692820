"""How instants are written for an API and read from its rows."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics_dagster.spec import Incremental

_MOMENT = timedelta(microseconds=1)
# A pattern whose finest unit is longer than a second names a span of time, not a point in it.
_SPANS = (("%M", "minute"), ("%H", "hour"), ("%I", "hour"), ("%d", "day"), ("%j", "day"))


class Bounds:
    """The format of an API's time bounds.

    The bounds of a window `[start, end)` are written so that the API's answer holds all of its
    rows; rows beyond the window that a coarse format or an inclusive bound lets in are filtered by
    their cursor afterwards.

    Args:
        incremental: The endpoint's `incremental`.
    """

    def __init__(self, incremental: Incremental) -> None:
        self._format = incremental.format or "iso"
        self._zone = ZoneInfo(incremental.timezone)
        self._start_exclusive = incremental.start == "exclusive"
        self._end_inclusive = incremental.end == "inclusive"
        self._span = _span(self._format)

    def start(self, instant: datetime) -> str | int:
        """The lower bound for rows from `instant` on."""
        instant = instant.astimezone(UTC)
        if self._span is None:
            return self._write(instant - timedelta(seconds=1) if self._start_exclusive else instant)
        first = self._floor(instant)
        return self._write(self._floor(first.astimezone(UTC) - _MOMENT) if self._start_exclusive else first)

    def end(self, instant: datetime) -> str | int:
        """The upper bound for rows before `instant`."""
        instant = instant.astimezone(UTC)
        if self._span is None:
            return self._write(instant, end=True)
        last = self._floor(instant - _MOMENT)
        return self._write(last if self._end_inclusive else self._next(last), end=not self._end_inclusive)

    def parse(self, value: Any) -> datetime:
        """The instant that a row's cursor means.

        Raises:
            ValueError: If it means none.
        """
        if isinstance(value, datetime):
            return self._localize(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=self._zone).astimezone(UTC)
        if isinstance(value, str):
            return self._localize(self._parse_text(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self._format in ("epoch", "epoch_ms"):
                return _EPOCH + timedelta(**{"seconds" if self._format == "epoch" else "milliseconds": value})
            raise ValueError(
                f"the number {value} could count seconds or milliseconds; say `format: epoch` or"
                " `format: epoch_ms` in endpoint.incremental"
            )
        raise ValueError(f"{value!r} is not a time")

    def _parse_text(self, value: str) -> datetime:
        if self._format in ("epoch", "epoch_ms") and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return self.parse(float(value) if "." in value else int(value))
        if "%" in self._format:
            try:
                return datetime.strptime(value, self._format)  # noqa: DTZ007 - localized by the caller
            except ValueError:
                pass
        return datetime.fromisoformat(value)

    def _localize(self, time: datetime) -> datetime:
        return (time.replace(tzinfo=self._zone) if time.tzinfo is None else time).astimezone(UTC)

    def _write(self, instant: datetime, *, end: bool = False) -> str | int:
        if self._format == "epoch":
            seconds, rest = divmod(instant - _EPOCH, timedelta(seconds=1))
            return seconds + bool(rest) if end else seconds
        if self._format == "epoch_ms":
            milliseconds, rest = divmod(instant - _EPOCH, timedelta(milliseconds=1))
            return milliseconds + bool(rest) if end else milliseconds
        local = instant.astimezone(self._zone)
        if self._format == "iso":
            return local.isoformat().replace("+00:00", "Z")
        pattern = "%Y-%m-%d" if self._format == "date" else self._format
        if "%z" not in pattern and end:
            # In the hour that a clock repeats in autumn, the same wall time comes twice; an end in
            # the second one must also let in the whole of the first.
            offset = local.replace(fold=0).utcoffset()
            own = local.utcoffset()
            assert offset is not None
            assert own is not None
            local = local.replace(tzinfo=None) + (offset - own)
        if end and "%f" not in pattern and self._span is None and local.microsecond:
            local = local.replace(microsecond=0) + timedelta(seconds=1)
        return local.strftime(pattern)

    def _floor(self, instant: datetime) -> datetime:
        local = instant.astimezone(self._zone)
        local = local.replace(second=0, microsecond=0)
        if self._span in ("hour", "day"):
            local = local.replace(minute=0)
        if self._span == "day":
            local = local.replace(hour=0, fold=0)
        return local

    def _next(self, first: datetime) -> datetime:
        if self._span == "day":
            return (first.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=self._zone)
        length = timedelta(hours=1) if self._span == "hour" else timedelta(minutes=1)
        return (first.astimezone(UTC) + length).astimezone(self._zone)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _span(pattern: str) -> str | None:
    """The unit of time that a value of the format names; None for a point in time."""
    if pattern == "date":
        return "day"
    if "%" not in pattern or re.search(r"%(S|f|s|T|X|c|r)", pattern):
        return None
    return next((unit for code, unit in _SPANS if code in pattern), "day")
