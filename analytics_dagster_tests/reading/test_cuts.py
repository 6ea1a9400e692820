"""Where windows are cut: on round instants, all of the window, and no part longer than asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.spec import Incremental, Window

ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana"]


def cuts(**options: Any) -> Cuts:
    return Cuts(Incremental.model_validate({"cursor_path": "t", **options}))


def hours(*numbers: float) -> list[datetime]:
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in numbers]


def window(first: float, last: float) -> Window:
    return Window(*hours(first, last))


@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2024, 12, 1)),  # noqa: DTZ001 - UTC below
    length=st.timedeltas(timedelta(minutes=1), timedelta(days=9)),
    step=st.timedeltas(timedelta(hours=1), timedelta(days=9)),
    pattern=st.sampled_from(["iso", "date", "epoch", "%Y%m%dT%H", "%Y-%m-%d %H:%M"]),
)
@settings(deadline=None)
def test_steps_are_the_whole_window_and_no_longer_than_asked(
    zone: str, start: datetime, length: timedelta, step: timedelta, pattern: str
) -> None:
    start = start.replace(tzinfo=UTC)
    parts = list(
        cuts(format=pattern, timezone=zone).steps(Window(start, start + max(length, step / 9)), step)
    )
    assert (parts[0].start, parts[-1].end) == (start, start + max(length, step / 9))
    assert all(part.end == later.start for part, later in pairwise(parts))
    unit = {"date": timedelta(hours=26), "%Y%m%dT%H": timedelta(hours=1.5)}.get(pattern, timedelta(minutes=1))
    assert all(part.end - part.start <= max(step, unit) for part in parts)
    finest = {"date": "%H:%M:%S.%f", "%Y%m%dT%H": "%M:%S.%f"}.get(pattern, "%S.%f")
    for part in parts[1:]:
        written = part.start.astimezone(ZoneInfo(zone)).strftime(finest)
        assert set(written) <= set("0:.") or zone == "America/Havana"  # where a day may begin at one


@pytest.mark.parametrize(
    ("options", "whole", "cut"),
    [
        ({}, (0, 24), 12),
        ({"format": "date"}, (0, 48), 24),
        ({"format": "date"}, (0, 24), None),
        ({"format": "%Y%m%dT%H", "min": "1h"}, (0, 2), 1),
        ({"format": "%Y%m%dT%H", "min": "1h"}, (0, 3), 1),
        ({"format": "%Y%m%dT%H", "min": "1h"}, (0, 1), None),
        ({"min": "6h"}, (0, 11), None),
        ({"min": "6h"}, (0, 12), 6),
    ],
)
def test_a_window_is_halved_down_to_the_least(
    options: dict[str, Any], whole: tuple[float, float], cut: float | None
) -> None:
    first, last = whole
    expected = None if cut is None else (window(first, cut), window(cut, last))
    assert cuts(**options).halves(window(first, last)) == expected
