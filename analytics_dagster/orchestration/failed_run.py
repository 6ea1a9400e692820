"""What a failed run owes of our assets, and the requests for it; when these are made is in `rerun.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby, product
from operator import itemgetter
from typing import cast

import dagster as dg
from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogRecord

FAILURE_KIND = "analytics_dagster/failure_kind"
"""Metadata key on a `dg.Failure`: "permanent" if the same run can't get better, else "transient"."""

RENEWED = "analytics_dagster/quota_renewed"
"""Metadata key on a `dg.Failure`: when the API's quota is new, before which asking again is of no use."""

RERUN = "analytics_dagster/rerun"
"""Tag on a rerun: which one it is, from 1; those that go on with a new quota do not count."""

RERUN_OF = "analytics_dagster/rerun_of"
"""Tag on a rerun: the id of the failed run that it was asked for."""

PARENT = "dagster/parent_run_id"
ROOT = "dagster/root_run_id"

# What a person put on a run and means for its rerun too; all other tags of Dagster's own belong to one run.
_KEPT_TAGS = {
    "dagster/concurrency_key",
    "dagster/image",
    "dagster/isolation",
    "dagster/max_retries",
    "dagster/max_runtime",
    "dagster/priority",
    "dagster/retry_on_asset_or_op_failure",
    "dagster/retry_strategy",
}

Partitions = list[str | None]
"""Partition keys in the order of their windows; [None] where there are no partitions."""


@dataclass
class FailedRun:
    """What the event log says of a failed run.

    Dagster plans all steps of a run when it creates it, so the plan names our assets whatever job it was, and
    those too whose steps never started.
    """

    planned: dict[AssetKey, Partitions] = field(default_factory=dict[AssetKey, Partitions])
    permanent: dict[AssetKey, str] = field(default_factory=dict[AssetKey, str])
    """Why asking again for these is of no use."""
    renewed: dict[AssetKey, float] = field(default_factory=dict[AssetKey, float])
    """When to ask again for these, whose API had no quota left: in seconds since 1970."""
    cancelled: bool = False
    """A person asked this run to end, or the backfill that it belongs to."""


def read_failed_run(instance: DagsterInstance, run: DagsterRun, ours: Collection[AssetKey]) -> FailedRun:
    """Return what `run` planned of the assets `ours`, and how it failed."""
    failed = FailedRun()
    if backfill_id := run.tags.get("dagster/backfill"):
        backfill = instance.get_backfill(backfill_id)
        failed.cancelled = backfill is not None and backfill.status.value in {"CANCELING", "CANCELED"}
    reasons: dict[str | None, str] = {}
    renewed: dict[str | None, float] = {}
    steps: dict[AssetKey, str | None] = {}
    kinds = {
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.STEP_FAILURE,
        DagsterEventType.RUN_CANCELING,
    }
    for record in instance.get_records_for_run(run.run_id, of_type=kinds).records:
        event = record.event_log_entry.get_dagster_event()
        if event.event_type is DagsterEventType.RUN_CANCELING:
            failed.cancelled = True
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            failure = event.step_failure_data.user_failure_data
            kind = failure and failure.metadata.get(FAILURE_KIND)
            if failure and kind and kind.value == "permanent":
                description = failure.description or "its log says why"
                reasons[event.step_key] = f"cannot get better by itself: {description.splitlines()[0]}"
            if failure and isinstance(instant := failure.metadata.get(RENEWED), dg.TimestampMetadataValue):
                renewed[event.step_key] = instant.value
        elif event.asset_key and event.asset_key in ours:
            failed.planned.setdefault(event.asset_key, []).append(event.partition)
            steps[event.asset_key] = event.step_key
    failed.permanent = {key: reasons[step] for key, step in steps.items() if step in reasons}
    failed.renewed = {key: renewed[step] for key, step in steps.items() if step in renewed}
    return failed


def still_missing(
    instance: DagsterInstance, run: DagsterRun, planned: Mapping[AssetKey, Partitions]
) -> dict[AssetKey, Partitions]:
    """Return what of `planned` the failed `run` has to answer for.

    The last run that planned a partition of an asset answers for it, so nothing is the business of two runs:
    a later run takes it over, whoever started it and however it stands. If that fails, it is looked at
    itself; if a person cancels it, that is the last word. Nothing is missing that was loaded since the plan,
    or by a failed run that `run` repeats.
    """
    repeated = {run.run_id}
    parent = instance.get_run_by_id(run.tags.get(PARENT, ""))
    while parent and parent.status is DagsterRunStatus.FAILURE:
        repeated.add(parent.run_id)
        parent = instance.get_run_by_id(parent.tags.get(PARENT, ""))

    mine = {run.run_id: True}
    missing: dict[AssetKey, Partitions] = {}
    for key, partitions in planned.items():
        plans = _latest(instance, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, key, partitions)
        loads = _latest(instance, DagsterEventType.ASSET_MATERIALIZATION, key, partitions)
        for partition in partitions:
            plan, load = plans.get(partition), loads.get(partition)
            if plan and plan.run_id not in mine:
                mine[plan.run_id] = _is_unlaunched_rerun(instance, plan.run_id, run)
            taken_over = plan and not mine[plan.run_id]
            loaded = load and (load.run_id in repeated or (plan and load.storage_id > plan.storage_id))
            if not taken_over and not loaded:
                missing.setdefault(key, []).append(partition)
    return missing


