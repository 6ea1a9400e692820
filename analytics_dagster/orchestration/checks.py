"""The check of each asset that the rows which a load read are in the destination."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from analytics_dagster.loading.arrival import Arrival, count_arrived
from analytics_dagster.loading.load import PreparedLoad
from analytics_dagster.orchestration.metadata import markdown_table
from analytics_dagster.spec import ApiFile, Window

NAME = "rows_arrived"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """The verdict on what one step of a run committed; `arrival` is None where nothing could be counted.

    `is_lost` says that rows are missing or there wrongly, not only that nobody knows.
    """

    windows: Sequence[Window]
    arrival: Arrival | None
    problem: str | None

    @property
    def is_lost(self) -> bool:
        return bool(self.arrival and self.arrival.problem)


def check_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of an asset."""
    return dg.AssetCheckSpec(
        NAME,
        asset=key,
        description="After a load: each row that was read is in the destination, none is there twice by its"
        " primary key, and none is left that the load should have replaced. Rows are counted, not compared;"
        " `analytics-dagster verify` reads the API again and compares them.",
    )


def check_step(prepared: PreparedLoad, windows: Sequence[Window], *, full_refresh: bool) -> Checked:
    """Count what a step committed; to be asked before what it staged is dropped.

    Args:
        prepared: The step's load, after it was run.
        windows: The windows that it read.
        full_refresh: Whether it was to replace all rows.
    """
    try:
        arrival = count_arrived(prepared, windows, full_refresh=full_refresh)
    except Exception as error:  # noqa: BLE001 - the rows are committed; a run that fails would load them again
        _log.debug("Rows could not be counted: %s", error)
        return Checked(windows, None, f"the rows could not be counted: {type(error).__name__}")
    problem = arrival.problem or arrival.doubt
    if problem:
        _log.warning("Check %s: %s.", NAME, problem)  # also if a later step fails the run
    return Checked(windows, arrival, problem)


def check_result(key: dg.AssetKey, file: ApiFile, steps: Sequence[Checked]) -> dg.AssetCheckResult:
    """The verdict on a run, with those on its steps.

    Args:
        key: The asset.
        file: Its API.
        steps: What the run committed.
    """
    failed = [step for step in steps if step.problem]
    lines: list[dict[str, object]] = []
    for step in steps:
        line: dict[str, object] = {"windows": _windows(step) or "all"}
        if found := step.arrival:
            line |= {"read": found.read, "arrived": found.stored}
            line |= {"expected in the table": found.expected, "there": found.there} if found.expected else {}
        lines.append({**line, "verdict": step.problem or "as expected"})
    metadata: dict[str, Any] = {
        "steps": dg.MetadataValue.md(markdown_table(lines)),
        "rows_read": dg.MetadataValue.int(sum(step.arrival.read for step in steps if step.arrival)),
        "rows_arrived": dg.MetadataValue.int(sum(step.arrival.stored for step in steps if step.arrival)),
    }
    api, resource = key.path
    description = "Each row that was read is in the destination."
    if failed:
        told = "; ".join(f"{_windows(step)}: {step.problem}".removeprefix(": ") for step in failed)
        description = (
            f"{told}. To see which rows differ: analytics-dagster verify {api} --resource {resource}"
            f"{_options(failed)}. To load them again, materialize the asset. ({file.path})"
        )
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=key,
        check_name=NAME,
        severity=dg.AssetCheckSeverity.ERROR
        if any(step.is_lost for step in failed)
        else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _windows(step: Checked) -> str:
    return str(Window(step.windows[0].start, step.windows[-1].end)) if step.windows else ""


def _options(failed: Sequence[Checked]) -> str:
    if not failed[0].windows:
        return ""
    start, end = failed[0].windows[0].start, failed[-1].windows[-1].end
    return f" --from {start.isoformat()} --to {end.isoformat()}"
