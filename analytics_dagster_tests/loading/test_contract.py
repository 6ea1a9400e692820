"""Rows that break what the file says about them fail the load, which names the column and the row."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import pytest
import responses

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into


def load_rows(store: Store, rows: list[Any], options: str) -> LoadResult:
    text = """\
name: sandbox
client: {base_url: "https://api.example.com"}
resources:
- name: rows
  write_disposition: replace
  endpoint: {path: rows, data_selector: data, paginator: single_page}
"""
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/rows", json={"data": rows})
        file = parse_text(text + indent(options, "  "), "apis/sandbox.yaml")
        return load_into(store, file, "rows")


FINE = [{"id": 1, "name": "a", "n": 1}, {"id": 2, "name": "b", "n": 2}]
STRICT = "columns: {name: {data_type: text, nullable: false}}"
FROZEN = "primary_key: id\nschema_contract: "


@pytest.mark.parametrize(
    ("options", "rows", "named"),
    [
        (STRICT, [{"id": 3, "name": None}], "`name`"),
        (STRICT, [{"id": 3}], "name"),
        ("columns: [{name: name, data_type: text, nullable: false}]", [{"id": 3, "name": None}], "`name`"),
        ("primary_key: id", [{"id": None, "name": "c"}], "`id`"),
        (FROZEN + "{columns: freeze}", [{"id": 3, "surprise": 1}], "`surprise`.*id: 3"),
        (FROZEN + "{data_type: freeze}", [{"id": 3, "n": "many"}], "`n__v_text`.*id: 3"),
        (FROZEN + "{tables: freeze, columns: freeze}", [{"id": 3, "parts": [{"x": 1}]}], "`rows__parts`"),
    ],
)
def test_a_broken_contract_names_what_broke_it_and_keeps_the_old_rows(
    duckdb_store: Store, options: str, rows: list[Any], named: str
) -> None:
    load_rows(duckdb_store, FINE, options.replace("tables: freeze, ", ""))
    with pytest.raises(ContractError, match=named) as failure:
        load_rows(duckdb_store, rows, options)
    assert str(failure.value).startswith(
        "apis/sandbox.yaml: resource `rows`: the rows do not fit the table: "
    )
    assert failure.value.permanent
    assert duckdb_store.ids("rows") == [1, 2]


def test_freezing_everything_before_the_first_load_says_what_to_write_instead(duckdb_store: Store) -> None:
    with pytest.raises(ContractError, match=r"schema_contract: \{columns: freeze, data_type: freeze\}"):
        load_rows(duckdb_store, FINE, "schema_contract: freeze")


def test_by_default_new_columns_and_types_are_taken(duckdb_store: Store) -> None:
    load_rows(duckdb_store, FINE, "primary_key: id")
    load_rows(duckdb_store, [{"id": 3, "n": "many", "new": {"x": 1}}], "primary_key: id")
    assert duckdb_store.fetch("SELECT id, n, n__v_text, new__x FROM {}.rows") == [(3, None, "many", 1)]
