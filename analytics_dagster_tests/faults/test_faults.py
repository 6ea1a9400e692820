"""A few histories of faults, as the command plays them; and that it sees a fault of the product."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from analytics_dagster_tests.faults.coverage import NAMES, exercised
from analytics_dagster_tests.faults.drawing import draw

ROOT = Path(__file__).parents[2]


def play(*arguments: str, modules: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command.

    Args:
        arguments: Of the command.
        modules: A directory with modules for `--import`.
    """
    paths = [str(path) for path in (ROOT, modules) if path]
    return subprocess.run(
        [sys.executable, "-m", "analytics_dagster_tests.faults", *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        text=True,
        timeout=300,
    )


def test_histories_on_duckdb_end_as_promised() -> None:
    played = play("--histories", "6", "--seed", "1")

    assert "6 histories on duckdb from seed 1 on" in played.stderr
    assert played.returncode == 0, played.stderr


@pytest.mark.postgres
def test_histories_on_postgres_end_as_promised() -> None:
    played = play("--histories", "4", "--seed", "1", "--destination", "postgres")

    assert played.returncode == 0, played.stderr
    if "no PostgreSQL server answers" in played.stderr:
        pytest.skip(played.stderr.strip())
    assert "4 histories on postgres from seed 1 on" in played.stderr


def test_a_seed_is_always_the_same_history() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_all_that_the_table_counts_is_drawn() -> None:
    drawn = set[str]().union(*(exercised(draw(seed)) for seed in range(400)))
    told_by_what_happens = {"killed", "ended"}

    assert drawn == {
        f"{group}: {name}"
        for group, names in NAMES.items()
        if group not in told_by_what_happens
        for name in names
    }


# Each with the seed of a short history that it spoils.
FAULTS = {
    "gone rows stay": (
        4412,
        """
        from analytics_dagster.loading.disposition import _Conditions as conditions

        must_go = conditions.must_go

        def must_go_without_windows(self):
            self._windows, self._run = (), None
            return must_go(self)

        conditions.must_go = must_go_without_windows
        """,
    ),
    "the last row of a page is lost": (
        4412,
        """
        from analytics_dagster.loading.cursor import CountRows

        rows = CountRows._rows
        CountRows._rows = lambda self, page: rows(self, page[:-1])
        """,
    ),
}


@pytest.mark.parametrize(("seed", "code"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_of_the_product_is_seen(seed: int, code: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(dedent(code))

    played = play("--histories", "1", "--seed", str(seed), "--import", "planted", modules=tmp_path)

    assert played.returncode == 1, played.stderr
    assert re.search(r"`rows` (lacks|still has) row|is like none of \d+ possible", played.stderr)
    assert f"See it again: python -m analytics_dagster_tests.faults --replay {seed}" in played.stderr
