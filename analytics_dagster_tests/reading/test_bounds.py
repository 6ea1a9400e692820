"""Whatever format and inclusiveness an API has, neighbouring windows share no row and miss none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.spec import Incremental, Partitions, windows_between

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A day and a night around each change of 2024, and an ordinary one.
CHANGES = {
    "UTC": ["2024-02-29", "2024-12-31"],
    "Asia/Kolkata": ["2024-03-31"],
    "Europe/Berlin": ["2024-03-31", "2024-10-27"],
    "America/New_York": ["2024-03-10", "2024-11-03"],
    "Australia/Lord_Howe": ["2024-04-07", "2024-10-06"],  # by half an hour
    "America/Havana": ["2024-03-10", "2024-11-03"],  # at midnight
    "America/St_Johns": ["2006-04-02", "2006-10-29"],  # at one minute past midnight
}
FINEST = {
    "iso": "hour",
    "epoch": "hour",
    "epoch_ms": "hour",
    "date": "day",
    "%Y-%m-%dT%H:%M:%S.%f": "hour",
    "%Y-%m-%d %H:%M:%S%z": "hour",
    "%Y-%m-%d %H:%M:%S": "hour",
    "%Y-%m-%d %H:%M": "hour",
    "%Y%m%dT%H%z": "hour",
    "%Y%m%dT%H%z, rows rounded": "hour",
    "%Y%m%dT%H": "hour",
    "%Y.%j": "day",
    "%Y-%m": "month",
}
MEANINGS = [(start, end) for start in ("inclusive", "exclusive") for end in ("exclusive", "inclusive")]
EVERY = ["hour", "day", "week", "month"]


class Api(NamedTuple):
    """An API that filters instants by bounds, as it understands them."""

    format: str
    zone: ZoneInfo
    rounds: bool

    def mark(self, instant: datetime) -> Any:
        """What it compares with a bound: the text it would write, or the instant if that says an offset."""
        if "%" in self.format and "%z" not in self.format:
            return instant.astimezone(self.zone).strftime(self.format)
        if self.rounds:
            text = instant.astimezone(self.zone).strftime(self.format)
            return datetime.strptime(text, self.format)  # noqa: DTZ007 - with %z
        return instant.astimezone(self.zone).date().isoformat() if self.format == "date" else instant

    def bound(self, written: Any) -> Any:
        """A bound as it reads it."""
        if self.format == "iso":
            return datetime.fromisoformat(written)
        if self.format in ("epoch", "epoch_ms"):
            return EPOCH + timedelta(seconds=1 if self.format == "epoch" else 0.001) * written
        return datetime.strptime(written, self.format) if "%z" in self.format else written  # noqa: DTZ007


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("pattern", FINEST)
@pytest.mark.parametrize("zone", CHANGES)
def test_windows_partition_the_rows(zone: str, pattern: str, every: Any) -> None:
    if EVERY.index(every) < EVERY.index(FINEST[pattern]):
        return
    if pattern == "%Y-%m" and every == "week":
        return
    here = ZoneInfo(zone)
    pattern, _, rounds = pattern.partition(",")
    api = Api(pattern, here, bool(rounds))
    for change in CHANGES[zone]:
        midnight = datetime.fromisoformat(change).replace(tzinfo=here)
        first = {"hour": midnight, "day": midnight - timedelta(days=1)}.get(every, midnight)
        if every == "week":
            first = midnight - timedelta(days=midnight.weekday())
        elif every == "month":
            first = midnight.replace(day=1)
        partitions = Partitions(every=every, start=first.replace(tzinfo=None), timezone=zone)
        length = {"hour": 0.3, "day": 2, "week": 8, "month": 32}[every]
        windows = windows_between(partitions, partitions.first, partitions.first + timedelta(days=length))
        start, end = windows[0].start.astimezone(UTC), windows[-1].end.astimezone(UTC)
        rows = set(instants(start, end, midnight.astimezone(UTC)))
        marks = {row: api.mark(row) for row in rows}
        for (first_in, last_in), offset_shown in product(MEANINGS, (True, False)):
            bounds = Bounds(incremental(format=pattern, timezone=zone, start=first_in, end=last_in))
            meant = {
                row: bounds.parse(cursor(row.astimezone(here), offset_shown=offset_shown)) for row in rows
            }
            seen: list[datetime] = []
            for window in windows:
                low, high = api.bound(bounds.start(window.start)), api.bound(bounds.end(window.end))
                inside = [row for row in rows if window.start <= meant[row] < window.end]
                seen += [row for row in inside if passes(marks[row], low, high, first_in, last_in)]
            assert sorted(seen) == sorted(row for row in rows if start <= meant[row] < end), (change, bounds)


def cursor(local: datetime, *, offset_shown: bool) -> str:
    """A row's cursor; without its offset, the two hours that clocks show alike are told apart no more."""
    return (local if offset_shown else local.replace(tzinfo=None)).isoformat()


