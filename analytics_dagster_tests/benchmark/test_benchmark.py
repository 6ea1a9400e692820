"""The benchmark runs, and does not take other rows for those that were served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from analytics_dagster_tests.benchmark.data import Shape, contents, write_rows
from analytics_dagster_tests.benchmark.loads import Load, play
from analytics_dagster_tests.benchmark.measure import Cost
from analytics_dagster_tests.benchmark.report import write_markdown
from analytics_dagster_tests.benchmark.scenarios import SCENARIOS
from analytics_dagster_tests.benchmark.targets import verdicts

SMALL = replace(SCENARIOS[0], rows=20_000, page_size=1_000)


def test_the_limit_and_ours_load_what_is_served_page_by_page_and_hold_little_of_it() -> None:
    loads = play(SMALL, {"limit": 1, "ours_load": 1, "ours_materialize": 1})
    for [load] in loads.values():
        assert load.problem is None
        assert 20 <= load.requests <= 22
        assert load.cost.peak is None or load.cost.peak < 700_000_000
        assert load.work
        assert 0 < load.work < load.cost.wall


def test_a_window_that_is_read_in_parts_is_loaded_without_pandas() -> None:
    """Importing it, where a user has it, takes longer than a small load."""
    [cursor] = [one for one in SCENARIOS if one.paging == "cursor"]
    [load] = play(replace(cursor, rows=3_000, delay=0), {"ours_load": 1})["ours_load"]
    assert load.problem is None
    assert 30 <= load.requests <= 60


def test_the_page_for_the_readme_has_each_figure_and_says_what_is_not_reached(tmp_path: Path) -> None:
    def load(work: float, problem: str | None = None) -> list[Load]:
        return [Load(Cost(9, 9, 400_000_000, 0, "", ""), work, 0, 100, problem)]

    scenario = {"limit": load(1), "dlt_parquet": load(5, "a row is missing"), "ours_materialize": load(1.5)}
    write_markdown({"flat-1000": scenario}, tmp_path / "page.md")
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert "|  | the limit | dlt REST, Parquet | ours, materialize() |" in lines
    [figures] = [line for line in lines if "1.00 s" in line]
    assert figures.endswith("| 1.00 s, 400 MB | 5.00 s, 400 MB, NOT exact | 1.50 s, 400 MB |")
    assert "| flat-1000 | times the limit | ≤ 2 | 1.50 | reached |" in lines
    assert "| flat-1000 | MB | ≤ 350 | 400.00 | NOT reached |" in lines


def test_a_load_that_fails_is_told() -> None:
    [load] = play(replace(SMALL, rows=100), {"no_such_contender": 1})["no_such_contender"]
    assert load.work is None
    assert load.problem
    assert "no_such_contender" in load.problem


@pytest.mark.parametrize(
    ("seconds", "peak", "problem", "reached"),
    [
        (2.0, 350_000_000, None, [True, True, True]),
        (2.1, 351_000_000, None, [False, False, False]),
        (2.0, None, None, [True, True]),
        (0.1, 1, "a row is missing", [False, False, False]),
        (None, 1, "exit code 1", [False, False, False]),
    ],
)
def test_targets_are_reached_by_exact_loads_within_their_bounds(
    seconds: float | None, peak: int | None, problem: str | None, reached: list[bool]
) -> None:
    def load(work: float | None, problem: str | None = None) -> list[Load]:
        return [Load(Cost(9, 9, peak, 0, "", ""), work, 0, 100, problem)]

    loads = {
        "limit": load(1),
        "dlt_default": load(1, "a row is missing"),
        "dlt_parquet": load(8),
        "ours_materialize": load(seconds, problem),
    }
    assert [verdict.reached for verdict in verdicts({"flat-1000": loads})] == reached


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE benchmark.events SET price = price + 0.01 WHERE id = 7",
        "UPDATE benchmark.events SET created_at = created_at + INTERVAL 1 MICROSECOND WHERE id = 7",
        "UPDATE benchmark.events SET campaign = '' WHERE id = 8",
        "DELETE FROM benchmark.events WHERE id = 7",
        "INSERT INTO benchmark.events FROM benchmark.events WHERE id = 7",
        "UPDATE benchmark.events SET quantity = 8 - quantity WHERE id IN (3, 5)",
    ],
)
def test_an_altered_row_is_seen(tmp_path: Path, change: str) -> None:
    served = write_rows("flat", 500, tmp_path / "rows.json")
    database = _stored(tmp_path, "flat")
    assert contents("flat", database) == served
    with duckdb.connect(str(database)) as connection:
        connection.execute(change)
    assert contents("flat", database) != served


def test_an_altered_nested_value_is_seen(tmp_path: Path) -> None:
    served = write_rows("json", 500, tmp_path / "rows.json")
    database = _stored(tmp_path, "json")
    assert contents("json", database) == served
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE benchmark.events SET items = list_reverse(items) WHERE id = 7")
    assert contents("json", database) != served


def _stored(place: Path, shape: Shape) -> Path:
    database = place / f"{shape}.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA benchmark")
        connection.execute(f"CREATE TABLE benchmark.events AS FROM '{place}/rows.json'")
    return database
