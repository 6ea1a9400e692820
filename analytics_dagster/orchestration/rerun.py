"""The sensor that asks again for what failed runs did not load: when, how often, and how it says that it gave up."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import dagster as dg
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunRequest

from analytics_dagster.orchestration.failed_run import (
    FAILURE_KIND,
    RERUN_OF,
    FailedRun,
    Partitions,
    read_failed_run,
    still_missing,
)
from analytics_dagster.spec.api import Rerun

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

__all__ = ["FAILURE_KIND", "GAVE_UP", "RERUN", "RERUN_OF", "SETTLED", "build_rerun_sensor"]

GAVE_UP = "analytics_dagster/rerun_gave_up"
"""Tag on a failed run: which assets are not asked for again, and why."""

SETTLED = "analytics_dagster/rerun_settled"
"""Tag on a failed run that needs no further look: its own id, since Dagster copies tags when a person re-executes."""

PAGE = 100  # runs read at once
TICK_SECONDS = 20.0  # a third of what Dagster allows a tick by default; the next tick goes on from there
SLACK_SECONDS = 600.0  # clocks that differ, and failures that are stored some time after they happened


@dataclass
class _Cursor:
    """How far the sensor has looked, in seconds since 1970.

    Every failed run that was last updated before `since` is settled. A pass looks at all those updated later, in as
    many ticks as it takes, and then moves `since` up to `SLACK_SECONDS` before its own start, or before the oldest
    run that still waits: the look-back is as long as the longest delay, never the instance's history. What a pass
    meets twice is recognised by its tags, its run key and the runs after it, so nothing rests on exact times.
    """

    first: float  # when the sensor was first started: what had failed by then is left alone
    since: float
    started: float | None = None  # the pass under way
    oldest: float = 0.0
    after: str | None = None  # the last run that it looked at


def build_rerun_sensor(
    policies: Mapping[AssetKey, Rerun],
    jobs: Mapping[AssetKey, UnresolvedAssetJobDefinition],
    *,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """Return the sensor that reruns failed runs of some assets, running by default.

    Args:
        policies: when, and how often, each asset is asked for again.
        jobs: the job that loads each of these assets; all assets of a job have one partitions definition.
        minimum_interval_seconds: the time between two looks.
    """
    names = {key: job.name for key, job in jobs.items()}

    @dg.sensor(
        name="rerun_failures",
        description="Asks again for what failed runs did not load, after the delays that the API's file gives.",
        jobs=list({job.name: job for job in jobs.values()}.values()),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def rerun_failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = time.time()
        start = context.last_sensor_start_time or now
        cursor = _Cursor(**json.loads(context.cursor)) if context.cursor else _Cursor(start, start)
        if cursor.started is None:
            cursor.started = cursor.oldest = now
        requests: list[RunRequest] = []
        deadline = time.monotonic() + TICK_SECONDS
        for record in _failed_runs(context.instance, cursor):
            if _ended(record) >= cursor.first:
                asked, settled = _look_at(context, record, policies, names, now)
                requests += asked
                if not settled:
                    cursor.oldest = min(cursor.oldest, record.update_timestamp.timestamp())
            cursor.after = record.dagster_run.run_id
            if time.monotonic() > deadline:
                break
        else:
            since = min(cursor.started, cursor.oldest) - SLACK_SECONDS
            cursor = _Cursor(cursor.first, since)
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(asdict(cursor)))

    return rerun_failures


def _failed_runs(instance: DagsterInstance, cursor: _Cursor) -> Iterator[RunRecord]:
    updated_after = datetime.fromtimestamp(cursor.since, UTC)
    filters = dg.RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=updated_after)
    after = cursor.after
    while True:
        if after and not instance.get_run_by_id(after):
            after = None  # it was deleted, and with it the place where the next page starts
        page = instance.get_run_records(filters, limit=PAGE, cursor=after, ascending=True)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].dagster_run.run_id


def _ended(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _look_at(
    context: dg.SensorEvaluationContext,
    record: RunRecord,
    policies: Mapping[AssetKey, Rerun],
    jobs: Mapping[AssetKey, str],
    now: float,
) -> tuple[list[RunRequest], bool]:
    """Return the reruns that a failed run needs now, and whether nothing is left to do for it.

    A run that is asked for again is settled only once a later look finds the rerun in the instance, so a tick that
    dies on the way loses nothing; until then the same run key is asked for, which Dagster starts once.
    """
    run = record.dagster_run
    if (
        run.tags.get(SETTLED) == run.run_id
        # Dagster's own retry is a later run, looked at itself. If it is called off, this tag changes, and with it
        # the time of the run's last update, which brings the run before a later pass.
        or run.tags.get("dagster/will_retry") == "true"
        or (run.asset_selection is not None and not run.asset_selection & policies.keys())
    ):
        return [], True
    failed = read_failed_run(context.instance, run, policies.keys())
    if not failed.planned:
        return [], True
    if failed.cancelled:
        _settle(context, run, {})
        return [], True

    attempt = _attempt(run)
    hopeless = _hopeless(context, failed, policies, attempt)
    waiting = {
        key
        for key in failed.planned.keys() - hopeless.keys()
        if now < _ended(record) + _delay(policies[key], attempt)
    }
    if waiting and not failed.planned.keys() - waiting - hopeless.keys():
        return [], False
    candidates = {key: partitions for key, partitions in failed.planned.items() if key not in waiting}
    missing = still_missing(context.instance, run, candidates)
    given_up = {key: reason for key, reason in hopeless.items() if key in missing}
    due = {key: partitions for key, partitions in missing.items() if key not in hopeless}
    requests: list[RunRequest] = []
    for job, keys, partitions in _groups(failed, due, jobs):
        try:
            requests.append(_request(context, run, job, keys, partitions))
        except dg.DagsterError as error:
            given_up |= dict.fromkeys(keys, f"cannot be asked for again: {str(error).splitlines()[0]}")
    if requests or waiting:
        return requests, False
    _settle(context, run, given_up)
    return [], True


def _attempt(run: DagsterRun) -> int:
    """Return how many reruns led to this run. One that a person re-executed carries the tags of the old one, but
    another parent, and starts anew; Dagster's own retry of a rerun is still that rerun."""
    own = run.tags.get(RERUN_OF) == run.tags.get("dagster/parent_run_id")
    return int(run.tags.get(RERUN, 0)) if own or "dagster/retry_number" in run.tags else 0


