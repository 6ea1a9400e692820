"""Rows are merged from the files that dlt staged, however many there are and whatever is in them."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from requests import PreparedRequest

from analytics_dagster.loading import batches
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into

FILE = """\
name: {name}
client: {{base_url: https://api.example.com}}
resources:
  - name: rows
    primary_key: id
    write_disposition: merge
    endpoint:
      path: rows
      data_selector: data
      paginator: {{type: offset, limit: 1}}
"""
CURSOR = "      incremental: {cursor_path: t, initial_value: 2024-01-01, start_param: since}\n"


@pytest.fixture
def many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page goes into a file of its own."""
    monkeypatch.setattr(batches, "_BYTES", 1)
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "1")
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "1")


def load_pages(store: Store, *rows: dict[str, Any], cursor: str = "") -> None:
    def page(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        offset = int(parse_qs(urlsplit(str(request.url)).query)["offset"][0])
        return 200, {}, json.dumps({"data": rows[offset : offset + 1], "total": len(rows)})

    with responses.RequestsMock() as api:
        api.add_callback("GET", "https://api.example.com/rows", page, content_type="application/json")
        load_into(store, parse_text(FILE.format(name=store.api) + cursor, "apis/x.yaml"), "rows")


@pytest.mark.usefixtures("many_files")
def test_several_files_of_a_table_and_of_one_nested_in_it(duckdb_store: Store) -> None:
    load_pages(
        duckdb_store,
        {"id": 1, "at": "2024-01-01T00:00:00Z", "tags": ["a", "b"]},
        {"id": 2, "added": {"x": [1]}, "tags": []},
        {"id": 3, "at": None, "price": 1.5, "tags": ["c"]},
    )
    load_pages(duckdb_store, {"id": 2, "price": 2.5, "tags": ["d"]}, {"id": 4, "tags": ["e"]})
    assert duckdb_store.fetch('SELECT id, year("at"), price FROM {}.rows ORDER BY id') == [
        (1, 2024, None),
        (2, None, 2.5),
        (3, None, 1.5),
        (4, None, None),
    ]
    joined = "{}.rows JOIN {}.rows__tags AS tag ON tag._dlt_parent_id = rows._dlt_id"
    assert duckdb_store.fetch(f"SELECT id, value FROM {joined} ORDER BY ALL") == [
        (1, "a"),
        (1, "b"),
        (2, "d"),
        (3, "c"),
        (4, "e"),
    ]


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("tags", [[], ["a"]], ids=["flat", "nested"])
@pytest.mark.parametrize("days", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_of_versions_in_several_files_the_latest_stays(
    duckdb_store: Store, days: tuple[int, int, int], tags: list[str]
) -> None:
    def version(row_id: int, day: int) -> dict[str, Any]:
        return {"id": row_id, "t": f"2024-01-0{day}T00:00:00Z", "day": day} | ({"tags": tags} if tags else {})

    first, *later = days
    load_pages(
        duckdb_store, version(1, first), version(2, 2), *(version(1, day) for day in later), cursor=CURSOR
    )
    assert duckdb_store.fetch("SELECT id, day FROM {}.rows ORDER BY id") == [(1, 3), (2, 2)]
    if tags:
        assert duckdb_store.fetch("SELECT count(*) FROM {}.rows__tags") == [(2,)]


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("name", ["rowid", "file_row_number"])
def test_a_column_by_the_name_of_rows_numbers(duckdb_store: Store, name: str) -> None:
    for _ in range(2):
        load_pages(duckdb_store, {"id": 1, name: 7}, {"id": 2, name: 9})
    assert duckdb_store.fetch(f'SELECT id, "{name}" FROM {{}}.rows ORDER BY id') == [(1, 7), (2, 9)]


@pytest.mark.usefixtures("many_files")
def test_a_file_system_without_links(duckdb_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    load_pages(duckdb_store, {"id": 1}, {"id": 2})
    assert duckdb_store.ids("rows") == [1, 2]
