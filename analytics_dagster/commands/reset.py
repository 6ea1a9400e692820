"""`reset`: forgets one resource, in the destination and in Dagster, after it has shown what that is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer

from analytics_dagster.commands.choice import find_api
from analytics_dagster.commands.runs import current_instance
from analytics_dagster.commands.terminal import CommandError, standard_output
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.reset import Reset, plan_reset, reset
from analytics_dagster.loading.stored import cursor_text
from analytics_dagster.orchestration.history import forget, materialized_partitions
from analytics_dagster.spec.problems import nearest


def reset_resource(name: str, resource: str, *, confirmed: bool) -> None:
    """Drop tables, state and partition status of a resource; show first what that is, and ask.

    Args:
        name: The API.
        resource: The resource; the file need not have it any more.
        confirmed: Do not ask.

    Raises:
        CommandError: If there is no such resource, nobody can be asked, or the answer is no.
        LoadError: If the destination cannot be read or written.
    """
    file = find_api(name)
    destination = Destination.from_environment()
    plan = plan_reset(file, resource, destination)
    known = {one.name for one in file.api.resources}
    named = plan.stored.name if plan and resource not in known else resource
    console = standard_output()
    with current_instance() as (instance, remembers):
        partitions = materialized_partitions(instance, name, named)
        if plan is None and partitions is None:
            if resource not in known:
                raise CommandError(
                    f"there is no resource `{resource}` in {file.path}, and nothing is stored of one"
                    + nearest(resource, known)
                )
            console.print(
                f"{name}/{resource}: nothing is stored, so there is nothing to reset.", markup=False
            )
            return
        console.print(f"This forgets all of {name}/{named}:", markup=False)
        for line in [*_stored(plan), *_history(partitions, remembers=remembers)]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if not confirmed:
            _ask(f"{name}/{named}")
        reset(file, resource, destination, and_also=lambda: forget(instance, name, named))
    console.print(f"{name}/{named} was reset: its next load starts from nothing.", markup=False)


def _stored(plan: Reset | None) -> Iterator[str]:
    """What goes from the destination, and what stays there."""
    if plan is None:
        yield "nothing in the destination"
        return
    for name, count in plan.tables.items():
        yield f"drop table {name}: {count:,} rows"
    for name, other in plan.shared.items():
        yield f"leave table {name} as it is, because the resource `{other}` has it too"
    for column, value in plan.stored.cursors.items():
        yield f"delete the stored cursor {column} = {cursor_text(value)}"
    yield f"delete {plan.records:,} rows of dlt's own tables: state, loads and schema versions"


def _history(partitions: int | None, *, remembers: bool) -> Iterator[str]:
    """What Dagster forgets."""
    if not remembers:
        yield "leave what Dagster shows as materialized, because DAGSTER_HOME is not set"
    elif partitions is None:
        yield "nothing in Dagster, which has no materialization"
    else:
        yield "wipe its materializations in Dagster" + (f", {partitions:,} partitions" if partitions else "")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"nobody can be asked here whether to reset {name}; to do it, add --yes")
    if not typer.confirm(f"Reset {name}?", err=True):
        raise CommandError("Nothing was changed.")
