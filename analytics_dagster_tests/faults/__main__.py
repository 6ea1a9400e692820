"""The command: plays as many histories as asked, and says what it takes to see a failure again."""

from __future__ import annotations

import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from queue import SimpleQueue
from typing import Annotated

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import psycopg2
import typer
from rich.console import Console

from analytics_dagster_tests.faults.coverage import exercised, table
from analytics_dagster_tests.faults.drawing import draw
from analytics_dagster_tests.faults.play import BrokenPromiseError, play
from analytics_dagster_tests.faults.processes import preload
from analytics_dagster_tests.postgres import own_database

_OFTEN = 10  # seconds between two words of progress

Databases = SimpleQueue[str | None]

_console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


class To(StrEnum):
    """Where histories load to."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"


def main(
    histories: Annotated[int, typer.Option(help="How many histories to play.")] = 100,
    seed: Annotated[int | None, typer.Option(help="The first one's seed; each has the next. Any.")] = None,
    replay: Annotated[
        int | None, typer.Option(help="Play the history of this seed, and tell all of it.")
    ] = None,
    times: Annotated[int, typer.Option(help="How often to replay, as processes race each other.")] = 1,
    destination: Annotated[To, typer.Option(help="Where to load to.")] = To.DUCKDB,
    jobs: Annotated[int, typer.Option(help="How many histories at once.")] = 2,
    modules: Annotated[
        list[str] | None, typer.Option("--import", help="A module that each process that loads imports.")
    ] = None,
) -> None:
    """Draw histories of an API, faults and runs, play them, and compare the destination with the API."""
    preload(*(modules or []))
    try:
        with _databases(destination, 1 if replay is not None else jobs) as databases:
            if replay is not None:
                failed = sum(_replay(replay, databases) for _ in range(times))
            else:
                first = random.randrange(10**6) if seed is None else seed
                failed = _play_all(range(first, first + histories), destination, databases)
    except psycopg2.OperationalError as error:
        _console.print(f"skipped: no PostgreSQL server answers (ANALYTICS_TEST_POSTGRES): {error}")
        return
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _databases(destination: To, jobs: int) -> Generator[Databases]:
    """A database for each history that is played at once; None for DuckDB, where each has its file."""
    free: Databases = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(jobs):
            free.put(None if destination is To.DUCKDB else stack.enter_context(own_database()))
        yield free


def _replay(seed: int, databases: Databases) -> bool:
    history = draw(seed)
    for line in history.told():
        _console.print(line)
    problem, _ = _problem(seed, databases, _console.print)
    _console.print(problem or "all is as promised")
    return problem is not None


def _play_all(seeds: range, destination: To, databases: Databases) -> int:
    began = told = time.monotonic()
    failed = ended = 0
    counts = Counter[str]()
    with ThreadPoolExecutor(databases.qsize()) as pool:
        playing = {pool.submit(_problem, seed, databases): seed for seed in seeds}
        for one in as_completed(playing):
            seed, (problem, happened) = playing[one], one.result()
            counts.update(exercised(draw(seed)) | happened)
            ended += 1
            if problem:
                failed += 1
                _console.print(f"\nseed {seed} failed:")
                for line in draw(seed).told():
                    _console.print(f"  {line}")
                _console.print(f"{problem}\nSee it again: {_command(seed, destination)}")
            if time.monotonic() - told > _OFTEN:
                told = time.monotonic()
                _console.print(f"{ended} of {len(seeds)} histories, {told - began:.0f} s, {failed} failed")
    for line in table(counts, len(seeds)):
        _console.print(line)
    _console.print(
        f"{len(seeds)} histories on {destination.value} from seed {seeds.start} on,"
        f" {time.monotonic() - began:.0f} s, {failed} failed"
    )
    return failed


def _problem(
    seed: int, databases: Databases, say: Callable[[str], None] = lambda _: None
) -> tuple[str | None, set[str]]:
    """What is wrong, if anything; and what came of the history."""
    database = databases.get()
    try:
        return None, play(draw(seed), database, say)
    except BrokenPromiseError as error:
        return str(error), set()
    except Exception:  # noqa: BLE001 - a fault of the harness itself must not end the others
        return traceback.format_exc(), set()
    finally:
        databases.put(database)


def _command(seed: int, destination: To) -> str:
    return f"python -m {__package__} --replay {seed} --destination {destination.value}"


if __name__ == "__main__":
    typer.run(main)
