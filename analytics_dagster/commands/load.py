"""`load`: the same assets as in the UI, loaded now, in one Dagster run for each job that has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from analytics_dagster.commands.choice import (
    all_windows,
    find_api,
    find_resources,
    last_windows,
    refuse_hidden,
    windows_of,
)
from analytics_dagster.commands.report import count_rows, outcome_table
from analytics_dagster.commands.runs import Outcome, PlannedRun, current_instance, execute
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output
from analytics_dagster.orchestration.jobs import LoadJob, load_jobs
from analytics_dagster.spec import ApiFile, Resource, Window


def load_api(
    name: str, resources: Sequence[str], start: str | None, end: str | None, *, full_refresh: bool
) -> None:
    """Load resources of an API and show what came of it.

    Args:
        name: The API.
        resources: Names of its resources; empty for all.
        start: The first edge of the windows to load, for resources with partitions.
        end: The edge where they end.
        full_refresh: Load everything anew.

    Raises:
        CommandError: If that cannot be done, or a resource failed.
    """
    file = find_api(name)
    planned, left_out = plan_runs(
        file, find_resources(file, resources), start, end, named=bool(resources), full_refresh=full_refresh
    )
    from analytics_dagster.definitions import defs  # noqa: PLC0415 - what is asked for is checked first

    console = standard_error()
    for resource in left_out:
        console.print(f"{name}/{resource.name} has no partitions, so --from and --to leave it out.")
    outcomes: list[Outcome] = []
    with current_instance() as (instance, remembers):
        if not remembers:
            console.print("DAGSTER_HOME is not set: these runs are not recorded.")
        for run in planned:
            outcomes += execute(run, defs, instance, console)
    finish(outcomes, standard_output())


def plan_runs(
    file: ApiFile,
    resources: Sequence[Resource],
    start: str | None = None,
    end: str | None = None,
    *,
    named: bool = False,
    full_refresh: bool = False,
) -> tuple[list[PlannedRun], list[Resource]]:
    """The runs that load some resources of an API, one for each job.

    Args:
        file: The API.
        resources: What to load.
        start: The first edge of the windows; with `end`, resources without partitions are left out.
        end: The edge where they end.
        named: Whether a person named the resources; then none may be left out.
        full_refresh: Load everything anew; for resources with partitions, all windows that are over.

    Returns:
        The runs, and the resources that are left out.

    Raises:
        CommandError: If it cannot be done.
    """
    ranged = start is not None or end is not None
    if ranged and full_refresh:
        raise CommandError("--full-refresh loads everything; leave out --from and --to")
    refuse_hidden(file, resources)
    planned: list[PlannedRun] = []
    left_out: list[Resource] = []
    for job in load_jobs(file):
        wanted = [resource for resource in job.resources if resource in resources]
        if not wanted:
            continue
        if job.partitions is None:
            if ranged:
                left_out += wanted
            else:
                planned.append(PlannedRun(job, wanted, full_refresh=full_refresh))
        else:
            planned.append(
                PlannedRun(job, wanted, _windows(job, wanted, start, end, everything=full_refresh))
            )
    if left_out and (named or not planned):
        raise CommandError(
            f"--from and --to are for resources with partitions; `{left_out[0].name}` has none in {file.path}"
        )
    return planned, left_out


def _windows(
    job: LoadJob, resources: Sequence[Resource], start: str | None, end: str | None, *, everything: bool
) -> list[Window]:
    partitions = job.partitions
    assert partitions is not None
    now = datetime.now(UTC)
    if start is not None or end is not None:
        return windows_of(resources, partitions, start, end, now)
    if everything:
        windows = all_windows(partitions, now)
    else:
        lookback = max(one.partitions.lookback for one in resources if one.partitions)
        windows = last_windows(partitions, lookback + 1, now)
    if not windows:
        raise CommandError(f"the first {partitions.every}, from {partitions.start} on, is not over yet")
    return windows


def finish(outcomes: Sequence[Outcome], console: Console) -> None:
    """Show what runs did.

    Raises:
        CommandError: If a resource failed; it says why for each.
    """
    console.print(outcome_table(outcomes, count_rows(outcomes)))
    for one in outcomes:
        for change in one.changes:
            console.print(f"{one.file.api.name}/{one.resource.name}: {change}", markup=False, soft_wrap=True)
    failed = [one for one in outcomes if one.problem is not None]
    if failed:
        console.print(
            escape(f"{len(failed)} of {len(outcomes)} failed; what was there before is still there.")
        )
        raise CommandError("\n".join(dict.fromkeys(str(one.problem) for one in failed)))
