"""What is loaded, and by whom."""

from __future__ import annotations

from analytics_dagster_tests.benchmark.loads import Scenario

CONTENDERS = {
    "limit": "the limit",
    "hand_written": "requests, pandas",
    "dlt_default": "dlt REST",
    "dlt_parquet": "dlt REST, Parquet",
    "dagster_dlt_parquet": "dagster-dlt, Parquet",
    "ours_load": "ours, load()",
    "ours_materialize": "ours, materialize()",
}
TOOLS = ("dlt_default", "dlt_parquet", "dagster_dlt_parquet")
"""What a user would pick in our place."""
PEERS = ("hand_written", *TOOLS)

_ALL = tuple(CONTENDERS)
_BIG = ("limit", "ours_load", "ours_materialize")

SCENARIOS = [
    Scenario("flat-1000", "100,000 flat rows, pages of 1,000", 100_000, 1_000, _ALL),
    Scenario("flat-100", "100,000 flat rows, pages of 100", 100_000, 100, _ALL),
    Scenario("slow", "20,000 flat rows, pages of 100, 50 ms a request", 20_000, 100, _ALL, delay=0.05),
    Scenario(
        "cursor",
        "a day of 20,000 flat rows, cursors to pages of 100, 50 ms a request",
        20_000,
        100,
        ("dlt_default", "dlt_parquet", "ours_load"),
        delay=0.05,
        paging="cursor",
    ),
    Scenario("nested", "50,000 nested rows, with a child table", 50_000, 1_000, _ALL, shape="nested"),
    Scenario("json", "the same 50,000 rows, nested values as JSON", 50_000, 1_000, _ALL, shape="json"),
    Scenario(
        "postgres",
        "100,000 flat rows, pages of 1,000, into PostgreSQL",
        100_000,
        1_000,
        ("dlt_default", "ours_load", "ours_materialize"),
        destination="postgres",
    ),
    Scenario("million", "1,000,000 flat rows, pages of 1,000", 1_000_000, 1_000, _BIG, full=True),
    Scenario("ten-million", "10,000,000 flat rows", 10_000_000, 1_000, ("ours_materialize",), full=True),
]
FIXED = "fixed"
"""The name of what is no scenario of rows: see `fixed`."""