def _delay(policy: Rerun, attempt: int) -> float:
    return policy.delays[min(attempt, len(policy.delays) - 1)].total_seconds() if policy.delays else 0.0


def _hopeless(
    context: dg.SensorEvaluationContext, failed: FailedRun, policies: Mapping[AssetKey, Rerun], attempt: int
) -> dict[AssetKey, str]:
    """Return the planned assets that are not asked for again, and why."""
    hopeless: dict[AssetKey, str] = {}
    for key in failed.planned:
        limit = policies[key].max_reruns
        if attempt >= limit:
            hopeless[key] = (
                f"{attempt} of {limit} reruns failed" if limit else "reruns are off (max_reruns: 0)"
            )
    for key, reason in failed.permanent.items():
        hopeless[key] = reason
        selection = dg.AssetSelection.assets(key).downstream(include_self=False)
        for below in selection.resolve(_repository(context).asset_graph) & failed.planned.keys():
            hopeless.setdefault(below, f"needs {key.to_user_string()}, which {reason}")
    return hopeless


def _settle(context: dg.SensorEvaluationContext, run: DagsterRun, given_up: Mapping[AssetKey, str]) -> None:
    """Tag a run that needs no further look, and say so loudly if something of it is not asked for again."""
    tags = {SETTLED: run.run_id}
    if given_up:
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for key, reason in sorted(given_up.items()):
            by_reason[reason].append(key.to_user_string())
        tags[GAVE_UP] = "; ".join(f"{', '.join(keys)}: {reason}" for reason, keys in by_reason.items())
        context.log.error(
            f"Run {run.run_id} of job {run.job_name} failed and is not rerun. {tags[GAVE_UP]}."
            " See its log for the cause, remove it, and re-execute the run or materialize these assets."
        )
    context.instance.add_run_tags(run.run_id, tags)


def _repository(context: dg.SensorEvaluationContext) -> dg.RepositoryDefinition:
    return cast("dg.RepositoryDefinition", context.repository_def)  # the daemon evaluates no sensor without
