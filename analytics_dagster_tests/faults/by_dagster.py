"""Loads that Dagster runs, in an instance on disk, and what that instance then says was materialized."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from analytics_dagster.loading.destination import Destination
from analytics_dagster.orchestration.assets import asset_key
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.orchestration.jobs import RANGE_END, RANGE_START
from analytics_dagster.orchestration.partitions import partitions_def
from analytics_dagster.orchestration.resources import DestinationResource
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.faults.history import Load

_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def materialize(file: ApiFile, destination: Destination, loads: Sequence[Load], place: Path) -> str | None:
    """Run one job for neighbouring windows of an endpoint, or all of one without.

    Returns:
        Why it failed; None if all went well.
    """
    to = DestinationResource(type=destination.type, credentials=destination.credentials or "")
    definitions = build_defs([file], {"destination": to})
    with _instance(place) as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            run_config=_QUIET,
            asset_selection=[_key(file, loads)],
            tags=_tags(file, loads),
            raise_on_error=False,
        )
    if result.success:
        return None
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    told = [failure.user_failure_data for failure in failures]
    return "\n".join(one.description or "" for one in told if one) or f"not explained: {failures!r:.2000}"


def materialized(file: ApiFile, loads: Sequence[Load], place: Path) -> list[bool]:
    """For each load, whether the instance says that it was done."""
    with _instance(place) as instance:
        key = _key(file, loads)
        if loads[0].window is None:
            return [instance.get_latest_materialization_event(key) is not None]
        recorded = instance.get_materialized_partitions(key)
        return [_keys(file, [load]).start in recorded for load in loads]


def _instance(place: Path) -> dg.DagsterInstance:
    place.mkdir(exist_ok=True)
    return dg.DagsterInstance.local_temp(str(place), overrides={"telemetry": {"enabled": False}})


def _key(file: ApiFile, loads: Sequence[Load]) -> dg.AssetKey:
    return asset_key(file, next(one for one in file.api.resources if one.name == loads[0].endpoint))


def _keys(file: ApiFile, loads: Sequence[Load]) -> dg.PartitionKeyRange:
    partitions = next(one.partitions for one in file.api.resources if one.name == loads[0].endpoint)
    first, last = loads[0].window, loads[-1].window
    assert partitions is not None
    assert first is not None
    assert last is not None
    window = dg.TimeWindow(first.start, last.end)
    return partitions_def(partitions).get_partition_key_range_for_time_window(window)


def _tags(file: ApiFile, loads: Sequence[Load]) -> dict[str, str]:
    if loads[0].window is None:
        return {}
    keys = _keys(file, loads)
    return {RANGE_START: keys.start, RANGE_END: keys.end}