def _is_unlaunched_rerun(instance: DagsterInstance, later_id: str, run: DagsterRun) -> bool:
    """Whether a dying daemon created this rerun of `run` but did not launch it.

    Asked for again with the same run key, Dagster launches just that one.
    """
    later = instance.get_run_by_id(later_id)
    return (
        later is not None
        and later.status is DagsterRunStatus.NOT_STARTED
        and later.tags.get(RERUN_OF) == run.run_id
    )


def _latest(
    instance: DagsterInstance, kind: DagsterEventType, key: AssetKey, partitions: Partitions
) -> dict[str | None, EventLogRecord]:
    """Return the newest event of a kind for each partition of an asset.

    Newest by storage id, not by time: the clocks of the machines that write events may differ.
    """
    storage = instance.event_log_storage
    keys = {partition for partition in partitions if partition is not None}
    if not keys:
        records = storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key), limit=1)
        return dict.fromkeys([None], records[0]) if records else {}
    ids = list(instance.get_latest_storage_id_by_partition(key, kind, keys).values())
    if not ids:
        return {}
    records = storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key, storage_ids=ids))
    return {record.partition_key: record for record in records}


def attempt_of(run: DagsterRun) -> int:
    """Return how many reruns led to `run`, itself included.

    A run that a person re-executed carries the tags of the old one, but another parent, and counts from the
    start; Dagster's own retry of a rerun is still that rerun.
    """
    own = run.tags.get(RERUN_OF) == run.tags.get(PARENT) or "dagster/retry_number" in run.tags
    return int(run.tags.get(RERUN, 0)) if own else 0


def group(
    failed: FailedRun, due: Mapping[AssetKey, Partitions], jobs: Mapping[AssetKey, str]
) -> Iterator[tuple[str, list[AssetKey], Partitions]]:
    """Yield job, assets and partitions of each request for what is `due`.

    Neighbouring partitions that lack the same assets go into one request, so nothing loaded is loaded again,
    and an asset still runs after those that it needs.
    """
    by_job: defaultdict[str, list[AssetKey]] = defaultdict(list)
    for key in sorted(due):
        by_job[jobs[key]].append(key)
    for job, keys in by_job.items():
        wanted = {key: set(due[key]) for key in keys}
        order = dict.fromkeys(partition for key in keys for partition in failed.planned[key])
        lacking = [(partition, [key for key in keys if partition in wanted[key]]) for partition in order]
        for assets, partitions in groupby(lacking, itemgetter(1)):
            if assets:
                yield job, assets, [partition for partition, _ in partitions]


def build_request(
    repository: dg.RepositoryDefinition,
    run: DagsterRun,
    job_name: str,
    keys: list[AssetKey],
    partitions: Partitions,
    *,
    counts: bool = True,
) -> dg.RunRequest:
    """Return the request that repeats a failed run for some partitions of some assets of one job.

    Args:
        repository: Holds the job.
        run: The failed run.
        job_name: The job.
        keys: The assets.
        partitions: Neighbouring partitions, or None alone.
        counts: Whether it is one of the tries of which there are so many.

    Raises:
        DagsterError: The job can't be launched so. Found here, that concerns one run; found by the daemon, it
            would end the tick, and with it the requests for all other runs.
    """
    job = repository.get_job(job_name)
    checks = run.asset_check_selection if run.asset_selection else None
    if checks is not None:
        checks = {check for check in checks if check.asset_key in keys}
    config = {
        **run.run_config,
        "ops": _only(run.run_config.get("ops"), {node.name for node in job.nodes}),
        "resources": _only(run.run_config.get("resources"), job.resource_defs.keys()),
    }
    if run.job_name != job_name:  # another job may have another executor and other loggers
        config = {part: config[part] for part in ("ops", "resources")}
    config = {part: value for part, value in config.items() if value}
    dg.validate_run_config(job.get_subset(asset_selection=set(keys), asset_check_selection=checks), config)
    first, last = partitions[0], partitions[-1]
    for key, partition in product(keys, (first, last)):
        definition = repository.asset_graph.get(key).partitions_def
        both_none = definition is None and partition is None
        if not both_none and not (definition and partition and definition.has_partition_key(partition)):
            raise dg.DagsterInvariantViolationError(
                f"{key.to_user_string()} no longer has the partition {partition}"
            )

    attempt = attempt_of(run) + counts
    tags = {
        tag: value
        for tag, value in run.tags.items()
        if tag in _KEPT_TAGS or not tag.startswith(("dagster/", ".dagster/", RERUN))
    }
    tags |= {RERUN: str(attempt), RERUN_OF: run.run_id, PARENT: run.run_id}
    tags[ROOT] = run.tags.get(ROOT, run.run_id)
    if first and first == last:
        tags["dagster/partition"] = first
    elif first and last:
        tags["dagster/asset_partition_range_start"] = first
        tags["dagster/asset_partition_range_end"] = last
    # A failed run begets one rerun of each scope. Its own id, not its root's: a person may start several runs
    # from one root, and each has its own reruns.
    scope = json.dumps([job_name, [key.path for key in keys], partitions])
    return dg.RunRequest(
        run_key=f"{run.run_id}:{attempt}:{sha256(scope.encode()).hexdigest()[:16]}",
        job_name=job_name,
        run_config=config,
        tags=tags,
        asset_selection=keys,
        asset_check_keys=None if checks is None else sorted(checks),
    )


def _only(config: object, names: Collection[str]) -> dict[str, object]:
    """Return what a part of a run's config says of some ops or resources; the run may have had others."""
    return {name: value for name, value in cast("dict[str, object]", config or {}).items() if name in names}
