"""`demo`: what a person sees in their first minute, in an empty folder with nothing set up."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from analytics_dagster_tests.cli_runner import start, write_api


def rows_of(out: str) -> dict[str, list[str]]:
    """The table's lines by asset: windows, rows loaded, rows in table, requests, retries, seconds."""
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if re.match(r"sandbox\w*/", line)}


def counted() -> list[int]:
    with duckdb.connect("analytics.duckdb", read_only=True) as file:
        return [
            file.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in ("sandbox.users", "sandbox.events", "sandbox.orders", "sandbox_oauth2.sessions")
        ]


def test_demo_loads_through_dagster_and_a_second_one_leaves_the_same_rows() -> None:
    first = start("demo")
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    table = rows_of(out)
    assert table["sandbox/users"][:5] == ["–", "500", "500", "6", "1"]  # a request more: 503, on purpose
    assert table["sandbox/events"][:3] == ["31", "3,000", "3,000"]
    assert table["sandbox/orders"][1:3] == ["600", "600"]
    assert table["sandbox_oauth2/sessions"][:3] == ["1", "1,000", "1,000"]
    assert "503, on purpose" in out
    assert "Three rows of sandbox.events in analytics.duckdb" in out
    assert "evt_3  2024-01-01T00:00:00.000Z" in out
    assert "dagster dev -m analytics_dagster.definitions" in out
    assert "sandbox/events: reading 2024-01-02 … 2024-01-11" in err
    assert "dagster" not in err, "no log of Dagster's on the terminal"
    assert {path.name for path in Path().iterdir()} == {"analytics.duckdb", "analytics.duckdb.lock"}
    before = counted()

    second = start("demo")
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert rows_of(out)["sandbox/orders"][1:3] == ["0", "600"]  # nothing is new since the stored cursor
    assert counted() == before == [500, 3000, 600, 1000]


def test_demo_that_cannot_write_says_why_and_fails() -> None:
    write_api("a file with a mistake is no concern of the demo's")
    Path("a_file").touch()
    failed = start("demo", DESTINATION__DUCKDB__CREDENTIALS="a_file/x.duckdb")
    out, err = failed.communicate(timeout=120)
    assert failed.returncode == 1
    assert "4 of 4 failed" in out
    assert "a_file/x.duckdb cannot be opened" in err
    assert "Traceback" not in err
