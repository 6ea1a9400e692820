"""The stored state: cursors that are moved, and resources that are gone from the file."""

from __future__ import annotations

import logging
from textwrap import dedent

import pytest

from analytics_dagster.loading.load import prepare_load
from analytics_dagster.loading.state import StateError, set_cursor
from analytics_dagster.loading.stored import gone, opened, read_stored, reading
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import ApiFile, Resource
from analytics_dagster_tests.loading.helpers import Store, day, load_into, sandbox_file, versions

ORDERS = """
    - name: orders
      endpoint:
        path: /v1/orders
        incremental:
          cursor_path: updated_at
          start_param: updated_after
          initial_value: 2024-01-01
          timezone: Asia/Tokyo
      primary_key: id
      write_disposition: merge
"""
USERS = "- {name: users, endpoint: {path: /v1/users}, write_disposition: replace}"


def only(file: ApiFile) -> Resource:
    return file.api.resources[0]


def test_a_moved_cursor_is_where_the_next_load_begins(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, ORDERS, store.api)
    load_into(store, file, "orders")
    last = max(row["updated_at"] for row in sandbox.data.truth("orders"))
    old, new = set_cursor(file, only(file), "2024-01-03T12:00", store.destination)
    assert old.isoformat() == last.replace(".000Z", "+00:00")
    assert new.isoformat() == "2024-01-03T03:00:00+00:00"  # in the cursor's time zone
    rows = load_into(store, file, "orders").rows
    assert sandbox.requests.list("/v1/orders")[-1].query["updated_after"] == "2024-01-03T12:00:00+09:00"
    assert rows == len(list(sandbox.data.truth("orders", updated_after="2024-01-03T03:00:00Z")))
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))
    assert load_into(store, file, "orders").rows == 0  # and its end is the cursor again
    set_cursor(file, only(file), last, store.destination)
    assert load_into(store, file, "orders").rows > 0  # rows at the cursor itself come too


def test_a_number_is_moved_as_one(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    text = """
        - name: orders
          endpoint: {path: /v1/orders, incremental: {cursor_path: total, initial_value: 0}}
          primary_key: id
          write_disposition: merge
    """
    file = sandbox_file(sandbox.url, text)
    load_into(duckdb_store, file, "orders")
    greatest = max(row["total"] for row in sandbox.data.truth("orders"))
    assert set_cursor(file, only(file), "100", duckdb_store.destination) == (greatest, 100)
    above = [row for row in sandbox.data.truth("orders") if row["total"] >= 100]
    assert load_into(duckdb_store, file, "orders").rows == len(above)
    with pytest.raises(StateError, match="its cursor is a number, and `soon` is none"):
        set_cursor(file, only(file), "soon", duckdb_store.destination)


DAILY = """
    - name: events
      endpoint:
        path: /v1/events
        incremental: {cursor_path: created_at, start_param: created_after, end_param: created_before}
      partitions: {every: day, start: 2024-01-01}
"""


@pytest.mark.parametrize(
    ("text", "loaded", "message"),
    [
        (ORDERS, False, "resource `orders`: nothing was loaded yet"),
        (ORDERS, True, "expected a date or time such as 2024-01-01"),
        (USERS, True, "it has no stored cursor: without endpoint.incremental each load reads everything"),
        (DAILY, True, "it has no stored cursor: each run reads the windows of its partitions; load windows"),
        (ORDERS.replace("merge", "replace"), True, "with write_disposition: replace each load reads"),
    ],
)
def test_what_cannot_be_moved_is_said_why(
    sandbox: RunningSandbox, duckdb_store: Store, text: str, loaded: bool, message: str
) -> None:
    file = sandbox_file(sandbox.url, text)
    if loaded:
        load_into(duckdb_store, file, only(file).name, day(1) if only(file).partitions else None)
    with pytest.raises(StateError) as refused:
        set_cursor(file, only(file), "yesterday", duckdb_store.destination)
    assert message in str(refused.value)
    assert duckdb_store.destination.is_missing() != loaded


def test_a_cursor_is_not_moved_while_a_load_is_under_way(
    sandbox: RunningSandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sandbox_file(sandbox.url, ORDERS, store.api)
    load_into(store, file, "orders")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with prepare_load(file, "orders", (), store.destination) as prepared:
        monkeypatch.setattr("analytics_dagster.loading.turns.time.sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):  # while it waits
            set_cursor(file, only(file), "2024-01-03", store.destination)
        monkeypatch.undo()
        assert not prepared.pipeline.has_pending_data


def test_what_is_stored_of_a_resource_that_is_gone_is_named_once_and_stays(
    sandbox: RunningSandbox, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    load_into(
        store,
        sandbox_file(sandbox.url, ORDERS.replace("name: orders", "name: my-Orders"), store.api),
        "my-Orders",
    )
    stays = sandbox_file(sandbox.url, USERS, store.api)
    with caplog.at_level(logging.WARNING, "analytics_dagster"):
        for _ in range(2):
            load_into(store, stays, "users")
    [warning] = caplog.messages
    assert f"{store.api}.yaml: there is no resource `my-Orders` any more" in warning
    assert "table `my_orders`, `my_orders__items`, stored cursor updated_at = 2024-01-0" in warning
    assert f"`analytics-dagster reset {store.api} my-Orders`" in warning
    assert store.versions("my_orders") == versions(sandbox.data.truth("orders"))


def test_a_resource_that_is_not_selected_is_not_gone(
    sandbox: RunningSandbox, duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    kept = USERS + dedent(ORDERS) + "  selected: false\n"
    load_into(duckdb_store, sandbox_file(sandbox.url, kept), "users")
    assert caplog.messages == []


def test_looking_finds_nothing_where_nothing_is(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, USERS, store.api)
    with opened(file, store.destination) as pipeline, reading(pipeline) as client:
        assert read_stored(client, file.api, f"{store.api}__users") is None
        assert gone(client, file.api) == []
