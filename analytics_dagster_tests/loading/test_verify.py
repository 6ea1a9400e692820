"""`verify`: a row that is not there as the API has it is found and told, and nothing is written."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
import responses

from analytics_dagster.loading.compare import Comparison
from analytics_dagster.loading.verify import unreadable_range, verify
from analytics_dagster.reading.errors import DestinationError, LoadError
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, hold, load_into, sandbox_file
from analytics_dagster_tests.loading.test_ways import BY_CREATION, BY_UPDATE, SINCE_UPDATE, UPSERT, windowed

KEYLESS = "write_disposition: merge"
DAYS = [day(number) for number in range(1, 6)]


def counts(found: Comparison) -> tuple[int, int, int]:
    return found.missing, found.extra, found.different


def plain(resource: str, options: str, cursor: str = "") -> str:
    return f"""
        - name: {resource}
          endpoint: {{path: /v1/{resource}{f", incremental: {cursor}" if cursor else ""}}}
          {options}
    """


def change(store: Store, *statements: str) -> None:
    """Do to the stored rows what nobody should; `{}` stands for the dataset."""
    assert store.destination.credentials
    if store.destination.type == "duckdb":
        with duckdb.connect(store.destination.credentials) as connection:
            for statement in statements:
                connection.execute(statement.replace("{}", store.api))
        return
    connection = psycopg2.connect(store.destination.credentials)
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.replace("{}", store.api))
    connection.close()


def snapshot(store: Store) -> Any:
    """All that could show that somebody wrote to the destination."""
    if store.destination.type == "duckdb":
        path = Path(str(store.destination.credentials))
        return hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    return store.fetch(
        "SELECT table_schema, table_name, (SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
        " WHERE schemaname = table_schema AND relname = table_name)"
        " FROM information_schema.tables WHERE table_schema IN ('{}', '_staging_unused')"
        " ORDER BY 1, 2"
    )


def test_each_planted_fault_is_found_and_nothing_is_written(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", BY_UPDATE, UPSERT), store.api)
    load_into(store, file, "orders", day(1, 5))
    change(
        store,
        "DELETE FROM {}.orders WHERE id = 'ord_1'",
        "INSERT INTO {}.orders (id, updated_at, _dlt_id, _dlt_load_id)"
        " VALUES ('ord_x', '2024-01-02T05:00:00Z', 'abc', '1')",
        "UPDATE {}.orders SET name = 'Nobody' WHERE id = 'ord_2'",
        "UPDATE {}.orders__items SET quantity = quantity + 1 WHERE _dlt_list_idx = 0 AND _dlt_parent_id ="
        " (SELECT _dlt_id FROM {}.orders WHERE id = 'ord_3')",
        "DELETE FROM {}.orders__items WHERE _dlt_parent_id ="
        " (SELECT _dlt_id FROM {}.orders WHERE id = 'ord_4')",
    )
    before = snapshot(store)
    found = verify(file, "orders", [day(1, 5)], store.destination)
    assert snapshot(store) == before
    assert counts(found) == (1, 1, 3)
    truth = {row["id"]: row for row in sandbox.data.truth("orders")}
    assert (found.in_api, found.in_destination) == (len(truth), len(truth))
    told = {json.loads(example.key["id"]): example for example in found.examples}
    assert {name: example.kind for name, example in told.items()} == {
        "ord_1": "missing",
        "ord_x": "extra",
        "ord_2": "different",
        "ord_3": "different",
        "ord_4": "different",
    }
    assert told["ord_x"].cursor == "2024-01-02T05:00:00Z"
    assert told["ord_2"].fields == {"name": (json.dumps(truth["ord_2"]["name"]), '"Nobody"')}
    quantity = truth["ord_3"]["items"][0]["quantity"]
    assert told["ord_3"].fields == {"items.0.quantity": (str(quantity), str(quantity + 1))}
    lost = len(truth["ord_4"]["items"])
    assert told["ord_4"].fields["items"] == (f"{lost} rows", "")


WAYS = {
    "merge": windowed("orders", BY_UPDATE, UPSERT),
    "replace_window with a key": windowed(
        "orders", BY_UPDATE, UPSERT + "\n          on_rerun: replace_window"
    ),
    "replace_window without a key": windowed("orders", BY_CREATION, "write_disposition: merge"),
    "append with partitions": windowed("orders", BY_CREATION, "write_disposition: append"),
    "JSON columns": windowed("orders", BY_CREATION, UPSERT + "\n          max_table_nesting: 0"),
    "merge since a cursor": plain("orders", UPSERT, SINCE_UPDATE),
    "append since a cursor": plain("orders", "write_disposition: append", SINCE_UPDATE),
    "merge of everything": plain("orders", UPSERT),
    "replace": plain("orders", "write_disposition: replace"),
    "replace with a key": plain("orders", "primary_key: id\n          write_disposition: replace"),
}


@pytest.mark.parametrize("resource", WAYS.values(), ids=WAYS.keys())
def test_of_what_was_loaded_in_any_way_just_the_row_is_missing_that_is_gone(
    sandbox: RunningSandbox, duckdb_store: Store, resource: str
) -> None:
    file = sandbox_file(sandbox.url, resource)
    windows = [day(1, 5)] if file.api.resources[0].partitions else []
    load_into(duckdb_store, file, "orders", *windows)
    change(duckdb_store, "DELETE FROM {}.orders WHERE id = 'ord_7'")
    found = verify(file, "orders", windows, duckdb_store.destination)
    assert (found.in_api, found.in_destination, *counts(found)) == (30, 29, 1, 0, 0)
    assert found.examples[0].key["id"] == '"ord_7"'


def test_a_range_is_all_that_is_compared_also_of_a_resource_without_partitions(
    sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    file = sandbox_file(sandbox.url, plain("orders", UPSERT, SINCE_UPDATE))
    load_into(duckdb_store, file, "orders")
    change(duckdb_store, "DELETE FROM {}.orders WHERE updated_at < '2024-01-03T00:00:00Z'")
    within = list(sandbox.data.truth("orders", updated_after=day(3).start, updated_before=day(5).start))
    found = verify(file, "orders", [day(3, 2)], duckdb_store.destination)
    assert (found.in_api, found.in_destination, *counts(found)) == (len(within), len(within), 0, 0, 0)


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("", "it has no cursor"),
        ("{cursor_path: id, start_param: since, initial_value: 0}", "its cursor is a number"),
        ("{cursor_path: updated_at, last_value_func: min}", "does not go forward in time"),
        (SINCE_UPDATE, None),
    ],
)
def test_a_range_needs_a_cursor_that_goes_forward_in_time(cursor: str, reason: str | None) -> None:
    resource = sandbox_file("https://example.com", plain("orders", UPSERT, cursor)).api.resources[0]
    found = unreadable_range(resource)
    assert (found is None) if reason is None else (found and reason in found)


def test_rows_that_stay_by_design_are_extra_and_older_versions_are_told_apart(
    sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    options = "primary_key: id\n          write_disposition: append"
    file = sandbox_file(sandbox.url, plain("orders", options, SINCE_UPDATE))
    load_into(duckdb_store, file, "orders")
    sandbox.data.update("orders", ids=["ord_1", "ord_2"], at="2024-02-01T00:00:00Z")
    load_into(duckdb_store, file, "orders")
    found = verify(file, "orders", [], duckdb_store.destination)
    assert (*counts(found), found.older) == (0, 0, 0, 2)
    sandbox.data.delete("orders", ["ord_3"])
    sandbox.data.update("orders", ids=["ord_4"], at="2024-02-02T00:00:00Z")
    found = verify(file, "orders", [], duckdb_store.destination)
    assert (*counts(found), found.older) == (1, 1, 0, 3)


class Rows:
    """An API file for rows that a test gives."""

    def __init__(self, store: Store, options: str = "primary_key: id\n  write_disposition: replace") -> None:
        self._store = store
        text = f"""\
