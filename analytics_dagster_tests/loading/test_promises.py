"""A destination that cannot keep what is promised of a resource is refused, with the reason and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load
from analytics_dagster.loading.promises import unkept, way_of, weakness
from analytics_dagster.reading.errors import WeakDestinationError
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.loading.helpers import day, sandbox_file

REFRESHED = "- {name: rows, endpoint: {path: /v1/users}, write_disposition: replace}"
UPSERTED = "- {name: rows, endpoint: {path: /v1/users}, write_disposition: merge, primary_key: id}"
_CURSOR = "incremental: {cursor_path: created_at, start_param: created_after, initial_value: 2024-01-01}"
APPENDED = f"- {{name: rows, endpoint: {{path: /v1/events, {_CURSOR}}}, write_disposition: append}}"
WINDOWS = f"""
    - name: rows
      endpoint:
        path: /v1/events
        {_CURSOR.replace("initial_value: 2024-01-01", "end_param: created_before")}
      partitions: {{every: day, start: 2024-01-01}}
      write_disposition: append
"""
WAYS = {"refreshed": REFRESHED, "upserted": UPSERTED, "appended": APPENDED, "windows": WINDOWS}
ALL = set(WAYS)


def file(text: str) -> ApiFile:
    return sandbox_file("https://api.example.com", text)


@pytest.mark.parametrize(
    ("destination", "refused"),
    [
        *((name, set[str]()) for name in ("duckdb", "motherduck", "postgres", "mssql", "snowflake")),
        *((name, set[str]()) for name in ("redshift", "bigquery", "sqlalchemy")),
        *((name, ALL - {"appended"}) for name in ("clickhouse", "athena", "dremio")),
        *((name, ALL - {"appended"}) for name in ("databricks", "synapse")),
        *((name, ALL) for name in ("filesystem", "weaviate", "lancedb", "qdrant")),
        ("dummy", {"refreshed"}),  # dlt's own for tests, the only one that merges and cannot replace
    ],
)
def test_each_destination_is_refused_what_it_cannot_keep(destination: str, refused: set[str]) -> None:
    assert {way for way, text in WAYS.items() if unkept([file(text)], destination)} == refused


def test_a_resource_that_is_not_selected_is_promised_nothing() -> None:
    assert unkept([file(UPSERTED.replace("{name: rows", "{name: rows, selected: false"))], "filesystem") == []


def test_a_refusal_names_file_line_key_resource_promise_reason_and_remedy() -> None:
    [problem] = unkept([file(WINDOWS)], "clickhouse")
    line = next(n for n, text in enumerate(WINDOWS.splitlines(), 8) if text.strip().startswith("- name"))
    assert str(problem).startswith(f"sandbox.yaml:{line}: resources.0.on_rerun: resource `rows`: the rows of")
    assert "`clickhouse` has no transactions" in str(problem)
    assert "Set ANALYTICS_DESTINATION to" in str(problem)
    assert "`write_disposition: append` and a cursor" in str(problem)


@pytest.mark.parametrize("way", WAYS)
def test_a_load_into_files_is_refused_before_anything_is_read_or_written(
    sandbox: RunningSandbox, own_place: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_place / "files"))
    window = day(1) if way == "windows" else None
    with pytest.raises(WeakDestinationError, match=r"sandbox.yaml: resource `rows`: .*`filesystem` is no"):
        load(sandbox_file(sandbox.url, WAYS[way]), "rows", window, Destination("filesystem"))
    assert sandbox.requests.list() == []
    assert not (own_place / "files").exists()


def test_a_full_refresh_of_what_is_appended_is_refused_where_old_rows_would_be_lost() -> None:
    [resource] = file(APPENDED).api.resources
    assert weakness("clickhouse", way_of(resource)) is None
    reason = weakness("clickhouse", way_of(resource, full_refresh=True))
    assert reason is not None
    assert "rows missing" in reason


def test_a_destination_that_says_that_it_has_no_transactions_is_not_told_otherwise() -> None:
    assert Destination("clickhouse").open("staging").caps_params.get("supports_transactions") is None
    assert Destination("snowflake").open("staging").caps_params["supports_transactions"] is True
    assert Destination("postgres").open("staging").caps_params["supports_transactions"] is True
