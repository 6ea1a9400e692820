"""API files become Dagster definitions."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.promises import unkept
from analytics_dagster.orchestration.assets import asset_key, build_asset
from analytics_dagster.orchestration.integration import DagsterDltResource
from analytics_dagster.orchestration.jobs import build_schedules, load_jobs
from analytics_dagster.orchestration.rerun import build_rerun_sensor
from analytics_dagster.orchestration.resources import (
    DestinationResource,
    credentials_for,
    credentials_key,
)
from analytics_dagster.spec import ApiFile, ApiFileError, find_files, read_files


@contextmanager
def _imports_left_alone() -> Generator[None]:
    """Inside, the garbage collector does not go through what was there before, which is all imports.

    It would each time that many objects were made: with 1,000 resources, a fourth of what making their
    definitions takes.
    """
    if gc.get_freeze_count():  # the process does so itself
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_imports_left_alone()
def build_defs(
    apis: Iterable[Path | str | ApiFile] | None = None, resources: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """The assets, jobs, schedules, sensor and resources of API files.

    Reads the files and nothing else: no network, no secret, nothing written.

    Args:
        apis: API files, or paths of such; by default those of `ANALYTICS_APIS`, else `./apis`, else the
            package's own.
        resources: Dagster resources that replace `destination`, `dlt` or `<api>_credentials`.

    Raises:
        ApiFileError: If there is a mistake in any file, or the destination cannot keep what is promised of a
            resource; it tells all of them.
    """
    files = _files(find_files() if apis is None else apis)
    given = dict(resources or {})
    chosen = given.get("destination")
    destination = (
        chosen.type
        if isinstance(chosen, DestinationResource) and chosen.type
        else Destination.from_environment().type
    )
    if problems := unkept(files, destination):
        raise ApiFileError(problems)
    jobs = [job for file in files for job in load_jobs(file)]
    definitions = {job.name: job.definition() for job in jobs}
    owner = {asset_key(job.file, resource): job for job in jobs for resource in job.resources}
    policies = {key: job.file.api.rerun for key, job in owner.items()}
    return dg.Definitions(
        assets=[
            build_asset(file, resource, destination)
            for file in files
            for resource in file.api.resources
            if resource.selected
        ],
        jobs=list(definitions.values()),
        schedules=build_schedules(jobs),
        sensors=[build_rerun_sensor(policies, {key: definitions[job.name] for key, job in owner.items()})],
        resources={
            "dlt": DagsterDltResource(),
            "destination": DestinationResource(),
            **{credentials_key(file): credentials_for(file) for file in files},
            **given,
        },
        executor=dg.in_process_executor,
    )


def _files(apis: Iterable[Path | str | ApiFile]) -> list[ApiFile]:
    given = list(apis)
    read = iter(read_files([Path(one) for one in given if not isinstance(one, ApiFile)]))
    return [one if isinstance(one, ApiFile) else next(read) for one in given]