name: {store.api}
client: {{base_url: "https://api.example.com", auth: {{type: bearer, token: hush-hush}}}}
resources:
- name: rows
  endpoint: {{path: rows, data_selector: data, paginator: single_page}}
  {options}
"""
        self.file: ApiFile = parse_text(text, "apis/x.yaml")

    def load(self, rows: str) -> None:
        with self._sending(rows):
            load_into(self._store, self.file, "rows")

    def verify(self, rows: str) -> Comparison:
        with self._sending(rows):
            return verify(self.file, "rows", [], self._store.destination)

    @staticmethod
    def _sending(rows: str) -> responses.RequestsMock:
        mock = responses.RequestsMock()
        mock.get(
            "https://api.example.com/rows", body=f'{{"data": [{rows}]}}', content_type="application/json"
        )
        return mock


VALUES = [
    '{"id": 1, "x": 1, "d": 1.10, "t": "2024-01-01T00:00:00Z", "j": {"a": [1, {"b": 0.1}]}}',
    '{"id": 2, "x": "many", "d": 1, "t": "soon", "j": {"a": []}}',
    '{"id": 3, "x": 1.5, "d": 123456789012345678901234567890, "t": "2024-01-01T01:00:00+01:00"}',
    '{"id": 4, "x": null, "j": {"a": [[1, 2], {"b": [null, "ü"]}]}}',
    '{"id": 5, "x": true, "d": 1e300, "j": {"a": [1.0000000000000000001]}}',
]


def test_values_of_all_kinds_in_variant_columns_too_are_equal_to_themselves(store: Store) -> None:
    rows = Rows(store, "primary_key: id\n  write_disposition: merge\n  max_table_nesting: 0")
    rows.load(VALUES[0])  # so that those that follow meet columns of other types
    rows.load(", ".join(VALUES[1:]))
    assert store.fetch("SELECT x__v_text FROM {}.rows WHERE id = 2") == [("many",)]
    found = rows.verify(", ".join([VALUES[0].replace('"x": 1,', '"x": "1",'), *VALUES[1:]]))
    assert counts(found) == (0, 0, 1)
    assert found.examples[0].fields == {"x": ('"1"', "1")}
    change(store, "UPDATE {}.rows SET x__v_text = 'few' WHERE id = 2")
    found = rows.verify(", ".join(VALUES))
    assert counts(found) == (0, 0, 1)
    assert found.examples[0].fields == {"x": ('"many"', '"few"')}


def test_copies_of_rows_are_counted_with_a_key_and_without(duckdb_store: Store) -> None:
    copy = "INSERT INTO {}.rows SELECT * FROM {}.rows WHERE id = 1"
    rows = Rows(duckdb_store)
    rows.load('{"id": 1}, {"id": 2}')
    change(duckdb_store, copy)
    assert counts(rows.verify('{"id": 1}, {"id": 2}')) == (0, 1, 0)
    rows = Rows(duckdb_store, "write_disposition: replace")
    rows.load('{"id": 1}, {"id": 2}')
    found = rows.verify('{"id": 1}, {"id": 1}, {"id": 3}')
    assert counts(found) == (2, 1, 0)
    assert sorted(example.key["id"] for example in found.examples) == ["1", "2", "3"]


def test_a_copy_of_a_nested_row_another_order_and_another_parent_are_found(duckdb_store: Store) -> None:
    rows = Rows(duckdb_store)
    sent = '{"id": 1, "a": [{"b": [1, 2]}, {"b": [3]}]}'
    rows.load(sent)
    change(duckdb_store, "UPDATE {}.rows__a__b SET _dlt_list_idx = 1 - _dlt_list_idx WHERE value < 3")
    assert counts(rows.verify(sent)) == (0, 0, 1)
    rows.load(sent)
    change(duckdb_store, "INSERT INTO {}.rows__a SELECT * FROM {}.rows__a WHERE _dlt_list_idx = 1")
    assert counts(rows.verify(sent)) == (0, 0, 1)
    rows.load('{"id": 1, "a": [{"b": [1]}, {"b": [2, 3]}]}')
    assert counts(rows.verify(sent)) == (0, 0, 1)


def test_what_was_never_loaded_is_missing_and_an_empty_api_leaves_all_extra(duckdb_store: Store) -> None:
    rows = Rows(duckdb_store)
    assert counts(rows.verify('{"id": 1}')) == (1, 0, 0)
    assert not Path(str(duckdb_store.destination.credentials)).exists()
    rows.load('{"id": 1, "a": [1]}')
    assert counts(rows.verify("")) == (0, 1, 0)


def test_a_notebook_that_reads_the_file_is_not_in_the_way(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_dagster.loading.duckdb_file.PATIENCE", 0)
    rows = Rows(duckdb_store)
    rows.load('{"id": 1}')
    with hold(str(duckdb_store.destination.credentials)) as notebook:
        found = rows.verify('{"id": 1}')
        notebook.communicate("\n")
    assert counts(found) == (0, 0, 0)


def test_names_that_postgres_shortens_are_the_same_columns(store: Store) -> None:
    rows = Rows(store)
    sent = f'{{"id": 1, "{"x" * 80}": 1, "{"y" * 80}": [{{"{"z" * 80}": 2}}]}}'
    rows.load(sent)
    assert counts(rows.verify(sent)) == (0, 0, 0)


def test_rows_without_a_cursor_count_where_the_api_sends_them(duckdb_store: Store) -> None:
    cursor = "{cursor_path: t, start_param: a, end_param: b, on_cursor_value_missing: include}"
    file = parse_text(
        f"""\
