"""What is counted after a load is as expected, whatever the way of loading, unless rows are lost or twice."""

from __future__ import annotations

from typing import Any

import pytest
import responses

from analytics_dagster.loading.arrival import Arrival, count_arrived
from analytics_dagster.loading.load import prepare_load
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile, Window, parse_text
from analytics_dagster_tests.loading.helpers import Store, day

CURSOR = "cursor_path: t, start_param: since, end_param: until"
DAILY = "partitions: {every: day, start: 2024-01-01}"
KEY = "primary_key: id"
MERGE = f"{KEY}, write_disposition: merge"


def file_of(store: Store, options: str, cursor: str = CURSOR) -> ApiFile:
    options = options.replace(", ", "\n  ").replace("day\n  ", "day, ")
    incremental = f", incremental: {{{cursor}}}" if cursor else ""
    text = f"""\
name: {store.api}
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  endpoint: {{path: rows, data_selector: data, paginator: single_page{incremental}}}
  {options}
"""
    return parse_text(text, "apis/x.yaml")


def row(key: Any, number: int, hour: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": key, "t": f"2024-01-{number:02}T{hour:02}:00:00Z", **fields}


def arrive(
    store: Store,
    file: ApiFile,
    rows: list[Any],
    *windows: Window,
    full_refresh: bool = False,
    then: str = "",
) -> Arrival:
    """Load rows, and count; `then` is done to the table before that."""
    with responses.RequestsMock() as mock:
        mock.get("https://api.example.com/rows", json={"data": rows})
        with prepare_load(file, "rows", windows, store.destination, full_refresh=full_refresh) as prepared:
            prepared.pipeline.run(prepared.source, **prepared.options)
            found = count_arrived(prepared, windows, full_refresh=full_refresh)
            if then:
                assert found.problem is None, found
                with prepared.pipeline.sql_client() as client:
                    client.execute_sql(then.replace("{}", client.make_qualified_table_name("rows")))
                found = count_arrived(prepared, windows, full_refresh=full_refresh)
            return found


WAYS = {
    "upsert": (f"{MERGE}, {DAILY}", CURSOR),
    "replace_window with a key": (f"{MERGE}, on_rerun: replace_window, {DAILY}", CURSOR),
    "replace_window without a key": (f"write_disposition: merge, {DAILY}", CURSOR),
    "append with partitions": (f"write_disposition: append, {DAILY}", CURSOR),
    "append with partitions and a key": (f"{KEY}, write_disposition: append, {DAILY}", CURSOR),
    "merge since a cursor": (MERGE, f"{CURSOR}, initial_value: 2024-01-01"),
    "append since a cursor": ("write_disposition: append", f"{CURSOR}, initial_value: 2024-01-01"),
    "append since a cursor with a key": (
        f"{KEY}, write_disposition: append",
        f"{CURSOR}, initial_value: 2024-01-01",
    ),
    "merge of everything": (MERGE, ""),
    "replace": ("write_disposition: replace", ""),
    "replace with a key": (f"{KEY}, write_disposition: replace", ""),
    "merge_key": ("merge_key: id, write_disposition: merge, " + DAILY, CURSOR),
}


@pytest.mark.parametrize(("options", "cursor"), WAYS.values(), ids=WAYS.keys())
def test_what_a_load_does_is_as_expected_and_a_lost_row_is_not(
    duckdb_store: Store, options: str, cursor: str
) -> None:
    file = file_of(duckdb_store, options, cursor)
    windows = [day(1), day(2)] if "partitions" in options else []
    appends = "append since" in next(name for name, way in WAYS.items() if way == (options, cursor))
    # With two versions of a row; one is gone afterwards, one has moved to another window, one came.
    first = [row(1, 1), row(1, 1, 5), row(2, 1), row(3, 2), row(4, 2)]
    second = [row(1, 1, 5), row(2, 2, 7), row(4, 2), row(5, 2, 9)]
    found = arrive(duckdb_store, file, first, *windows)
    assert (found.stored, found.problem) == (found.read, None)
    found = arrive(duckdb_store, file, second, *windows, then="DELETE FROM {} WHERE id = 5")
    assert found.problem == (
        f"{found.read} rows were read, and {found.read - 1} arrived"
        if appends
        else f"the table should have {found.expected} rows for those that arrived, and has {found.there}"
    )
    assert appends or found.expected == (found.there or 0) + 1


@pytest.mark.parametrize("options", ["", "on_rerun: replace_window, "])
def test_an_older_version_that_stays_out_is_no_loss(store: Store, options: str) -> None:
    file = file_of(store, f"{MERGE}, {options}{DAILY}")
    assert arrive(store, file, [row(1, 3), row(2, 1)], day(1, 3)).problem is None
    found = arrive(store, file, [row(1, 1), row(2, 1)], day(1))
    left, newer = (0, 1) if options else (None, None)
    assert found == Arrival(2, 2, may_discard=False, expected=2, there=2, left=left, newer=newer)
    assert store.fetch("SELECT count(*) FROM {}.rows WHERE t >= '2024-01-03'") == [(1,)]
    assert found.problem is None
    if options:  # where replacing its other window alone would lose it
        assert found.doubt
        assert "1 rows that came have a version with a later cursor in the destination" in found.doubt


def test_rows_without_a_cursor_arrive(duckdb_store: Store) -> None:
    file = file_of(duckdb_store, f"{MERGE}, {DAILY}", f"{CURSOR}, on_cursor_value_missing: include")
    rows = [row(1, 1), {"id": 2, "t": None}]
    for number in (1, 2):
        found = arrive(duckdb_store, file, rows, day(number))
        assert (found.read, found.problem) == (3 - number, None)


def test_a_key_that_is_there_twice_and_rows_that_should_have_gone_are_told(store: Store) -> None:
    file = file_of(store, f"{MERGE}, on_rerun: replace_window, {DAILY}")
    copy = "INSERT INTO {} (id, t, _dlt_id, _dlt_load_id) VALUES (1, '2024-01-01', 'a', 'b')"
    found = arrive(store, file, [row(1, 1), row(2, 1)], day(1), then=copy)
    assert found.problem == "the table should have 2 rows for those that arrived, and has 3"
    found = arrive(store, file, [row(2, 1)], day(1), then="UPDATE {} SET id = 9")
    assert found.problem == (
        "the table should have 1 rows for those that arrived, and has 0;"
        " 1 rows are there that this load should have replaced"
    )
    found = arrive(store, file, [], day(1))
    assert found == Arrival(0, 0, may_discard=False, left=0)


def test_a_full_refresh_leaves_nothing_else(duckdb_store: Store) -> None:
    file = file_of(duckdb_store, MERGE, f"{CURSOR}, initial_value: 2024-01-01")
    assert arrive(duckdb_store, file, [row(1, 1), row(2, 1)]).problem is None
    assert arrive(duckdb_store, file, [row(1, 1)], full_refresh=True).problem is None
    extra = "INSERT INTO {} (id, t, _dlt_id, _dlt_load_id) VALUES (7, '2024-01-01', 'a', 'b')"
    found = arrive(duckdb_store, file, [row(1, 1)], full_refresh=True, then=extra)
    assert found.left == 1


def test_nothing_at_all_and_rows_that_the_contract_discards_are_no_problem(duckdb_store: Store) -> None:
    file = file_of(duckdb_store, f"{MERGE}, schema_contract: {{columns: discard_row}}", "")
    assert arrive(duckdb_store, file, []).problem is None
    assert arrive(duckdb_store, file, [row(1, 1)]).problem is None
    found = arrive(duckdb_store, file, [row(1, 1), row(2, 1, other=1)])
    assert (found.read, found.stored, found.problem) == (2, 1, None)
    found = arrive(duckdb_store, file, [row(2, 1, other=1)])
    assert (found.read, found.stored, found.problem) == (1, 0, None)


def test_all_shapes_of_rows_count_as_what_they_are(duckdb_store: Store) -> None:
    file = file_of(duckdb_store, "write_disposition: replace", "")
    found = arrive(duckdb_store, file, [{}, {"a": None}, {"a": [1, 2]}, {"a": []}])
    assert (found.read, found.problem) == (4, None)


def test_an_end_while_rows_are_counted_leaves_no_staged_rows(store: Store) -> None:
    file = file_of(store, MERGE, "")
    with pytest.raises(LoadError, match="no_such_column"):
        arrive(store, file, [row(1, 1)], then="UPDATE {} SET no_such_column = 1")
    assert store.ids("rows") == [1]
    assert store.staged("rows") == []