def instants(start: datetime, end: datetime, change: datetime) -> list[datetime]:
    """Rows at and beside every half hour around a change, and at both ends."""
    moments = [0, 1, 500_000, -1, -500_000, 29 * 60_000_000]
    halves = [change + timedelta(minutes=30) * n for n in range(-3, 12)]
    return [at + timedelta(microseconds=moment) for at in (*halves, start, end) for moment in moments]


def passes(mark: Any, low: Any, high: Any, start: str, end: str) -> bool:
    """Whether an API with these inclusivenesses returns a row."""
    return (mark >= low if start == "inclusive" else mark > low) and (
        mark <= high if end == "inclusive" else mark < high
    )


def incremental(**options: Any) -> Incremental:
    """An endpoint's `incremental`."""
    return Incremental.model_validate({"cursor_path": "at", **options})


WRITTEN: list[tuple[dict[str, Any], Any, Any]] = [
    ({}, "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"),
    ({"start": "exclusive", "end": "inclusive"}, "2023-12-31T23:59:59Z", "2024-01-02T00:00:00Z"),
    ({"timezone": "Europe/Berlin"}, "2024-01-01T01:00:00+01:00", "2024-01-02T01:00:00+01:00"),
    ({"format": "date"}, "2024-01-01", "2024-01-02"),
    ({"format": "date", "end": "inclusive"}, "2024-01-01", "2024-01-01"),
    ({"format": "date", "start": "exclusive"}, "2023-12-31", "2024-01-02"),
    ({"format": "date", "timezone": "Asia/Tokyo"}, "2024-01-01", "2024-01-03"),
    ({"format": "epoch"}, 1704067200, 1704153600),
    ({"format": "epoch", "start": "exclusive"}, 1704067199, 1704153600),
    ({"format": "epoch_ms"}, 1704067200000, 1704153600000),
    ({"format": "%Y%m%dT%H"}, "20240101T00", "20240102T00"),
    ({"format": "%Y%m%dT%H", "end": "inclusive"}, "20240101T00", "20240101T23"),
    ({"format": "%d/%m/%Y", "end": "inclusive"}, "01/01/2024", "01/01/2024"),
    ({"format": "%-d.%-m.%Y %-H:%M"}, "1.1.2024 0:00", "2.1.2024 0:00"),
    ({"format": "%Y"}, "2024", "2025"),
    ({"format": "%Y", "end": "inclusive", "start": "exclusive"}, "2023", "2024"),
]


@pytest.mark.parametrize(("options", "start", "end"), WRITTEN, ids=str)
def test_bounds_look_as_the_file_says(options: dict[str, Any], start: Any, end: Any) -> None:
    bounds = Bounds(incremental(**options))
    assert bounds.start(datetime(2024, 1, 1, tzinfo=UTC)) == start
    assert bounds.end(datetime(2024, 1, 2, tzinfo=UTC)) == end


