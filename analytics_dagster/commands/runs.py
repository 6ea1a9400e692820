"""Dagster runs in this process, watched: what each did with each of its resources."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
from rich.console import Console

from analytics_dagster.commands.progress import LoadProgress
from analytics_dagster.commands.terminal import CommandError
from analytics_dagster.loading.source import schema_name
from analytics_dagster.orchestration.assets import asset_key
from analytics_dagster.orchestration.jobs import RANGE_END, RANGE_START, LoadJob
from analytics_dagster.orchestration.materialize import watcher
from analytics_dagster.orchestration.metadata import SCHEMA_CHANGES
from analytics_dagster.orchestration.partitions import partitions_def
from analytics_dagster.spec import ApiFile, Resource, Window

# Progress and failures are shown by ourselves; the run's log in the instance has all of it.
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class PlannedRun:
    """One Dagster run of a job, or of some of its resources; `windows` are neighbours."""

    job: LoadJob
    resources: Sequence[Resource]
    windows: Sequence[Window] = ()
    full_refresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a run did with one resource.

    Windows and rows are those that were committed; requests and retries are all that were sent. `seconds`
    is None, and `problem` says why, where the resource failed. `changes` are the tables and columns that were
    added to those of earlier runs.
    """

    file: ApiFile
    resource: Resource
    windows: int
    rows: int
    requests: int
    retries: int
    seconds: float | None
    problem: str | None
    changes: list[str]


@contextmanager
def current_instance() -> Generator[tuple[dg.DagsterInstance, bool]]:
    """The instance of `DAGSTER_HOME`, else one that forgets; and whether it remembers.

    Raises:
        CommandError: If the instance of `DAGSTER_HOME` cannot be opened.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        with forgetful_instance() as instance:
            yield instance, False
        return
    try:
        instance = dg.DagsterInstance.get()
    except Exception as error:
        raise CommandError(f"DAGSTER_HOME is {home}, but no instance can be opened there: {error}") from error
    with instance:
        yield instance, True


def forgetful_instance() -> dg.DagsterInstance:
    """An instance in memory."""
    return dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}})


def execute(
    planned: PlannedRun, definitions: dg.Definitions, instance: dg.DagsterInstance, console: Console
) -> list[Outcome]:
    """Run a job in this process.

    Args:
        planned: What to run.
        definitions: What has the job.
        instance: Records the run.
        console: Where progress is shown.

    Returns:
        What became of each resource.

    Raises:
        KeyboardInterrupt: If a person interrupted the run; the instance has it as cancelled.
    """
    file, keys = planned.job.file, {asset_key(planned.job.file, one): one for one in planned.resources}
    config = dict(_QUIET)
    if planned.full_refresh and not planned.windows:
        ops = (schema_name(file.api, resource) for resource in planned.resources)
        config["ops"] = {op: {"config": {"full_refresh": True}} for op in ops}
    job = definitions.resolve_job_def(planned.job.name)
    progress = LoadProgress(console, planned.job.partitions, planned.windows)
    watching = watcher.set(progress)
    try:
        with _interrupts() as interrupted, progress:
            result = job.execute_in_process(
                run_config=config,
                instance=instance,
                asset_selection=list(keys),
                raise_on_error=False,
                **_partitions(planned),
            )
            if interrupted():
                if not result.success:
                    _mark_cancelled(instance, result.run_id)
                raise KeyboardInterrupt
    finally:
        watcher.reset(watching)
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            told = f"{check.asset_key.to_user_string()}: {check.description}"
            console.print(told, style="yellow", markup=False, soft_wrap=True)
    return [_outcome(file, resource, result, progress) for resource in keys.values()]


def _partitions(planned: PlannedRun) -> dict[str, Any]:
    """The arguments that say which partitions are run: one, or a range as Dagster's UI would ask for it."""
    if planned.job.partitions is None:
        return {}
    first, last = planned.windows[0], planned.windows[-1]
    found = partitions_def(planned.job.partitions).get_partition_key_range_for_time_window(
        dg.TimeWindow(first.start, last.end)
    )
    if found.start == found.end:
        return {"partition_key": found.start}
    return {"tags": {RANGE_START: found.start, RANGE_END: found.end}}


def _outcome(
    file: ApiFile, resource: Resource, result: dg.ExecuteInProcessResult, progress: LoadProgress
) -> Outcome:
    key, step = asset_key(file, resource), schema_name(file.api, resource)
    rows: dict[str | None, int] = {}
    changes: dict[str, None] = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key == key:
            count = event.materialization.metadata.get("rows_loaded")
            rows[event.partition] = cast("int", count.value) if count else 0
            added = event.materialization.metadata.get(SCHEMA_CHANGES)
            changes |= dict.fromkeys(cast("list[str]", added.value) if added else ())
    seconds, problem = None, "The run ended before this resource was read."
    for event in result.all_events:
        if event.step_key != step:
            continue
        if event.is_step_success:
            seconds, problem = event.step_success_data.duration_ms / 1000, None
        elif event.is_step_failure:
            failure = event.step_failure_data
            ours = failure.user_failure_data and failure.user_failure_data.description
            problem = ours or (failure.error.message.strip() if failure.error else problem)
    meters = progress.meters.get(key, [])
    return Outcome(
        file,
        resource,
        windows=len(rows) if resource.partitions else 0,
        rows=sum(rows.values()),
        requests=sum(meter.requests for meter in meters),
        retries=sum(meter.retries for meter in meters),
        seconds=seconds,
        problem=problem,
        changes=list(changes),
    )


@contextmanager
def _interrupts() -> Generator[Callable[[], bool]]:
    """Tells whether SIGINT or SIGTERM came, whatever handlers Dagster and dlt set meanwhile."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def interrupted() -> bool:
        try:
            return bool({signal.SIGINT, signal.SIGTERM} & {*reader.recv(64)})
        except BlockingIOError:
            return False

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()


def _mark_cancelled(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that a person ended the run; Dagster calls an interrupted run failed, which would be rerun."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceling(run, "Interrupted on the command line.")
    instance.report_run_canceled(run, "Interrupted on the command line.")
