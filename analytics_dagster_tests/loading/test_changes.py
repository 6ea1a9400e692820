"""Changes of the file that would damage stored rows: refused before any request, saying how to go on."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from analytics_dagster.loading.changes import definition, harmful_changes
from analytics_dagster.loading.state import accept
from analytics_dagster.reading.errors import ChangedError, RefusedError
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import Resource
from analytics_dagster_tests.loading.helpers import (
    Store,
    day,
    load_into,
    sandbox_file,
    sandbox_text,
    versions,
)

CURSOR: dict[str, Any] = {"cursor_path": "created_at", "start_param": "since", "end_param": "until"}


def resource(cursor: dict[str, Any] | None = None, selector: str | None = "data", **keys: Any) -> Resource:
    endpoint: dict[str, Any] = {"path": "/v1/events", "data_selector": selector}
    if cursor:
        endpoint["incremental"] = cursor
    return Resource.model_validate({"name": "events", "endpoint": endpoint, **keys})


def upserted(cursor: dict[str, Any] | None = CURSOR, **keys: Any) -> Resource:
    return resource(cursor, write_disposition="merge", **{"primary_key": "id", **keys})


def daily(cursor: dict[str, Any] = CURSOR, *, windows: dict[str, str] | None = None, **keys: Any) -> Resource:
    return resource(cursor, partitions={"every": "day", "start": "2024-01-01", **(windows or {})}, **keys)


def appended(cursor: dict[str, Any] = CURSOR, **keys: Any) -> Resource:
    return resource(cursor, write_disposition="append", **keys)


BERLIN = {"timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        (upserted(), upserted(primary_key="uuid"), ["primary_key"]),
        (upserted(), upserted(primary_key=["id", "team"]), ["primary_key"]),
        (upserted(), upserted(table_name="other"), ["table_name"]),
        (upserted(), upserted(selector="rows"), ["endpoint.data_selector"]),
        (upserted(), upserted(selector=None), ["endpoint.data_selector"]),
        (
            upserted(),
            upserted({**CURSOR, "cursor_path": "updated_at"}),
            ["endpoint.incremental.cursor_path"],
        ),
        (daily(), daily({**CURSOR, "format": "epoch"}), ["endpoint.incremental.format"]),
        (
            daily({**CURSOR, "format": "epoch"}),
            daily({**CURSOR, "format": "epoch_ms"}),
            ["endpoint.incremental.format"],
        ),
        (upserted(), upserted({**CURSOR, **BERLIN}), ["endpoint.incremental.timezone"]),
        (
            upserted(),
            upserted({**CURSOR, "last_value_func": "min"}),
            ["endpoint.incremental.last_value_func"],
        ),
        (appended(), appended(columns={"created_at": {"data_type": "text"}}), ["the cursor's column"]),
        (daily(), daily(windows=BERLIN), ["partitions.timezone"]),
        (daily(), daily(windows={"every": "month"}), ["partitions.every"]),
        (daily(), appended(), ["partitions"]),
        (appended(), upserted(primary_key="id"), ["primary_key", "write_disposition"]),
        (resource(write_disposition="replace"), appended(), ["endpoint.incremental.cursor_path"]),
        (upserted(None), appended(primary_key="id"), ["endpoint.incremental.cursor_path"]),
        (upserted(), upserted(records={"rows": {"entries": "id"}}), ["records.rows"]),
        (upserted(), upserted(records={"fields": {"id": {"from": "uid"}}}), ["records"]),
        (
            upserted(),
            upserted(records={"fields": {"created_at": {"from": "t", "cast": "epoch"}}}),
            ["records"],
        ),
        (upserted(), upserted(records={"hash": {"fields": ["id"]}}), ["records"]),
    ],
)
def test_what_would_damage_rows_is_found(old: Resource, new: Resource, keys: list[str]) -> None:
    assert [change.key for change in harmful_changes(definition(old), definition(new))] == keys


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (upserted(), upserted(primary_key=["id"])),
        (upserted(primary_key=["a", "b"]), upserted(primary_key=["b", "a"])),
        (upserted(), upserted(selector="$.data")),
        (upserted(), upserted(selector="data[*]")),
        (upserted(), upserted({**CURSOR, "timezone": "UTC", "format": "iso"})),
        (upserted(), upserted({**CURSOR, "start_param": "from", "start": "exclusive"})),
        (upserted({**CURSOR, "format": "epoch"}), upserted({**CURSOR, "format": "epoch", **BERLIN})),
        (upserted(), upserted(table_name="Events", description="What happened", max_table_nesting=0)),
        (daily(), daily(windows={"timezone": "UTC", "start": "2023-01-01"})),
        (daily(), daily(windows={"start": "2024-02-01"})),
        (upserted(), daily(primary_key="id", write_disposition="merge")),  # windows of its own, from now on
        (daily(primary_key="id", write_disposition="merge"), upserted()),
        (upserted(None), upserted()),
        (
            upserted(),
            upserted(records={"fields": {"x": {"from": "y"}}, "drop": ["z"], "hash": {"fields": ["w"]}}),
        ),
        (upserted(), upserted(None)),
        (resource(write_disposition="replace"), upserted(None)),
    ],
)
def test_what_does_no_harm_passes(old: Resource, new: Resource) -> None:
    assert harmful_changes(definition(old), definition(new)) == []


EVENTS = """
    - name: events
      endpoint:
        path: /v1/events
        incremental: {cursor_path: created_at, start_param: created_after, end_param: created_before}
      partitions: {every: day, start: 2024-01-01, timezone: UTC}
      primary_key: id
      write_disposition: merge
