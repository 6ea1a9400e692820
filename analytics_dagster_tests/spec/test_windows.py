"""Windows share no instant and miss none, in every time zone, over daylight-saving changes too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.spec import Partitions, Window, in_timezone, window_containing, windows_between

# Half and quarter hours, changes at midnight, at 00:01, of half an hour, and a day that does not exist.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "Pacific/Apia",
)
Every = Literal["hour", "day", "week", "month"]
LENGTHS = {
    "hour": (timedelta(hours=1), timedelta(hours=1)),
    "day": (timedelta(hours=22), timedelta(hours=26)),
    "week": (timedelta(days=5, hours=22), timedelta(days=7, hours=2)),
    "month": (timedelta(days=27, hours=22), timedelta(days=31, hours=2)),
}
CHANGES = (
    datetime(2024, 3, 31, 1, tzinfo=UTC),  # Berlin
    datetime(2024, 10, 27, 1, tzinfo=UTC),  # Berlin
    datetime(2018, 11, 4, 3, tzinfo=UTC),  # Sao Paulo
    datetime(2010, 11, 7, 2, 31, tzinfo=UTC),  # St. John's
    datetime(2024, 11, 3, 5, tzinfo=UTC),  # Havana
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia
)
instants = st.one_of(
    st.integers(631152000, 2051222400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.builds(
        datetime.__add__,
        st.sampled_from(CHANGES),
        st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
    ),
)


def partitions(every: Every, zone: str, start: str = "1990-01-01") -> Partitions:
    return Partitions(every=every, start=date.fromisoformat(start), timezone=zone)


@settings(deadline=None, max_examples=300)
@given(
    every=st.sampled_from(("hour", "day", "week", "month")),
    zone=st.sampled_from(ZONES),
    instant=instants,
    count=st.integers(1, 40),
)
def test_windows_tile_any_range(every: Every, zone: str, instant: datetime, count: int) -> None:
    parts = partitions(every, zone)
    end = instant + LENGTHS[every][0] * count
    found = windows_between(parts, instant, end)
    assert instant in found[0]
    assert found[-1].start < end <= found[-1].end
    assert all(one.end == two.start for one, two in pairwise(found))
    shortest, longest = LENGTHS[every]
    assert all(shortest <= window.end - window.start <= longest for window in found)
    for window in found:
        assert window_containing(parts, window.start) == window
        assert window_containing(parts, window.end - timedelta(microseconds=1)) == window
    assert windows_between(parts, found[0].start, found[-1].end) == found


@settings(deadline=None)
@given(zone=st.sampled_from(ZONES), instant=instants)
def test_a_day_starts_at_its_first_instant(zone: str, instant: datetime) -> None:
    window = window_containing(partitions("day", zone), instant)
    local = window.start.astimezone(ZoneInfo(zone))
    just_before = (window.start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    assert local.date() > just_before.date() or local.time().isoformat() == "00:00:00"


@pytest.mark.parametrize(
    ("every", "zone", "start", "end", "hours"),
    [
        ("day", "Europe/Berlin", "2024-03-31", "2024-04-01", [23]),
        ("day", "Europe/Berlin", "2024-10-27", "2024-10-28", [25]),
        ("day", "America/Sao_Paulo", "2018-11-03", "2018-11-05", [24, 23]),
        ("day", "Pacific/Apia", "2011-12-29", "2012-01-01", [24, 24]),
        ("day", "Australia/Lord_Howe", "2024-04-07", "2024-04-08", [24.5]),
        ("week", "Europe/Berlin", "2024-03-25", "2024-04-01", [167]),
        ("month", "Europe/Berlin", "2024-02-01", "2024-04-01", [29 * 24, 31 * 24 - 1]),
        ("hour", "Europe/Berlin", "2024-10-27", "2024-10-28", [1] * 25),
        ("hour", "Europe/Berlin", "2024-03-31", "2024-04-01", [1] * 23),
    ],
)
def test_known_changes(every: Every, zone: str, start: str, end: str, hours: list[float]) -> None:
    bounds = (in_timezone(date.fromisoformat(start), zone), in_timezone(date.fromisoformat(end), zone))
    found = windows_between(partitions(every, zone), *bounds)
    assert [(window.end - window.start) / timedelta(hours=1) for window in found] == hours


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    parts = partitions("hour", "Europe/Berlin")
    zone = ZoneInfo("Europe/Berlin")
    first, second = (
        window_containing(parts, datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=fold)) for fold in (0, 1)
    )
    assert first != second
    assert first.end == second.start
    assert str(first) == "2024-10-27T02:00:00+02:00/2024-10-27T02:00:00+01:00"


def test_an_hour_that_comes_again_after_midnight_belongs_to_the_new_day() -> None:
    """In St. John's, clocks went back from 00:01 to 23:01 of the day before."""
    window = window_containing(partitions("day", "America/St_Johns"), datetime(2010, 11, 7, 3, tzinfo=UTC))
    assert window.start == datetime(2010, 11, 7, 2, 30, tzinfo=UTC)
    assert window.end - window.start == timedelta(hours=25)


def test_weeks_start_on_monday() -> None:
    window = window_containing(partitions("week", "UTC"), datetime(2024, 1, 7, 23, tzinfo=UTC))
    assert str(window) == "2024-01-01T00:00:00+00:00/2024-01-08T00:00:00+00:00"


def test_an_empty_range_has_no_windows() -> None:
    instant = datetime(2024, 1, 1, tzinfo=UTC)
    assert windows_between(partitions("day", "UTC"), instant, instant) == []


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    assert window.start in window
    assert window.end not in window


def test_a_window_needs_offsets_and_time() -> None:
    with pytest.raises(ValueError, match="without an offset"):
        Window(datetime(2024, 1, 1), datetime(2024, 1, 2))  # noqa: DTZ001
    with pytest.raises(ValueError, match="must end after it starts"):
        Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
