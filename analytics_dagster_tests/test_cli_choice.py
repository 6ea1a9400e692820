"""What `--from`, `--to` and `--partition` mean: edges of windows in the partitions' own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from analytics_dagster.commands.choice import last_windows, window_of_key, windows_from_to
from analytics_dagster.commands.terminal import CommandError
from analytics_dagster.spec import Partitions

NOW = datetime(2024, 4, 2, 12, tzinfo=UTC)


def berlin(every: Any, start: date = date(2024, 1, 1)) -> Partitions:
    return Partitions(every=every, start=start, timezone="Europe/Berlin")


def texts(windows: Any) -> list[str]:
    return [str(window) for window in windows]


def test_from_is_included_and_to_is_not() -> None:
    assert texts(windows_from_to(berlin("day"), "2024-03-30", "2024-04-01", NOW)) == [
        "2024-03-30T00:00:00+01:00/2024-03-31T00:00:00+01:00",
        "2024-03-31T00:00:00+01:00/2024-04-01T00:00:00+02:00",
    ]


def test_a_time_with_an_offset_is_that_instant() -> None:
    [window] = windows_from_to(berlin("day"), "2024-03-29T23:00:00Z", "2024-03-31", NOW)
    assert str(window) == "2024-03-30T00:00:00+01:00/2024-03-31T00:00:00+01:00"


def test_without_from_it_begins_with_the_first_window_and_without_to_it_ends_with_the_last_that_is_over() -> (
    None
):
    assert texts(windows_from_to(berlin("month"), None, None, NOW)) == [
        "2024-01-01T00:00:00+01:00/2024-02-01T00:00:00+01:00",
        "2024-02-01T00:00:00+01:00/2024-03-01T00:00:00+01:00",
        "2024-03-01T00:00:00+01:00/2024-04-01T00:00:00+02:00",
    ]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-03-29T23:30", None, "--from 2024-03-29T23:30 is not the start of a window"),
        (None, "2024-04-03", "the last day that is over ends at 2024-04-02, in Europe/Berlin"),
        ("2024-04-02", None, "--from 2024-04-02 is in the future"),
        ("2024-03-02", "2024-03-02", "nothing lies from 2024-03-02 to 2024-03-02"),
        ("2024-03-02", "2024-03-01", "nothing lies from 2024-03-02 to 2024-03-01"),
        ("2023-12-31", None, "is before the first window, which starts at 2024-01-01"),
    ],
)
def test_what_is_no_range_of_windows_is_refused(start: str | None, end: str | None, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        windows_from_to(berlin("day"), start, end, NOW)
    assert message in str(refused.value)


def test_the_last_windows_are_those_that_are_over_and_not_before_the_start() -> None:
    assert texts(last_windows(berlin("day"), 2, NOW)) == [
        "2024-03-31T00:00:00+01:00/2024-04-01T00:00:00+02:00",
        "2024-04-01T00:00:00+02:00/2024-04-02T00:00:00+02:00",
    ]
    assert len(last_windows(berlin("day", date(2024, 4, 1)), 5, NOW)) == 1
    assert last_windows(berlin("day", date(2024, 4, 2)), 5, NOW) == []


def test_a_partition_is_named_by_the_key_that_dagster_shows() -> None:
    hour = window_of_key(berlin("hour"), "2024-03-30-05:00", NOW)
    assert str(hour) == "2024-03-30T05:00:00+01:00/2024-03-30T06:00:00+01:00"
    again = window_of_key(berlin("hour", date(2023, 10, 1)), "2023-10-29-02:00+0100", NOW)
    assert str(again) == "2023-10-29T02:00:00+01:00/2023-10-29T03:00:00+01:00"
    with pytest.raises(CommandError, match="is not over yet"):
        window_of_key(berlin("month"), "2024-04-01", NOW)


def test_each_of_two_hours_of_the_same_name_can_be_told() -> None:
    hours = windows_from_to(
        berlin("hour", date(2023, 10, 1)), "2023-10-29T02:00+02:00", "2023-10-29T02:00+01:00", NOW
    )
    assert texts(hours) == ["2023-10-29T02:00:00+02:00/2023-10-29T02:00:00+01:00"]
