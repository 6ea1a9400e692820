"""One scenario: its rows are served, contenders load them in turns, and what each left is looked at."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import duckdb
import psycopg2

from analytics_dagster_tests.benchmark.contenders import Job
from analytics_dagster_tests.benchmark.data import Contents, Shape, contents, contents_in_postgres, write_rows
from analytics_dagster_tests.benchmark.measure import Cost, run
from analytics_dagster_tests.benchmark.server import RunningServer, serving
from analytics_dagster_tests.postgres import own_database

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Scenario:
    """Rows and how they are served; `delay` is what each answer takes, in seconds."""

    name: str
    title: str
    rows: int
    page_size: int
    contenders: tuple[str, ...]
    shape: Shape = "flat"
    delay: float = 0
    destination: Literal["duckdb", "postgres"] = "duckdb"
    paging: Literal["offset", "cursor"] = "offset"
    full: bool = False


@dataclass(frozen=True)
class Load:
    """What a load cost, and what became of it.

    `work` is the wall time in seconds without imports, None if the load did not get to its end;
    `server_cpu` is what its answers cost the server, in seconds; `problem` says why what it left is not
    exactly what was served.
    """

    cost: Cost
    work: float | None
    server_cpu: float
    requests: int
    problem: str | None


def play(
    scenario: Scenario, times: Mapping[str, int], loaded: Callable[[str], None] = lambda _: None
) -> dict[str, list[Load]]:
    """Let contenders load the rows of a scenario, in turns.

    Each loads one page first, which does not count: it brings files into the system's cache, and finds out
    what a contender imports.

    Args:
        scenario: What to load.
        times: How often each contender loads.
        loaded: Called with the contender's name after each load.
    """
    loads: dict[str, list[Load]] = {name: [] for name in times}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        place = Path(directory)
        contents = write_rows(scenario.shape, scenario.page_size, place / "page.json")
        with serving(place / "page.json") as server:
            for name in times:
                _load(scenario, name, server, contents, place)
        contents = write_rows(scenario.shape, scenario.rows, place / "rows.json")
        with serving(place / "rows.json", scenario.delay) as server:
            for turn in range(max(times.values())):
                for name in [name for name in times if times[name] > turn]:
                    loads[name].append(_load(scenario, name, server, contents, place))
                    loaded(name)
    return loads


def environment() -> dict[str, str]:
    """The variables of each process: no settings of the person, no telemetry, our own code."""
    mine = ("ANALYTICS_", "DAGSTER_", "DESTINATION__", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONPATH": str(_ROOT),
    }


def _load(scenario: Scenario, name: str, server: RunningServer, served: Contents, shared: Path) -> Load:
    postgres = scenario.destination == "postgres"
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as directory,
        own_database() if postgres else nullcontext(f"{directory}/rows.duckdb") as to,
    ):
        place = Path(directory)
        job = Job(server.url, scenario.page_size, scenario.shape, scenario.destination, to, scenario.paging)
        module = f"{__package__}.contenders"
        modules = shared / f"{name}.modules"
        before = server.status()
        cost = run(
            [sys.executable, "-m", module, name, json.dumps(asdict(job)), str(modules)], place, environment()
        )
        after = server.status()
        work = problem = None
        if cost.exit_code:
            problem = f"exit code {cost.exit_code}: {_last_line(cost.errors)}"
        else:
            work = json.loads(_last_line(cost.output))["wall"]
            problem = _difference(scenario, to, place, served)
        return Load(cost, work, after.cpu - before.cpu, after.requests - before.requests, problem)


def _difference(scenario: Scenario, to: str, place: Path, served: Contents) -> str | None:
    """How what was stored differs from what was served."""
    try:
        if scenario.destination == "postgres":
            found = contents_in_postgres(to, place)
        else:
            found = contents(scenario.shape, Path(to))
    except (duckdb.Error, psycopg2.Error) as error:
        return str(error)
    if found == served:
        return None
    if (found.rows, found.ids) != (served.rows, served.ids):
        return f"{found.rows:,} rows of {found.ids:,} ids, where {served.rows:,} were served"
    return "all ids are there, and a value is not what was served"


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
