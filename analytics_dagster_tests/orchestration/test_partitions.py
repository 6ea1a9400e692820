"""A person who writes `partitions` gets exactly these windows in Dagster."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.orchestration.partitions import last_partition_keys, partitions_def, window_of
from analytics_dagster.spec import Partitions, windows_between

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


@settings(max_examples=40, deadline=None)
@given(
    every=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(ZONES),
    days=st.integers(min_value=0, max_value=400),
)
def test_dagster_has_the_windows_that_the_file_means(every: str, zone: str, days: int) -> None:
    first = {"week": "2024-01-01", "month": "2024-01-01"}.get(every, "2024-02-29")
    partitions = Partitions.model_validate({"every": every, "start": first, "timezone": zone})
    definition = partitions_def(partitions)
    around = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=days)
    with dg.partition_loading_context(effective_dt=around + timedelta(days=70)):
        keys = definition.get_partition_keys()
    windows = [window_of(definition, key) for key in keys]
    assert len(set(keys)) == len(keys)
    assert windows[0].start == partitions.first
    assert all(before.end == after.start for before, after in pairwise(windows))
    assert windows == windows_between(partitions, windows[0].start, windows[-1].end)


@pytest.mark.parametrize(
    ("now", "count", "expected"),
    [
        ("2024-03-05T00:00:00", 3, ["2024-03-02", "2024-03-03", "2024-03-04"]),
        ("2024-03-04T23:59:59", 1, ["2024-03-03"]),
        ("2024-01-03T12:00:00", 5, ["2024-01-01", "2024-01-02"]),
        ("2024-01-01T12:00:00", 5, []),
    ],
)
def test_only_windows_that_are_over_are_due(now: str, count: int, expected: list[str]) -> None:
    definition = partitions_def(Partitions.model_validate({"every": "day", "start": "2024-01-01"}))
    assert last_partition_keys(definition, count, datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected
