"""The command: plays the scenarios that are asked for, and shows what each contender cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import psycopg2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analytics_dagster_tests.benchmark import fixed, loads
from analytics_dagster_tests.benchmark.report import (
    Figures,
    fixed_table,
    loads_table,
    show,
    targets_table,
    write_markdown,
)
from analytics_dagster_tests.benchmark.scenarios import CONTENDERS, FIXED, PEERS, SCENARIOS
from analytics_dagster_tests.benchmark.targets import verdicts

_NAMES = [*(scenario.name for scenario in SCENARIOS), FIXED]
_WIDTH = 130  # characters, in a file or pipe


def main(
    scenario: Annotated[
        list[str] | None, typer.Option(help=f"Only this one, also several times: {', '.join(_NAMES)}.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help=f"Only this one, also several times: {', '.join(CONTENDERS)}.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Loads of the limit and of ours.")] = 3,
    peer_repeats: Annotated[int, typer.Option(min=1, help="Loads of all others.")] = 1,
    full: Annotated[bool, typer.Option("--full", help="One and ten million rows, too.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file, too.")] = None,
) -> None:
    """Load the same rows in many ways, each in a process of its own, and compare what that costs."""
    _refuse_unknown("--scenario", scenario or [], _NAMES)
    _refuse_unknown("--contender", contender or [], list(CONTENDERS))
    chosen = [one for one in SCENARIOS if (one.name in scenario if scenario else full or not one.full)]
    results: dict[str, dict[str, list[loads.Load]]] = {}
    tables: list[Figures] = []
    with _progress() as progress:
        for one in chosen:
            times = {
                name: peer_repeats if name in PEERS else repeats
                for name in one.contenders
                if not contender or name in contender
            }
            if not times:
                continue
            task = progress.add_task(one.title, total=sum(times.values()))
            try:
                results[one.name] = loads.play(one, times, lambda _, task=task: progress.advance(task))
            except psycopg2.OperationalError as error:
                reason = f"left out: no PostgreSQL server answers (ANALYTICS_TEST_POSTGRES): {error}"
                tables.append(Figures(one.title, ["", ""], [], [reason]))
                continue
            tables.append(loads_table(one.title, results[one.name]))
        if not contender and (not scenario or FIXED in scenario):
            task = progress.add_task("fixed costs", total=repeats * len(fixed.NAMES))
            results[FIXED] = fixed.play(repeats, lambda _: progress.advance(task))
            tables.append(fixed_table(results[FIXED]))
    tables.append(targets_table(list(verdicts(results))))
    console = Console()
    show(tables, console if console.is_terminal else Console(width=_WIDTH))
    if markdown:
        write_markdown(tables, markdown)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _refuse_unknown(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=option)


if __name__ == "__main__":
    typer.run(main)
