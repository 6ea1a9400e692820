"""The sensor that asks again for what failed runs did not load: when, how often, and how it gives up."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import dagster as dg
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunRequest

from analytics_dagster.orchestration.failed_run import (
    FAILURE_KIND,
    RENEWED,
    RERUN,
    RERUN_OF,
    FailedRun,
    attempt_of,
    build_request,
    group,
    read_failed_run,
    still_missing,
)
from analytics_dagster.spec.api import Rerun

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

__all__ = ["FAILURE_KIND", "GAVE_UP", "RENEWED", "RERUN", "RERUN_OF", "SETTLED", "build_rerun_sensor"]

GAVE_UP = "analytics_dagster/rerun_gave_up"
"""Tag on a failed run: which assets are not asked for again, and why."""

SETTLED = "analytics_dagster/rerun_settled"
"""Tag on a failed run that needs no further look.

Its value is the run's own id, because Dagster copies tags to a run that a person re-executes.
"""

PAGE = 100  # runs read at once
TICK_SECONDS = 20.0  # a third of what Dagster allows a tick by default; the next one goes on from there
SLACK_SECONDS = 600.0  # for clocks that differ, and failures that are stored some time after they happened


@dataclass
class _Cursor:
    """How far the sensor has looked, in seconds since 1970.

    Every failed run that was last updated before `since` is settled. A pass looks at all those updated later,
    in as many ticks as it takes, and then moves `since` up to `SLACK_SECONDS` before its own start, or before
    the oldest run that still waits. So the look-back is about as long as the longest delay, however old the
    instance is. What passes see twice they know by its tags and by the runs that followed it: nothing hangs
    on exact times.
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
    """Return the sensor that reruns failed runs of some assets; it runs unless a person stops it.

    Args:
        policies: When, and how often, each asset is asked for again.
        jobs: The job that loads each of these assets; the assets of a job share their partitions definition.
        minimum_interval_seconds: The time between two looks.
    """
    job_names = {key: job.name for key, job in jobs.items()}

    def rerun_failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = time.time()
        start = context.last_sensor_start_time or now
        cursor = _Cursor(**json.loads(context.cursor)) if context.cursor else _Cursor(start, start)
        if cursor.started is None:
            cursor.started = cursor.oldest = now
        requests: list[RunRequest] = []
        deadline = time.monotonic() + TICK_SECONDS
        for record in _failed_runs(context.instance, cursor):
            if _ended(record) >= cursor.first and _may_concern(record.dagster_run, policies):
                asked, settled = _look_at(context, record, policies, job_names, now)
                requests += asked
                if not settled:
                    cursor.oldest = min(cursor.oldest, record.update_timestamp.timestamp())
            cursor.after = record.dagster_run.run_id
            if time.monotonic() > deadline:
                break
        else:
            cursor = _Cursor(cursor.first, min(cursor.started, cursor.oldest) - SLACK_SECONDS)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "No failed run is to be asked for again now.",
            cursor=json.dumps(asdict(cursor)),
        )

    return dg.SensorDefinition(
        name="rerun_failures",
        description="Asks again for what failed runs did not load, after the delays in the API's file.",
        evaluation_fn=rerun_failures,
        jobs=list({job.name: job for job in jobs.values()}.values()),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def _failed_runs(instance: DagsterInstance, cursor: _Cursor) -> Iterator[RunRecord]:
    updated_after = datetime.fromtimestamp(cursor.since, UTC)
    filters = dg.RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=updated_after)
    after = cursor.after
    while True:
        if after and not instance.get_run_by_id(after):
            after = None  # the run was deleted, and with it the place where the next page starts
        page = instance.get_run_records(filters, limit=PAGE, cursor=after, ascending=True)
        if not page:
            return
        yield from page
        after = page[-1].dagster_run.run_id


