"""The command: plays the scenarios that are asked for, and shows what each contender cost."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analytics_dagster_tests.benchmark import fixed
from analytics_dagster_tests.benchmark.loads import Scenario, play
from analytics_dagster_tests.benchmark.report import (
    LEGEND,
    Figures,
    fixed_table,
    loads_table,
    machine,
    targets_table,
    write_markdown,
)
from analytics_dagster_tests.benchmark.scenarios import CONTENDERS, FIXED, PEERS, SCENARIOS
from analytics_dagster_tests.benchmark.targets import Results, verdicts

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
    markdown: Annotated[
        Path | None, typer.Option(help="Write the page for the README to this file, too.")
    ] = None,
) -> None:
    """Load the same rows in many ways, each in a process of its own, and compare what that costs."""
    _refuse_unknown("--scenario", scenario or [], _NAMES)
    _refuse_unknown("--contender", contender or [], list(CONTENDERS))
    chosen = [one for one in SCENARIOS if (one.name in scenario if scenario else full or not one.full)]
    # Whoever ends this ends its processes, too, and leaves no files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results: Results = {}
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)

    def tell(table: Figures) -> None:
        console.print(table.rich(), "")

    console.print(machine(), "", highlight=False)
    for one in chosen:
        times = {
            name: peer_repeats if name in PEERS else repeats
            for name in one.contenders
            if not contender or name in contender
        }
        if times:
            tell(_loads(one, times, results))
    if not contender and (not scenario or FIXED in scenario):
        with _progress("fixed costs", repeats * len(fixed.NAMES)) as advance:
            results[FIXED] = fixed.play(repeats, advance)
        tell(fixed_table(results[FIXED]))
    tell(targets_table(list(verdicts(results))))
    console.print(LEGEND)
    if markdown:
        write_markdown(results, markdown)


def _loads(scenario: Scenario, times: dict[str, int], results: Results) -> Figures:
    try:
        with _progress(scenario.title, sum(times.values())) as advance:
            results[scenario.name] = play(scenario, times, advance)
    except psycopg2.OperationalError as error:
        reason = f"left out: no PostgreSQL server answers (ANALYTICS_TEST_POSTGRES): {error}"
        return Figures(scenario.title, ["", ""], [], [reason])
    return loads_table(scenario.title, results[scenario.name])


@contextmanager
def _progress(title: str, steps: int) -> Generator[Callable[[str], None]]:
    """Show how far it is; the function that it gives is called with each name that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=steps)
        yield lambda _: progress.advance(task)


def _refuse_unknown(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=option)


if __name__ == "__main__":
    typer.run(main)
