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


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"id": None, "name": "c"}], r"a row of `rows` \(id: None, name: 'c'\): the field `id`.*is null"),
        ([*FINE, {"n": 3, "name": "c"}], r"a row of `rows` \(n: 3, name: 'c'\): the field `id`.*is missing"),
        ([*FINE, {"id": {"a": 3}}], r"a row of `rows` \(id__a: 3\): the field `id`.*is missing"),
        ([*FINE, {}], r"row 3 is \{\}, without the primary key"),
        ([*FINE, {"id": "x-3"}], r"the row with id: 'x-3': the field `id`.*is no bigint"),
        ([*FINE, {"id": 3.5}], r"the row with id: 3\.5: the field `id`.*is no bigint"),
    ],
)
def test_a_row_without_its_primary_key_is_named(duckdb_store: Store, rows: list[Any], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        load_rows(duckdb_store, rows, "primary_key: id")


def test_a_primary_key_is_found_by_the_name_of_its_column(duckdb_store: Store) -> None:
    load_rows(duckdb_store, [{"userId": 1, "of": {"id": 2}}], "primary_key: [user_id, of__id]")
    assert duckdb_store.fetch("SELECT user_id, of__id FROM {}.rows") == [(1, 2)]
    with pytest.raises(ContractError, match=r"the field `of__id`.*is missing"):
        load_rows(duckdb_store, [{"userId": 1, "of": {}}], "primary_key: [user_id, of__id]")
    assert duckdb_store.fetch("SELECT user_id, of__id FROM {}.rows") == [(1, 2)]


def test_a_primary_key_with_the_path_of_a_field_says_how_its_column_is_called(duckdb_store: Store) -> None:
    with pytest.raises(ContractError, match=r"`of_id`.*is missing\. In `primary_key` write `of__id`, as its"):
        load_rows(duckdb_store, [{"of": {"id": 2}}], "primary_key: of.id")


def test_a_primary_key_of_any_kind_is_taken(duckdb_store: Store) -> None:
    rows = [{"id": number, "at": f"2024-01-0{number}T00:00:00Z", "big": 2**64 + number} for number in (1, 2)]
    load_rows(duckdb_store, rows, "primary_key: [at, big]")
    load_rows(duckdb_store, rows, "primary_key: [at, big]")
    assert duckdb_store.ids("rows") == [1, 2]


def test_freezing_everything_before_the_first_load_says_what_to_write_instead(duckdb_store: Store) -> None:
    with pytest.raises(ContractError, match=r"schema_contract: \{columns: freeze, data_type: freeze\}"):
        load_rows(duckdb_store, FINE, "schema_contract: freeze")


def test_by_default_new_columns_and_types_are_taken(duckdb_store: Store) -> None:
    load_rows(duckdb_store, FINE, "primary_key: id")
    load_rows(duckdb_store, [{"id": 3, "n": "many", "new": {"x": 1}}], "primary_key: id")
    assert duckdb_store.fetch("SELECT id, n, n__v_text, new__x FROM {}.rows") == [(3, None, "many", 1)]