"""
USERS = "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}"


def stored_states(store: Store) -> int:
    [(count,)] = store.fetch("SELECT count(*) FROM {}._dlt_pipeline_state")
    return count


def test_a_changed_resource_is_refused_before_any_request(sandbox: RunningSandbox, store: Store) -> None:
    load_into(store, sandbox_file(sandbox.url, EVENTS, store.api), "events", day(1))
    before, asked = store.versions("events"), len(sandbox.requests.list())
    changed = EVENTS.replace("primary_key: id", "primary_key: name").replace("UTC", "Asia/Tokyo")
    text = sandbox_text(sandbox.url, changed, store.api)
    with pytest.raises(ChangedError) as refused:
        load_into(store, sandbox_file(sandbox.url, changed, store.api), "events", day(2))
    message = str(refused.value)
    name = f"{store.api}.yaml"
    lines = [line.split(":")[0].strip() for line in text.splitlines()]
    key, windows = lines.index("primary_key") + 1, lines.index("partitions") + 1
    assert f"{name}:{key}: primary_key: [id] -> [name]: " in message
    assert f"{name}:{windows}: partitions.timezone: UTC -> Asia/Tokyo: " in message
    assert message.startswith(f"{name}: resource `events`: ")
    assert "Put the old value back" in message
    assert f"`analytics-dagster reset {store.api} events`" in message
    assert f"`analytics-dagster state {store.api} --resource events --accept`" in message
    assert refused.value.permanent
    assert (store.versions("events"), len(sandbox.requests.list())) == (before, asked)
    load_into(store, sandbox_file(sandbox.url, EVENTS, store.api), "events", day(2))  # put back


def test_an_accepted_change_is_no_change_any_more(sandbox: RunningSandbox, store: Store) -> None:
    load_into(store, sandbox_file(sandbox.url, EVENTS, store.api), "events", day(1))
    file = sandbox_file(sandbox.url, EVENTS.replace("UTC", "Europe/London"), store.api)
    [change] = accept(file, file.api.resources[0], store.destination)
    assert (change.was, change.now) == ("UTC", "Europe/London")
    load_into(store, file, "events", day(2))
    assert store.versions("events") == versions(
        sandbox.data.truth("events", created_before="2024-01-03T00:00:00Z")
    )
    assert stored_states(store) == 2
    assert accept(file, file.api.resources[0], store.destination) == []
    assert stored_states(store) == 2


def test_a_resource_that_stays_the_same_stores_its_state_once(
    sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    file = sandbox_file(sandbox.url, EVENTS)
    for number in (1, 2, 2):
        load_into(duckdb_store, file, "events", day(number))
    assert stored_states(duckdb_store) == 1


def test_what_replaces_all_rows_may_change_at_will(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, USERS), "users")
    merged = USERS.replace("replace", "merge, primary_key: id")
    load_into(duckdb_store, sandbox_file(sandbox.url, merged), "users")
    other = sandbox_file(sandbox.url, merged.replace("key: id", "key: [id, name]"))
    with pytest.raises(ChangedError):
        load_into(duckdb_store, other, "users")
    load_into(duckdb_store, other, "users", full_refresh=True)
    load_into(duckdb_store, other, "users")
    assert duckdb_store.versions("users") == versions(sandbox.data.truth("users"))


def test_before_the_first_rows_anything_may_change(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, EVENTS), "events", day(28))
    changed = sandbox_file(sandbox.url, EVENTS.replace("created_at", "updated_at"))
    load_into(duckdb_store, changed, "events", day(28))


def test_a_failed_load_does_not_change_what_later_ones_are_held_to(
    sandbox: RunningSandbox, duckdb_store: Store
) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, USERS), "users")
    sandbox.faults.add(Fault(kind="status", status=404))
    keyed = "- {name: users, endpoint: {path: /v1/users}, write_disposition: merge, primary_key: id}"
    with pytest.raises(RefusedError):
        load_into(duckdb_store, sandbox_file(sandbox.url, keyed), "users")
    named = sandbox_file(sandbox.url, keyed.replace("key: id", "key: name"))
    load_into(duckdb_store, named, "users")  # from replace any key may be chosen, also this one


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("start: 2024-01-01", "start: 2024-01-02", "rows before it stay in the table"),
        ("start: 2024-01-02", "start: 2024-01-01", None),
    ],
)
def test_a_later_start_is_told_once(
    sandbox: RunningSandbox,
    duckdb_store: Store,
    caplog: pytest.LogCaptureFixture,
    old: str,
    new: str,
    said: str | None,
) -> None:
    load_into(
        duckdb_store, sandbox_file(sandbox.url, EVENTS.replace("start: 2024-01-01", old)), "events", day(3)
    )
    file = sandbox_file(sandbox.url, EVENTS.replace("start: 2024-01-01", new))
    with caplog.at_level(logging.WARNING, "analytics_dagster"):
        for _ in range(2):
            load_into(duckdb_store, file, "events", day(3))
    assert [said in record.message for record in caplog.records if said] == ([True] if said else [])
    assert len(caplog.records) == bool(said)


def test_another_initial_value_is_told_to_do_nothing(
    sandbox: RunningSandbox, duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    text = """
        - name: orders
          endpoint:
            path: /v1/orders
            incremental: {cursor_path: updated_at, start_param: updated_after, initial_value: 2024-01-03}
          primary_key: id
          write_disposition: merge
    """
    load_into(duckdb_store, sandbox_file(sandbox.url, text), "orders")
    earlier = sandbox_file(sandbox.url, text.replace("01-03", "01-01"))
    load_into(duckdb_store, earlier, "orders")
    [warning] = caplog.messages
    assert "initial_value was changed (2024-01-03 -> 2024-01-01), which does nothing" in warning


def test_another_spelling_of_the_name_goes_on_at_the_stored_cursor(
    sandbox: RunningSandbox, store: Store
) -> None:
    text = """
        - name: NAME
          endpoint:
            path: /v1/orders
            incremental: {cursor_path: updated_at, start_param: updated_after, initial_value: 2024-01-01}
          write_disposition: append
    """
    load_into(store, sandbox_file(sandbox.url, text.replace("NAME", "my-orders"), store.api), "my-orders")
    file = sandbox_file(sandbox.url, text.replace("NAME", "my_orders"), store.api)
    assert load_into(store, file, "my_orders").rows == 0
    assert store.versions("my_orders") == versions(sandbox.data.truth("orders"))


def test_a_child_is_held_to_its_own_definition(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    child = """
        - {name: users, endpoint: {path: /v1/users}, write_disposition: replace}
        - name: items
          endpoint: {path: /v1/orders, headers: {X-User: "{resources.users.id}"}}
          primary_key: id
          write_disposition: merge
    """
    load_into(duckdb_store, sandbox_file(sandbox.url, child), "items")
    asked = len(sandbox.requests.list())
    other = sandbox_file(sandbox.url, child.replace("primary_key: id", "primary_key: status"))
    with pytest.raises(ChangedError):
        load_into(duckdb_store, other, "items")
    assert len(sandbox.requests.list()) == asked


ORDERS = """
    - name: orders
      endpoint:
        path: /v1/orders
        incremental: {cursor_path: updated_at, start_param: updated_after, initial_value: 2024-01-01}
      primary_key: id
      write_disposition: merge
"""


@pytest.mark.parametrize("full_refresh", [False, True])
def test_another_cursor_may_be_accepted_or_all_rows_read_anew(
    sandbox: RunningSandbox, duckdb_store: Store, *, full_refresh: bool
) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    file = sandbox_file(sandbox.url, ORDERS.replace("updated_a", "created_a"))
    with pytest.raises(ChangedError, match="cursor_path: updated_at -> created_at"):
        load_into(duckdb_store, file, "orders")
    if not full_refresh:
        accept(file, file.api.resources[0], duckdb_store.destination)
    for anew in (full_refresh, False):
        load_into(duckdb_store, file, "orders", full_refresh=anew)
        assert duckdb_store.versions("orders") == versions(sandbox.data.truth("orders"))
    # One cursor is known by its hint, so that the later one of two versions in one load wins.
    schemas = duckdb_store.fetch(
        "SELECT schema FROM {}._dlt_version WHERE schema_name LIKE '%orders' ORDER BY inserted_at DESC"
    )
    columns = [json.loads(schema)["tables"]["orders"]["columns"] for (schema,) in schemas]
    hints = [[name for name, column in one.items() if "dedup_sort" in column] for one in columns]
    assert next(filter(None, hints)) == ["created_at"]  # a load without rows may store none
