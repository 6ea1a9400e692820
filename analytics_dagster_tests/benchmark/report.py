"""The figures as tables, for the terminal and for the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from analytics_dagster_tests.benchmark.loads import Load
from analytics_dagster_tests.benchmark.scenarios import CONTENDERS, FIXED, SCENARIOS
from analytics_dagster_tests.benchmark.targets import (
    Results,
    Verdict,
    is_exact,
    peak,
    verdicts,
    wall,
    work,
)

_COLUMNS = (
    *("work s", "process s", "CPU s", "peak MB", "work ratio", "process ratio"),
    *("requests", "server CPU s", "loads", "exact"),
)
_SHOWN = 200  # characters of a problem
WHO = (
    "The limit: 8 connections, orjson, Arrow, DuckDB, no dlt. requests, pandas: a script written by hand."
    " dlt REST: dlt's REST source as documented; with Parquet as loader file format; so through dagster-dlt."
)
LEGEND = (
    "Medians. work: wall time without imports; process: wall time of the whole process, from its start to its"
    " end; CPU and peak memory: of the whole process and its children; ratio: to the limit; server CPU: what"
    " the answers cost the server; exact: each id once, and over all columns the checksum of what was served."
    f"\n\n{WHO}"
)
ON_TARGETS = (
    "Ratios of times are those of work: importing dlt, Dagster and dagster-dlt alone takes longer than the"
    " limit's whole process. Those of fixed costs are of whole processes. Tools are dlt's REST source in its"
    " three ways."
)


@dataclass
class Figures:
    """A table of figures, whose first columns are texts; `notes` stand below it."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    texts: int = 1

    def rich(self) -> RenderableType:
        """For the terminal."""
        table = Table(title=escape(self.title), title_justify="left", title_style="bold")
        for number, column in enumerate(self.columns):
            is_text = number < self.texts
            table.add_column(escape(column), justify="left" if is_text else "right", no_wrap=is_text)
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        return Group(table, *(escape(note) for note in self.notes))

    def markdown(self) -> str:
        """For the README."""
        lines = [
            "| " + " | ".join(row) + " |" for row in (self.columns, ["---"] * len(self.columns), *self.rows)
        ]
        return "\n".join([f"**{self.title}**", "", *lines, *("\n" + note for note in self.notes)])


def loads_table(title: str, results: Mapping[str, Sequence[Load]]) -> Figures:
    """What the contenders of a scenario cost."""
    limit = results.get("limit")
    table = Figures(title, ("", *_COLUMNS), [])
    for name, loads in results.items():
        table.rows.append(
            [
                CONTENDERS[name],
                f"{work(loads):.2f}",
                f"{wall(loads):.2f}",
                f"{median(load.cost.cpu for load in loads):.2f}",
                f"{peak(loads):,.0f}",
                f"{work(loads) / work(limit):.2f}" if limit else "",
                f"{wall(loads) / wall(limit):.2f}" if limit else "",
                f"{median(load.requests for load in loads):,.0f}",
                f"{median(load.server_cpu for load in loads):.2f}",
                f"{len(loads)}",
                "yes" if is_exact(loads) else "NO",
            ]
        )
        table.notes += _problems(CONTENDERS[name], loads)
    return table


def summary_table(results: Results) -> Figures:
    """The time and memory of each contender in each scenario, and nothing else."""
    scenarios = [one for one in SCENARIOS if one.name in results]
    names = [name for name in CONTENDERS if any(name in results[one.name] for one in scenarios)]
    table = Figures("Seconds of work, and MB at most", ("", *(CONTENDERS[name] for name in names)), [])
    for one in scenarios:
        loads = results[one.name]
        table.rows.append([one.title, *(_summary(loads[name]) if name in loads else "" for name in names)])
    times = [len(loads) for one in scenarios for loads in results[one.name].values()]
    table.notes.append(
        f"Medians of {max(times, default=0)} loads of the limit and of ours, of {min(times, default=0)} of"
        " all others. Work is wall time without imports; memory is that of the process and its children. A"
        " load is exact if each id is there once, and over all columns the checksum is that of what was"
        " served; all are, where nothing else is said."
    )
    table.notes.append(WHO)
    return table


def _summary(loads: Sequence[Load]) -> str:
    text = f"{work(loads):.2f} s, {peak(loads):,.0f} MB"
    return text if is_exact(loads) else f"{text}, NOT exact"


def fixed_table(results: Mapping[str, Sequence[Load]]) -> Figures:
    """What commands cost that load no rows."""
    table = Figures("Fixed costs: whole commands", ("", "process s", "CPU s", "peak MB", "runs"), [])
    for name, loads in results.items():
        cpu = median(load.cost.cpu for load in loads)
        table.rows.append([name, f"{wall(loads):.2f}", f"{cpu:.2f}", f"{peak(loads):,.0f}", f"{len(loads)}"])
        table.notes += _problems(name, loads)
    return table


def targets_table(verdicts: Sequence[Verdict]) -> Figures:
    """What was to be reached."""
    rows = [
        [
            verdict.target.scenario,
            verdict.target.what,
            f"{verdict.target.sign} {verdict.target.bound:g}",
            f"{verdict.figure:,.2f}",
            "reached" if verdict.reached else "NOT reached" if verdict.exact else "NOT exact",
        ]
        for verdict in verdicts
    ]
    title = "Targets, for analytics_dagster through materialize()"
    return Figures(title, ("", "", "target", "is", ""), rows, [ON_TARGETS], 2)


def machine() -> str:
    """Where and with what this runs."""
    packages = ("dlt", "dagster", "dagster-dlt", "duckdb", "pyarrow", "orjson", "pandas", "requests")
    with_version = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()},"
        f" {with_version}"
    )


def write_markdown(results: Results, path: Path) -> None:
    """Write the page of results for the README."""
    tables = [summary_table(results)]
    if FIXED in results:
        tables.append(fixed_table(results[FIXED]))
    tables.append(targets_table(list(verdicts(results))))
    path.write_text("\n\n".join([machine(), *(table.markdown() for table in tables)]) + "\n")


def _problems(name: str, loads: Sequence[Load]) -> list[str]:
    return [
        f"{name}: {problem[:_SHOWN]}" for problem in sorted({load.problem for load in loads if load.problem})
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