@pytest.mark.parametrize("pattern", ["%p", "%%", "%Z", "%H:%M"])
def test_an_odd_pattern_does_not_hang(pattern: str) -> None:
    bounds = Bounds(incremental(format=pattern, start="exclusive"))
    assert isinstance(bounds.start(EPOCH), str)
    assert isinstance(bounds.end(EPOCH), str)


AT_NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "value", "instant"),
    [
        ({}, "2024-07-01T12:00:00Z", AT_NOON),
        ({}, "2024-07-01T12:00:00.000Z", AT_NOON),
        ({}, "2024-07-01T12:00:00.000000999Z", AT_NOON),
        ({}, "2024-07-01T14:00:00+02:00", AT_NOON),
        ({}, "2024-07-01 12:00:00+00", AT_NOON),
        ({"timezone": "Europe/Berlin"}, "2024-07-01T14:00:00", AT_NOON),
        ({"timezone": "Europe/Berlin"}, "2024-07-01", AT_NOON - timedelta(hours=14)),
        ({}, date(2024, 7, 1), AT_NOON - timedelta(hours=12)),
        ({}, datetime(2024, 7, 1, 14, tzinfo=timezone(timedelta(hours=2))), AT_NOON),
        ({"format": "epoch"}, 1719835200, AT_NOON),
        ({"format": "epoch"}, "1719835200", AT_NOON),
        ({"format": "epoch"}, "1719835200.5", AT_NOON + timedelta(seconds=0.5)),
        ({"format": "epoch"}, Decimal("1719835199.9999999"), AT_NOON - timedelta(microseconds=1)),
        ({"format": "epoch"}, 1719835199.9999998, AT_NOON - timedelta(microseconds=1)),
        ({"format": "epoch"}, -0.5, EPOCH - timedelta(seconds=0.5)),
        ({"format": "epoch_ms"}, 1719835200001, AT_NOON + timedelta(milliseconds=1)),
        ({"format": "epoch_ms"}, "2024-07-01T12:00:00Z", AT_NOON),
        ({"format": "%d.%m.%Y %H:%M", "timezone": "Europe/Berlin"}, "01.07.2024 14:00", AT_NOON),
        ({"format": "%Y%m%dT%H%z"}, "20240701T14+0200", AT_NOON),
        ({"format": "%d.%m.%Y"}, "2024-07-01T12:00:00Z", AT_NOON),
    ],
)
def test_cursors_are_read(options: dict[str, Any], value: Any, instant: datetime) -> None:
    found = Bounds(incremental(**options)).parse(value)
    assert (found, found.utcoffset()) == (instant, timedelta())


@pytest.mark.parametrize("value", ["soon", "", True, None, {}, "2024-13-01", float("nan")])
def test_what_is_no_time_is_an_error(value: Any) -> None:
    for options in ({}, {"format": "epoch"}):
        with pytest.raises(ValueError, match=r"."):
            Bounds(incremental(**options)).parse(value)


def test_a_bare_number_asks_for_a_format() -> None:
    with pytest.raises(ValueError, match="format: epoch_ms"):
        Bounds(incremental()).parse(1719835200)


@SETTINGS
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.sampled_from(sorted(CHANGES)),
    st.sampled_from(sorted(FINEST)),
    st.integers(1, 10_000),
    st.sampled_from([lambda instant, length: instant, lambda instant, length: instant + length / 2]),
)
def test_any_window_gets_its_rows(
    wall: datetime, zone: str, pattern: str, minutes: int, place: Callable[[datetime, timedelta], datetime]
) -> None:
    start, length = wall.replace(tzinfo=UTC), timedelta(minutes=minutes)
    pattern, _, rounds = pattern.partition(",")
    api = Api(pattern, ZoneInfo(zone), bool(rounds))
    row = place(start, length)
    for first_in, last_in in MEANINGS:
        bounds = Bounds(incremental(format=pattern, timezone=zone, start=first_in, end=last_in))
        low, high = api.bound(bounds.start(start)), api.bound(bounds.end(start + length))
        for one in (row, start + length - timedelta(microseconds=1)):
            assert passes(api.mark(one), low, high, first_in, last_in)