def _ended(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _may_concern(run: DagsterRun, policies: Mapping[AssetKey, Rerun]) -> bool:
    """Return False for most of the runs that need no look, from what is at hand."""
    if run.tags.get(SETTLED) == run.run_id:
        return False
    if run.tags.get("dagster/will_retry") == "true":
        # Dagster's retry is a later run, and looked at itself. If Dagster calls it off it changes this tag,
        # and that update brings the run before a later pass.
        return False
    # A run of a whole job has no selection, or an empty one.
    return not run.asset_selection or not run.asset_selection.isdisjoint(policies)


def _look_at(
    context: dg.SensorEvaluationContext,
    record: RunRecord,
    policies: Mapping[AssetKey, Rerun],
    jobs: Mapping[AssetKey, str],
    now: float,
) -> tuple[list[RunRequest], bool]:
    """Return the reruns that a failed run needs now, and whether nothing is left to do for it.

    A run is settled only once a later look finds its rerun in the instance, so a tick that dies on the way
    loses nothing; until then the same run key is asked for, which Dagster starts once.
    """
    run = record.dagster_run
    failed = read_failed_run(context.instance, run, policies.keys())
    if not failed.planned:
        return [], True
    if failed.cancelled:
        _settle(context, run, {})
        return [], True

    attempt = attempt_of(run)
    repository = cast("dg.RepositoryDefinition", context.repository_def)  # None only in some tests' contexts
    renewed = _with_those_below(repository, failed, failed.renewed)
    hopeless = _hopeless(repository, failed, policies, attempt, renewed)
    waiting = {
        key
        for key in failed.planned.keys() - hopeless.keys()
        if now < max(_ended(record) + _delay(policies[key], attempt), renewed.get(key, 0.0))
    }
    if waiting and waiting | hopeless.keys() == failed.planned.keys():
        return [], False
    candidates = {key: partitions for key, partitions in failed.planned.items() if key not in waiting}
    missing = still_missing(context.instance, run, candidates)
    given_up = {key: reason for key, reason in hopeless.items() if key in missing}
    due = {key: partitions for key, partitions in missing.items() if key not in hopeless}
    requests: list[RunRequest] = []
    for job, keys, partitions in group(failed, due, jobs):
        try:
            counts = not renewed.keys() >= set(keys)
            requests.append(build_request(repository, run, job, keys, partitions, counts=counts))
        except dg.DagsterError as error:
            given_up |= dict.fromkeys(keys, f"cannot be asked for again: {str(error).splitlines()[0]}")
    if requests or waiting:
        return requests, False
    _settle(context, run, given_up)
    return [], True


def _delay(policy: Rerun, attempt: int) -> float:
    return policy.delays[min(attempt, len(policy.delays) - 1)].total_seconds() if policy.delays else 0.0


def _hopeless(
    repository: dg.RepositoryDefinition,
    failed: FailedRun,
    policies: Mapping[AssetKey, Rerun],
    attempt: int,
    renewed: Mapping[AssetKey, float],
) -> dict[AssetKey, str]:
    """Return the planned assets that are not asked for again, and why."""
    hopeless: dict[AssetKey, str] = {}
    for key in failed.planned:
        limit = policies[key].max_reruns
        if limit == 0:
            hopeless[key] = "its API's file turns reruns off (max_reruns: 0)"
        elif attempt >= limit and key not in renewed:
            hopeless[key] = f"{attempt} of {limit} reruns failed"
    hopeless |= failed.permanent
    for key, reason in failed.permanent.items():
        for skipped in _below(repository, failed, key):
            hopeless.setdefault(skipped, f"needs {key.to_user_string()}, which {reason}")
    return hopeless


def _with_those_below(
    repository: dg.RepositoryDefinition, failed: FailedRun, renewed: Mapping[AssetKey, float]
) -> dict[AssetKey, float]:
    """Return when to ask again for assets whose API had no quota left, and for those that need them."""
    found = dict(renewed)
    for key, instant in renewed.items():
        for skipped in _below(repository, failed, key):
            found[skipped] = max(instant, found.get(skipped, 0.0))
    return found


def _below(repository: dg.RepositoryDefinition, failed: FailedRun, key: AssetKey) -> AbstractSet[AssetKey]:
    """Return the planned assets that need another one."""
    below = dg.AssetSelection.assets(key).downstream(include_self=False)
    graph = repository.asset_graph
    return below.resolve(graph) & failed.planned.keys()  # pyright: ignore[reportUnknownMemberType]


def _settle(context: dg.SensorEvaluationContext, run: DagsterRun, given_up: Mapping[AssetKey, str]) -> None:
    """Tag a run that needs no further look, and log an error if something of it is not asked for again."""
    tags = {SETTLED: run.run_id}
    if given_up:
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for key, reason in sorted(given_up.items()):
            by_reason[reason].append(key.to_user_string())
        tags[GAVE_UP] = "; ".join(f"{', '.join(keys)}: {reason}" for reason, keys in by_reason.items())
        context.log.error(
            f"Run {run.run_id} of job {run.job_name} failed and is not rerun. {tags[GAVE_UP]}."
            " Its log tells the cause; once that is gone, re-execute it or materialize these assets."
        )
    context.instance.add_run_tags(run.run_id, tags)
