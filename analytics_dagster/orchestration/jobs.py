"""Jobs and schedules: a job for each API and partitions definition, a schedule where a resource has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from analytics_dagster.orchestration.assets import asset_key
from analytics_dagster.orchestration.partitions import last_partition_keys, partitions_def
from analytics_dagster.spec import ApiFile, Partitions, Resource

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class LoadJob:
    """The resources of one API that share their partitions, and so can be run together."""

    name: str
    file: ApiFile
    partitions: Partitions | None
    resources: list[Resource]

    def definition(self) -> UnresolvedAssetJobDefinition:
        """The Dagster job."""
        selection = dg.AssetSelection.assets(*(asset_key(self.file, one) for one in self.resources))
        how = f"by the {self.partitions.every}" if self.partitions else "without partitions"
        return _LeanJob(self.name, selection, description=f"Loads what {self.file.path.name} has {how}.")


class _LeanJob(UnresolvedAssetJobDefinition):
    """A job with the resources of its assets only.

    Dagster gives each job every resource there is, and describes them with each job whenever a code location
    is loaded (dagster#22523): 20 MB for 100 APIs.
    """

    def resolve(self, *args: Any, **options: Any) -> dg.JobDefinition:
        return super().resolve(*args, **{**options, "resource_defs": None})


def load_jobs(file: ApiFile) -> list[LoadJob]:
    """The jobs of an API, named after it and its windows: `acme`, `acme_day`, `acme_day_2`, …"""
    groups: dict[tuple[str, str, str] | None, list[Resource]] = {}
    for resource in _selected(file):
        windows = resource.partitions
        group = (windows.every, str(windows.first), windows.timezone) if windows else None
        groups.setdefault(group, []).append(resource)
    jobs: list[LoadJob] = []
    for resources in groups.values():
        windows = resources[0].partitions
        name = file.api.name.replace("-", "_") + (f"_{windows.every}" if windows else "")
        same = sum(
            job.partitions is not None and windows is not None and job.partitions.every == windows.every
            for job in jobs
        )
        jobs.append(LoadJob(f"{name}_{same + 1}" if same else name, file, windows, resources))
    return jobs


def build_schedules(jobs: Sequence[LoadJob]) -> list[dg.ScheduleDefinition]:
    """The schedules that the files ask for; writing one into a file turns it on."""
    return [
        _build_schedule(job, resource, resource.schedule)
        for job in jobs
        for resource in job.resources
        if resource.schedule
    ]


def _build_schedule(job: LoadJob, resource: Resource, cron: str) -> dg.ScheduleDefinition:
    key = asset_key(job.file, resource)
    windows = resource.partitions

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if windows is None:
            return dg.RunRequest(asset_selection=[key])
        keys = last_partition_keys(
            partitions_def(windows), windows.lookback + 1, context.scheduled_execution_time
        )
        if not keys:
            return dg.SkipReason("The first window is not over yet.")
        if len(keys) == 1:
            return dg.RunRequest(asset_selection=[key], partition_key=keys[0])
        return dg.RunRequest(asset_selection=[key], tags={RANGE_START: keys[0], RANGE_END: keys[-1]})

    return dg.ScheduleDefinition(
        name="__".join(key.path).replace("-", "_"),
        description=f"Loads {key.to_user_string()} as {job.file.path.name} says.",
        cron_schedule=cron,
        execution_timezone=windows.timezone if windows else "UTC",
        job_name=job.name,
        execution_fn=evaluate,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _selected(file: ApiFile) -> list[Resource]:
    return [resource for resource in file.api.resources if resource.selected]
