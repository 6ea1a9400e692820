"""Windows of partitions: exact instants, over daylight-saving changes too; nothing that knows of Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from analytics_dagster.spec.api import Partitions
from analytics_dagster.spec.units import in_timezone

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The instants from `start` up to, but without, `end`.

    Both carry a fixed offset, whatever they were given with: two times of one time zone compare by their
    wall clock in Python, which is wrong for the hour that comes twice when clocks go back.

    Raises:
        ValueError: If a bound has no offset, or the window would be empty.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _fixed(self.start))
        object.__setattr__(self, "end", _fixed(self.end))
        if self.start >= self.end:
            raise ValueError(f"a window must end after it starts, unlike {self}")

    def __str__(self) -> str:
        return f"{self.start.isoformat()}/{self.end.isoformat()}"

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= _fixed(instant) < self.end


def window_containing(partitions: Partitions, instant: datetime) -> Window:
    """The window that an instant is in.

    Hours are counted from the partitions' start, an hour of elapsed time each. Days, weeks (from Monday) and
    months go from local midnight to local midnight, or to the first instant of a day that has no midnight.

    Args:
        partitions: What windows there are.
        instant: With an offset; it may be before the partitions' start.
    """
    zone = ZoneInfo(partitions.timezone)
    if partitions.every == "hour":
        first = partitions.first.astimezone(UTC)
        start = first + (instant - first) // _HOUR * _HOUR
        return Window(start.astimezone(zone), (start + _HOUR).astimezone(zone))
    day = _first_day(partitions.every, instant.astimezone(zone).date())
    following = _next_day(partitions.every, day)
    # Where clocks go back over midnight, an hour of the day before comes again after the day has begun.
    while _fixed(instant) >= _midnight(following, partitions.timezone):
        day, following = following, _next_day(partitions.every, following)
    return Window(_midnight(day, partitions.timezone), _midnight(following, partitions.timezone))


def windows_between(partitions: Partitions, start: datetime, end: datetime) -> list[Window]:
    """The windows that hold the instants from `start` up to, but without, `end`, whole, in order.

    Args:
        partitions: What windows there are.
        start: With an offset, like `end`.
        end: Nothing is found where it is not after `start`.
    """
    found: list[Window] = []
    instant, end = _fixed(start), _fixed(end)
    while instant < end:
        found.append(window_containing(partitions, instant))
        instant = found[-1].end
    return found


def start_problem(partitions: Partitions) -> str | None:
    """What is wrong with the partitions' start if it is not the start of a window, with the nearest ones."""
    zone = ZoneInfo(partitions.timezone)
    given = partitions.first
    if partitions.every == "hour":
        local = given.astimezone(zone)
        before = local.replace(minute=0, second=0, microsecond=0)
        if local == before:
            return None
        after = (before.astimezone(UTC) + _HOUR).astimezone(zone)
        nearest = [time.replace(tzinfo=None).isoformat(timespec="minutes") for time in (before, after)]
        unit = "an hour"
    else:
        window = window_containing(partitions, given)
        if window.start == _fixed(given):
            return None
        nearest = [time.astimezone(zone).date().isoformat() for time in (window.start, window.end)]
        unit = {"day": "a day", "week": "a week (Monday)", "month": "a month"}[partitions.every]
    return f"expected the start of {unit} in {partitions.timezone}, such as {nearest[0]} or {nearest[1]}"


def _first_day(every: str, day: date) -> date:
    if every == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if every == "month" else day


def _next_day(every: str, day: date) -> date:
    if every == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if every == "week" else 1)


def _midnight(day: date, zone: str) -> datetime:
    return _fixed(in_timezone(day, zone))


def _fixed(instant: datetime) -> datetime:
    """The same instant with a fixed offset; a wall time that clocks skip becomes the one they skip to."""
    if instant.tzinfo is None:
        raise ValueError(f"a time without an offset is no instant: {instant.isoformat()}")
    real = instant.astimezone(UTC).astimezone(instant.tzinfo)
    return real.replace(tzinfo=timezone(real.utcoffset() or timedelta()), fold=0)
