"""An API file's `partitions` as Dagster's, and a run's partitions as windows."""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from analytics_dagster.spec import Partitions, Window


def partitions_def(partitions: Partitions) -> dg.TimeWindowPartitionsDefinition:
    """Dagster's definition of the windows; partition keys are local start times."""
    start = partitions.first
    match partitions.every:
        case "hour":
            return dg.HourlyPartitionsDefinition(start, timezone=partitions.timezone)
        case "day":
            return dg.DailyPartitionsDefinition(start, timezone=partitions.timezone)
        case "week":  # weeks of Dagster start on Sunday where nothing is said
            return dg.WeeklyPartitionsDefinition(start, timezone=partitions.timezone, day_offset=1)
        case "month":
            return dg.MonthlyPartitionsDefinition(start, timezone=partitions.timezone)


def window_of(definition: dg.TimeWindowPartitionsDefinition, partition_key: str) -> Window:
    """The window of a partition, in instants."""
    found = definition.time_window_for_partition_key(partition_key)
    return Window(found.start, found.end)


def last_partition_keys(
    definition: dg.TimeWindowPartitionsDefinition, count: int, now: datetime
) -> list[str]:
    """The keys of the last windows that are over, the oldest first.

    Args:
        definition: The partitions.
        count: How many windows at most.
        now: The instant by which they are over.
    """
    keys: list[str] = []
    with dg.partition_loading_context(effective_dt=now):
        window = definition.get_last_partition_window()
        while window is not None and len(keys) < count:
            keys.insert(0, definition.get_partition_key_range_for_time_window(window).start)
            window = definition.get_prev_partition_window(window.start)
    return keys
