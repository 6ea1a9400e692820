"""What a Dagster run does with one resource: load its windows step by step, and record what was committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg

from analytics_dagster.loading.load import LoadResult, prepare_load, until_stable
from analytics_dagster.loading.steps import step_size
from analytics_dagster.orchestration.checks import NAME, Checked, check_result, check_step
from analytics_dagster.orchestration.integration import DagsterDltResource, DagsterDltTranslator
from analytics_dagster.orchestration.metadata import (
    changes_metadata,
    counted_metadata,
    load_metadata,
    window_metadata,
)
from analytics_dagster.orchestration.partitions import window_of
from analytics_dagster.orchestration.rerun import FAILURE_KIND, RENEWED
from analytics_dagster.orchestration.resources import Credentials, DestinationResource
from analytics_dagster.reading.errors import LoadError, QuotaError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile, Window

_QUIET = 5.0  # seconds between two lines of progress

Watcher = Callable[[dg.AssetKey, Sequence[Window], Meter], None]
watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Who is told of each page, in the process of the run; the command line draws its progress from it."""


class LoadConfig(dg.Config):
    """What a person may ask of a run.

    `full_refresh` reads a resource without partitions from the start and replaces what is there.
    """

    full_refresh: bool = False


def materialize(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    file: ApiFile,
    resource_name: str,
    translator: DagsterDltTranslator,
    credentials: Credentials,
    destination: DestinationResource,
    dlt: DagsterDltResource,
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Load the partitions of a run, or all of a resource without partitions.

    A range is read in few large steps. What a step committed is recorded as materialized at once, so that
    a later failure does not repeat it.

    Raises:
        dagster.Failure: If a step fails, or only the check is asked for; its metadata say whether trying
            again can help.
    """
    if not context.selected_asset_keys:
        raise dg.Failure(
            f"The check {NAME} looks at a load while it is under way: materialize the asset. To compare the"
            " destination with the API without a load, run `analytics-dagster verify`.",
            metadata={FAILURE_KIND: "permanent"},
            allow_retries=False,
        )
    key = context.asset_key
    keys = (
        list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []
    )
    definition = context.assets_def.partitions_def
    windows = [window_of(cast("dg.TimeWindowPartitionsDefinition", definition), name) for name in keys]
    whole = Window(windows[0].start, windows[-1].end) if windows else None
    steps: list[_Step] = []
    done = 0
    checks = context.selected_asset_check_keys

    def load(step: list[Window]) -> _Step:
        if step:
            context.log.info(f"Reading {Window(step[0].start, step[-1].end)}")
        with _logged(context.log) as progress:
            return until_stable(lambda: load_once(step, progress))

    def load_once(step: list[Window], progress: Watcher) -> _Step:
        with prepare_load(
            file,
            resource_name,
            step,
            destination.destination(),
            run=whole,
            full_refresh=config.full_refresh,
            auth=credentials.auth(),
            values=credentials.variables(),
            on_change=lambda meter: progress(key, step, meter),
        ) as prepared:
            events = dlt.run(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                context=context,
                dlt_source=prepared.source,
                dlt_pipeline=prepared.pipeline,
                dagster_dlt_translator=translator,
                **prepared.options,
            )
            [event] = cast("Any", events)  # one source, one resource, one event
            result = prepared.result()
            checked = check_step(prepared, step, full_refresh=config.full_refresh) if checks else None
            metadata = load_metadata(event, result) | counted_metadata(step)
            return _Step(step, result, metadata, checked)

    try:
        if not windows:
            steps.append(load([]))
        while done < len(windows):
            size = step_size(len(steps[-1].windows), steps[-1].result.rows) if steps else 1
            step = load(windows[done : done + size])
            steps.append(step)
            committed = zip(keys[done:], step.windows, step.result.counts, strict=False)
            done += len(step.windows)
            for name, window, rows in committed:
                own = window_metadata(window, rows)
                if done < len(windows):
                    context.log_event(
                        dg.AssetMaterialization(key, partition=name, metadata={**step.metadata, **own})
                    )
                context.add_asset_metadata(own, asset_key=key, partition_key=name)
    except LoadError as error:
        metadata: dict[str, Any] = {FAILURE_KIND: "permanent" if error.permanent else "transient"}
        renewed = error.renewed if isinstance(error, QuotaError) else None
        if renewed is not None:
            metadata[RENEWED] = dg.MetadataValue.timestamp(renewed)
        raise dg.Failure(
            description=str(error), metadata=metadata, allow_retries=not (error.permanent or renewed)
        ) from None
    yield dg.MaterializeResult(asset_key=key, metadata=_total(steps))
    if checks:
        yield check_result(key, file, [step.checked for step in steps if step.checked])


@dataclass(frozen=True)
class _Step:
    """Neighbouring windows that were read and committed together; none without partitions."""

    windows: Sequence[Window]
    result: LoadResult
    metadata: dict[str, Any]
    checked: Checked | None


def _total(steps: Sequence[_Step]) -> dict[str, Any]:
    """The metadata of the whole run: sums, and what the last step says."""
    results = [step.result for step in steps]
    metadata = dict(steps[-1].metadata)
    for name in ("requests", "retries", "pages", "bytes"):
        metadata[name] = dg.MetadataValue.int(sum(getattr(result, name) for result in results))
    metadata["rows_by_columns"] = dg.MetadataValue.int(sum(result.columnar_rows for result in results))
    if "rows_stated" in metadata:
        metadata["rows_stated"] = dg.MetadataValue.int(sum(result.stated or 0 for result in results))
    metadata |= counted_metadata([window for step in steps for window in step.windows])
    metadata |= changes_metadata([change for result in results for change in result.schema_changes])
    metadata["seconds"] = dg.MetadataValue.float(round(sum(result.seconds for result in results), 3))
    if steps[-1].windows:
        del metadata["rows_loaded"]  # each partition has its own
    return metadata


@contextmanager
def _logged(log: dg.DagsterLogManager) -> Generator[Watcher]:
    """Send progress and our own log records to the run's log while a step is under way."""
    lock = threading.Lock()
    last = time.monotonic()
    waiting: str | None = None

    def progress(key: dg.AssetKey, step: Sequence[Window], meter: Meter) -> None:
        nonlocal last, waiting
        if (watch := watching) is not None:
            watch(key, step, meter)
        with lock:
            if meter.waiting != waiting:
                waiting = meter.waiting
                if waiting:
                    log.warning(waiting)
            elif time.monotonic() - last > _QUIET:
                last = time.monotonic()
                log.info(f"{meter.rows:,} rows in {meter.pages:,} pages so far ({meter.bytes:,} bytes)")

    watching = watcher.get()
    handler = _ToRunLog(log)
    ours = logging.getLogger("analytics_dagster")
    ours.addHandler(handler)
    try:
        yield progress
    finally:
        ours.removeHandler(handler)


class _ToRunLog(logging.Handler):
    """Shows what our modules log, such as that they wait for a DuckDB file, in the run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, record.getMessage())
