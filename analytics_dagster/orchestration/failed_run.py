"""What a failed run held of our assets and what of it is still missing; when to ask again is in `rerun.py`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import dagster as dg
from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogRecord

FAILURE_KIND = "analytics_dagster/failure_kind"
"""Metadata key on a `dg.Failure`: the text "permanent" if the same run can't get better, else "transient"."""

RERUN_OF = "analytics_dagster/rerun_of"
"""Tag on a rerun: the id of the failed run that it was asked for."""

RERUN = "analytics_dagster/rerun"
"""Tag on a rerun: which one it is, from 1."""

# What a person put on the run and means for the rerun too; all other tags of Dagster's own belong to one run.
KEPT_TAGS = {
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
    """What the event log says of a failed run. Dagster plans every step of a run when it creates the run, so the
    plan names our assets whatever the job was, and those too whose steps never started."""

    planned: dict[AssetKey, Partitions] = field(default_factory=dict[AssetKey, Partitions])
    permanent: dict[AssetKey, str] = field(default_factory=dict[AssetKey, str])
    """Why asking again for these is of no use."""
    cancelled: bool = False
    """A person asked this run to end, or ended the backfill that it belongs to."""


def read_failed_run(instance: DagsterInstance, run: DagsterRun, ours: Collection[AssetKey]) -> FailedRun:
    """Return what `run` planned of the assets `ours`, and how it failed."""
    failed = FailedRun()
    if backfill_id := run.tags.get("dagster/backfill"):
        backfill = instance.get_backfill(backfill_id)
        failed.cancelled = backfill is not None and backfill.status.value in {"CANCELING", "CANCELED"}
    reasons: dict[str | None, str] = {}
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
                lines = (failure.description or "it said no more").splitlines()
                reasons[event.step_key] = f"cannot get better by itself: {lines[0]}"
        elif event.asset_key and event.asset_key in ours:
            failed.planned.setdefault(event.asset_key, []).append(event.partition)
            steps[event.asset_key] = event.step_key
    failed.permanent = {key: reasons[step] for key, step in steps.items() if step in reasons}
    return failed


def still_missing(
    instance: DagsterInstance, run: DagsterRun, planned: dict[AssetKey, Partitions]
) -> dict[AssetKey, Partitions]:
    """Return what of `planned` the failed `run` has to answer for.

    The last run that planned a partition of an asset answers for it, so nothing is the business of two runs: a later
    run, whoever started it and however it stands, takes the partition over. If it fails it is looked at itself, and
    if a person cancels it that is their last word. What has been loaded since the plan is not missing, nor what a
    failed run loaded that `run` repeats.
    """
    repeated = {run.run_id}
    parent = instance.get_run_by_id(run.tags.get("dagster/parent_run_id", ""))
    while parent and parent.status is DagsterRunStatus.FAILURE:
        repeated.add(parent.run_id)
        parent = instance.get_run_by_id(parent.tags.get("dagster/parent_run_id", ""))

    answering = {run.run_id: True}
    missing: dict[AssetKey, Partitions] = {}
    for key, partitions in planned.items():
        plans = _latest(instance, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, key, partitions)
        loads = _latest(instance, DagsterEventType.ASSET_MATERIALIZATION, key, partitions)
        for partition in partitions:
            plan, load = plans.get(partition), loads.get(partition)
            if plan:
                if plan.run_id not in answering:
                    answering[plan.run_id] = _never_launched(instance, plan.run_id, run)
                if not answering[plan.run_id]:
                    continue
            if load and (load.run_id in repeated or (plan and load.storage_id > plan.storage_id)):
                continue
            missing.setdefault(key, []).append(partition)
    return missing


def _never_launched(instance: DagsterInstance, later_id: str, run: DagsterRun) -> bool:
    """Whether a later run is the rerun of `run` that a dying daemon created but did not launch: asked for once more
    with the same run key, the daemon launches that same run."""
    later = instance.get_run_by_id(later_id)
    return later is None or (
        later.status is DagsterRunStatus.NOT_STARTED and later.tags.get(RERUN_OF) == run.run_id
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
        return {None: record for record in records}
    ids = list(instance.get_latest_storage_id_by_partition(key, kind, keys).values())
    if not ids:
        return {}
    records = storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key, storage_ids=ids))
    return {record.partition_key: record for record in records}


def _groups(
    failed: FailedRun, due: Mapping[AssetKey, Partitions], jobs: Mapping[AssetKey, str]
) -> Iterator[tuple[str, list[AssetKey], Partitions]]:
    """Yield job, assets and partitions of each request: neighbouring partitions that lack the same assets go into
    one, so that nothing loaded is loaded again and an asset still runs after those it needs."""
    by_job: defaultdict[str, list[AssetKey]] = defaultdict(list)
    for key in sorted(due):
        by_job[jobs[key]].append(key)
    for job, keys in by_job.items():
        wanted = {key: set(due[key]) for key in keys}
        order = dict.fromkeys(partition for key in keys for partition in failed.planned[key])
        lacking = [(partition, [key for key in keys if partition in wanted[key]]) for partition in order]
        for assets, group in groupby(lacking, itemgetter(1)):
            if assets:
                yield job, assets, [partition for partition, _ in group]


def _request(
    context: dg.SensorEvaluationContext,
    run: DagsterRun,
    job_name: str,
    keys: list[AssetKey],
    windows: Partitions,
) -> RunRequest:
    """Return the request for some partitions of some assets of one job.

    Raises:
        DagsterError: the job can't be launched with these. Found here, it concerns one run; found by the daemon, it
            would end the tick, and with it the requests for all other runs.
    """
    repository = _repository(context)
    job = repository.get_job(job_name)
    checks = run.asset_check_selection
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
    subset = job.get_subset(asset_selection=set(keys), asset_check_selection=checks)
    dg.validate_run_config(subset, config)
    for key in keys:
        partitions = repository.asset_graph.get(key).partitions_def
        for window in (windows[0], windows[-1]):
            if (partitions is None) != (window is None) or (
                partitions and window and not partitions.has_partition_key(window)
            ):
                raise dg.DagsterInvariantViolationError(
                    f"{key.to_user_string()} has no partition {window} any more"
                )

    attempt = _attempt(run) + 1
    tags = {
        key: value
        for key, value in run.tags.items()
        if key in KEPT_TAGS or not key.startswith(("dagster/", ".dagster/", RERUN))
    }
    tags |= {
        RERUN: str(attempt),
        RERUN_OF: run.run_id,
        "dagster/parent_run_id": run.run_id,
        "dagster/root_run_id": run.tags.get("dagster/root_run_id", run.run_id),
    }
    first, last = windows[0], windows[-1]
    if first and last:
        tags |= (
            {"dagster/partition": first}
            if first == last
            else {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        )
    # One rerun for each failed run, job and scope; the id of the failed run stands for root and attempt, and tells
    # apart two runs that a person started from one root.
    scope = sha256(json.dumps([job_name, [key.path for key in keys], windows]).encode()).hexdigest()[:16]
    return RunRequest(
        run_key=f"{run.run_id}:{attempt}:{scope}",
        job_name=job_name,
        run_config=config,
        tags=tags,
        asset_selection=keys,
        asset_check_keys=None if checks is None else sorted(checks),
    )


def _only(config: object, names: Collection[str]) -> dict[str, object]:
    """Return what a part of a run's config says of the given ops or resources; the run may have had others."""
    return {name: value for name, value in cast("dict[str, object]", config or {}).items() if name in names}


