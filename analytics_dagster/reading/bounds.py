"""How instants are written for an API and read from its rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from analytics_dagster.spec import Incremental

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_EPOCHS = {"epoch": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
_STEPS = 400  # enough days to leave a year, the coarsest text there is


class Bounds:
    """The format of an API's time bounds.

    The bounds of a window `[start, end)` are written so that the API's answer holds all of its
    rows; rows beyond the window that a coarse format or an inclusive bound lets in are filtered by
    their cursor afterwards.

    Args:
        incremental: The endpoint's `incremental`. `unit` is the finest unit of time in what is written.
    """

    def __init__(self, incremental: Incremental) -> None:
        self._format = "%Y-%m-%d" if incremental.format == "date" else incremental.format or "iso"
        self._zone = ZoneInfo(incremental.timezone)
        self._start_exclusive = incremental.start == "exclusive"
        self._end_inclusive = incremental.end == "inclusive"
        self.unit = _EPOCHS.get(self._format) or _finest_unit(self._format)

    def start(self, instant: datetime) -> str | int:
        """The lower bound for rows from `instant` on."""
        bound = self._least(instant)
        if self._start_exclusive:
            return self._beyond(bound, instant, -self.unit)
        return bound

    def end(self, instant: datetime) -> str | int:
        """The upper bound for rows before `instant`."""
        last = self._most(instant - _MOMENT)
        if self.unit > timedelta(seconds=1):
            if not self._shows_wall_clock:
                # A rounded time with an offset: an API may take it for its first instant.
                return self._beyond(last, instant + self.unit, self.unit)
            if self._end_inclusive:
                return last  # names the whole last minute, hour or day
        return self._beyond(last, instant, self.unit)

    def earliest(self, start: datetime) -> datetime:
        """The first instant whose rows an API may send for the lower bound of `start`, by what it says."""
        try:
            return min(start, self.parse(self.start(start)))
        except ValueError:  # a pattern that cannot be read back
            return start - self.unit

    def latest(self, end: datetime) -> datetime:
        """An instant from which on no rows should come for the upper bound of `end`, by what it says."""
        blur = self.unit + (_HOUR if self._shows_wall_clock else timedelta())  # which may come twice
        try:
            return max(end, self.parse(self.end(end))) + blur
        except ValueError:
            return end + self.unit + blur

    def writer(self, end: datetime | None) -> Callable[[datetime | None], str | int | None]:
        """What writes the bounds of a window, of which `end` is the upper one, for dlt's `convert`."""

        def write(instant: datetime | None) -> str | int | None:
            if instant is None:
                return None
            return self.end(instant) if instant == end else self.start(instant)

        return write

    def parse(self, value: Any) -> datetime:
        """The instant that a row's cursor means, in UTC.

        Raises:
            ValueError: If it means none.
            OverflowError: If it is beyond the years 1 to 9999.
        """
        if isinstance(value, str):
            return self._in_utc(self._parse_text(value))
        if isinstance(value, datetime):
            return self._in_utc(value)
        if isinstance(value, date):
            return self._in_utc(datetime(value.year, value.month, value.day))  # noqa: DTZ001 - localized there
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return self._parse_number(value)
        raise ValueError(f"{value!r} is not a time")

    def _least(self, instant: datetime) -> str | int:
        """The least that is written for any instant from `instant` on."""
        local = instant.astimezone(self._zone)
        if self._shows_wall_clock and not local.fold:
            # Before clocks go back: the times that are about to come once more are earlier.
            local -= _repeated(local)
        return self._write(local)

    def _most(self, instant: datetime) -> str | int:
        """The most that is written for any instant up to `instant`."""
        local = instant.astimezone(self._zone)
        if not self._shows_wall_clock:
            # A row whose cursor has no offset may be of the second time that clocks show it.
            local = (instant + _repeated(local)).astimezone(self._zone)
        elif local.fold:
            # After clocks went back: the times that came once before are later.
            local = local.replace(fold=0) + _repeated(local)
        return self._write(local)

    def _beyond(self, bound: str | int, instant: datetime, step: timedelta) -> str | int:
        """What is written for `instant`, or for the first one in steps from it that is not `bound`."""
        write = self._most if step > timedelta() else self._least
        for _ in range(_STEPS):
            written = write(instant)
            if written != bound:
                return written
            instant += step
        return bound

    @property
    def _shows_wall_clock(self) -> bool:
        return "%" in self._format and "%z" not in self._format

    def _write(self, instant: datetime) -> str | int:
        if unit := _EPOCHS.get(self._format):
            return (instant - _EPOCH) // unit
        if self._format == "iso":
            return instant.isoformat().replace("+00:00", "Z")
        return instant.strftime(self._format)

    def _parse_text(self, value: str) -> datetime:
        if self._format in _EPOCHS and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return self._parse_number(Decimal(value))
        if "%" in self._format:
            try:
                return datetime.strptime(value, self._format)  # noqa: DTZ007 - localized by the caller
            except ValueError:
                pass
        return datetime.fromisoformat(value)

    def _parse_number(self, value: float | Decimal) -> datetime:
        unit = _EPOCHS.get(self._format)
        if unit is None:
            raise ValueError(
                f"the number {value} could count seconds or milliseconds; say `format: epoch` or"
                " `format: epoch_ms` in endpoint.incremental"
            )
        return _EPOCH + timedelta(microseconds=math.floor(value * (unit // _MOMENT)))

    def _in_utc(self, time: datetime) -> datetime:
        if time.tzinfo is UTC:
            return time
        return (time.replace(tzinfo=self._zone) if time.tzinfo is None else time).astimezone(UTC)


def _repeated(local: datetime) -> timedelta:
    """How long ago, or how soon, clocks show this time again; zero nearly always."""
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return first - second


def _finest_unit(pattern: str) -> timedelta:
    """The finest unit of time in what the pattern writes; a day for all that is coarser."""
    codes = set(re.findall(r"%-?(.)", pattern))
    if "%" not in pattern or codes & set("SfcXsT"):
        return timedelta(seconds=1)
    if "M" in codes:
        return timedelta(minutes=1)
    return timedelta(hours=1) if codes & set("HIp") else _DAY