name: {duckdb_store.api}
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  endpoint: {{path: rows, data_selector: data, paginator: single_page, incremental: {cursor}}}
  primary_key: id
  write_disposition: merge
  partitions: {{every: day, start: 2024-01-01}}
""",
        "apis/x.yaml",
    )
    with responses.RequestsMock() as mock:
        body = {"data": [{"id": 1, "t": "2024-01-01T05:00:00Z"}, {"id": 2, "t": None}]}
        mock.get("https://api.example.com/rows", json=body)
        load_into(duckdb_store, file, "rows", day(1))
        assert counts(verify(file, "rows", [day(1)], duckdb_store.destination)) == (0, 0, 0)
    with responses.RequestsMock() as mock:
        mock.get("https://api.example.com/rows", json={"data": []})
        found = verify(file, "rows", [day(2)], duckdb_store.destination)
    assert (found.in_destination, *counts(found)) == (0, 0, 0, 0)


def test_no_secret_is_told(duckdb_store: Store) -> None:
    rows = Rows(duckdb_store)
    rows.load('{"id": 1, "x": "a"}')
    found = rows.verify('{"id": 1, "x": "hush-hush"}')
    assert found.examples[0].fields == {"x": ('"***"', '"a"')}


def test_what_cannot_be_read_is_an_error_that_names_the_resource(
    sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", BY_CREATION, KEYLESS))
    load_into(duckdb_store, file, "orders", day(1))
    change(duckdb_store, "ALTER TABLE {}.orders RENAME COLUMN name TO title")
    with pytest.raises(LoadError, match="resource `orders`"):
        verify(file, "orders", [day(1)], duckdb_store.destination)
    lifted = sandbox_file(
        sandbox.url,
        windowed("orders", BY_CREATION.replace("{", "{format: '%Y-%m-%dT%H:%M:%SZ', ", 1), KEYLESS),
    )
    sandbox.data.delete("orders", [row["id"] for row in sandbox.data.truth("orders")])
    with pytest.raises(DestinationError, match=r"no column `_cursor`.*Load these windows again"):
        verify(lifted, "orders", [day(1)], duckdb_store.destination)
    sandbox.faults.add(Fault(kind="status", status=500, match="/v1/orders"))
    with pytest.raises(LoadError, match="500"):
        verify(file, "orders", [day(1)], duckdb_store.destination)


def test_a_window_is_asked_for_as_a_load_asks(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", BY_UPDATE, UPSERT))
    verify(file, "orders", DAYS, duckdb_store.destination)
    asked = [
        tuple(
            datetime.fromisoformat(request.query[name]).astimezone(UTC)
            for name in ("updated_after", "updated_before")
        )
        for request in sandbox.requests.list("/v1/orders")
    ]
    assert asked == [(DAYS[0].start, DAYS[0].end), (DAYS[1].start, DAYS[-1].end)]
