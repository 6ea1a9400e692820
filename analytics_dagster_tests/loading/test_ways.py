"""The table "How the ways of loading combine": what a rerun does after changes at the source."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from dlt.destinations.sql_jobs import SqlStagingReplaceFollowupJob

from analytics_dagster.loading.load import prepare_load
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.sandbox import Fault, RunningSandbox, running_sandbox
from analytics_dagster_tests.loading.helpers import (
    SMALL,
    TABLES,
    Store,
    day,
    load_into,
    sandbox_file,
    versions,
)

BY_CREATION = "{cursor_path: created_at, start_param: created_after, end_param: created_before}"
BY_UPDATE = "{cursor_path: updated_at, start_param: updated_after, end_param: updated_before}"
SINCE_UPDATE = "{cursor_path: updated_at, start_param: updated_after, initial_value: '2024-01-01T00:00:00Z'}"


def windowed(resource: str, cursor: str, options: str) -> str:
    return f"""
        - name: {resource}
          endpoint: {{path: /v1/{resource}, incremental: {cursor}}}
          partitions: {{every: day, start: 2024-01-01}}
          {options}
    """


UPSERT = "primary_key: id\n          write_disposition: merge"


def test_upsert_of_a_window_takes_updates_and_keeps_what_was_deleted(
    sandbox: RunningSandbox, store: Store
) -> None:
    file = sandbox_file(sandbox.url, windowed("events", BY_CREATION, UPSERT), store.api)
    before = list(sandbox.data.truth("events", created_after=day(2).start, created_before=day(2).end))
    assert load_into(store, file, "events", day(2)).rows == len(before)
    assert store.versions("events") == versions(before)

    sandbox.data.update("events", ids=[before[0]["id"]], at="2024-01-09T00:00:00Z")
    sandbox.data.delete("events", [before[1]["id"]])
    after = list(sandbox.data.truth("events", created_after=day(2).start, created_before=day(2).end))
    load_into(store, file, "events", day(2))
    assert store.versions("events") == versions([*after, before[1]])


APPEND_WITH_KEY = "primary_key: id\n          write_disposition: append"
REPLACING = {
    "merge with a key": UPSERT + "\n          on_rerun: replace_window",
    "merge without a key": "write_disposition: merge",
    "append": "write_disposition: append",
}


@pytest.mark.parametrize("options", REPLACING.values(), ids=REPLACING.keys())
def test_replace_window_makes_the_window_exactly_the_apis(
    sandbox: RunningSandbox, store: Store, options: str
) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", BY_CREATION, options), store.api)

    def truth() -> list[tuple[object, ...]]:
        return versions(sandbox.data.truth("orders", created_before=day(3).end))

    for number in (1, 2, 3):
        load_into(store, file, "orders", day(number))
    assert store.versions("orders") == truth()

    of_the_day = [
        row["id"]
        for row in sandbox.data.truth("orders", created_after=day(2).start, created_before=day(2).end)
    ]
    sandbox.data.update("orders", ids=of_the_day[:1], at="2024-01-09T00:00:00Z")
    sandbox.data.delete("orders", of_the_day[1:2])
    load_into(store, file, "orders", day(2))
    assert store.versions("orders") == truth()

    sandbox.data.delete("orders", [of_the_day[0], *of_the_day[2:]])
    assert load_into(store, file, "orders", day(2)).rows == 0
    assert store.versions("orders") == truth()
    items = sum(len(row["items"]) for row in sandbox.data.truth("orders", created_before=day(3).end))
    assert store.fetch(
        "SELECT count(*), count(DISTINCT o.id)"
        " FROM {}.orders__items i JOIN {}.orders o ON i._dlt_parent_id = o._dlt_id"
    ) == [(items, len(truth()))]
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [(items,)]


def test_a_window_that_is_empty_from_the_start_loads_nothing(sandbox: RunningSandbox, store: Store) -> None:
    sandbox.data.delete(
        "orders", [row["id"] for row in sandbox.data.truth("orders", created_before=day(1).end)]
    )
    file = sandbox_file(
        sandbox.url, windowed("orders", BY_CREATION, REPLACING["merge with a key"]), store.api
    )
    assert load_into(store, file, "orders", day(1)).rows == 0
    assert load_into(store, file, "orders", day(2)).rows == len(store.ids("orders")) > 0


@pytest.mark.parametrize("options", [REPLACING["merge with a key"], APPEND_WITH_KEY])
def test_a_row_that_moved_to_another_window_is_there_once(
    sandbox: RunningSandbox, store: Store, options: str
) -> None:
    file = sandbox_file(sandbox.url, windowed("orders", BY_UPDATE, options), store.api)
    load_into(store, file, "orders", day(1, 3))
    moved = sandbox.data.update("orders", count=5, at="2024-01-04T12:00:00Z")
    load_into(store, file, "orders", day(4, 2))
    truth = list(sandbox.data.truth("orders", updated_before=day(5).end))
    assert store.versions("orders") == versions(truth)
    assert len(moved) == 5
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [
        (sum(len(row["items"]) for row in truth),)
    ]


@pytest.mark.parametrize("options", [REPLACING["merge with a key"], UPSERT], ids=["replace_window", "merge"])
def test_an_older_version_never_replaces_a_newer_one(
    sandbox: RunningSandbox, store: Store, options: str
) -> None:
    """A run that read before an update, and commits after the run that read the update."""
    orders = windowed("orders", BY_UPDATE, options)
    load_into(store, sandbox_file(sandbox.url, orders, store.api), "orders", day(1, 5))
    first = [row["id"] for row in sandbox.data.truth("orders", updated_before=day(1).end)]
    assert len(first) > 3
    sandbox.data.update("orders", ids=first[:3], at="2024-01-04T12:00:00Z")
    sandbox.data.update("orders", ids=first[3:4], at="2024-01-01T23:59:59Z")  # newer, in the same window
    load_into(store, sandbox_file(sandbox.url, orders, store.api), "orders", day(1))
    load_into(store, sandbox_file(sandbox.url, orders, store.api), "orders", day(4))

    with running_sandbox(SMALL) as as_before:
        load_into(store, sandbox_file(as_before.url, orders, store.api), "orders", day(1))
    truth = list(sandbox.data.truth("orders", updated_before=day(5).end))
    assert store.versions("orders") == versions(truth)
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [
        (sum(len(row["items"]) for row in truth),)
    ]


def test_rows_that_moved_back_to_another_window_of_the_run_are_there_once(
    sandbox: RunningSandbox, store: Store
) -> None:
    """Be these windows loaded one after another or together; the other sandbox is as before the move."""
    orders = windowed("orders", BY_UPDATE, REPLACING["merge with a key"])
    moved = [
        next(sandbox.data.truth("orders", updated_after=one.start, updated_before=one.end))["id"]
        for one in (day(1), day(2), day(3))
    ]
    sandbox.data.update("orders", ids=moved, at="2024-01-04T12:00:00Z")
    with running_sandbox(SMALL) as moved_back:
        for source in (sandbox, moved_back):
            file = sandbox_file(source.url, orders, store.api)
            for windows in ([day(1)], [day(2), day(3), day(4)]):
                with prepare_load(file, "orders", windows, store.destination, run=day(1, 4)) as prepared:
                    prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
            truth = list(source.data.truth("orders", updated_before=day(4).end))
            assert store.versions("orders") == versions(truth)


@pytest.mark.parametrize("way", ["merge", "append"])
def test_without_partitions_a_load_goes_on_where_the_last_one_ended(
    sandbox: RunningSandbox, store: Store, way: str
) -> None:
    """Each load has a working directory of its own, so the stored cursor comes from the destination."""
    resource = f"""
        - name: events
          endpoint: {{path: /v1/events, incremental: {SINCE_UPDATE}}}
          primary_key: id
          write_disposition: {way}
    """
    file = sandbox_file(sandbox.url, resource, store.api)
    load_into(store, file, "events")
    before = versions(sandbox.data.truth("events"))
    assert store.versions("events") == before

    sandbox.requests.clear()
    assert load_into(store, file, "events").rows == 0
    changed = sandbox.data.update("events", count=7, at="2024-02-01T00:00:00Z")
    assert load_into(store, file, "events").rows == 7
    latest = max(row[2] for row in before)
    asked = {request.query["updated_after"] for request in sandbox.requests.list("/v1/events")}
    assert {datetime.fromisoformat(text) for text in asked} == {latest}
    after = versions(sandbox.data.truth("events"))
    assert store.versions("events") == (
        after if way == "merge" else sorted([*before, *(set(after) - set(before))])
    )
    assert len(changed) == 7


@pytest.mark.parametrize("way", ["merge", "append"])
def test_full_refresh_replaces_the_rows_and_moves_the_cursor(
    sandbox: RunningSandbox, store: Store, way: str
) -> None:
    resource = f"""
        - name: orders
          endpoint: {{path: /v1/orders, incremental: {SINCE_UPDATE}}}
          primary_key: id
          write_disposition: {way}
    """
    file = sandbox_file(sandbox.url, resource, store.api)
    load_into(store, file, "orders")
    ids = [row["id"] for row in sandbox.data.truth("orders")]
    sandbox.data.delete("orders", ids[:10])
    load_into(store, file, "orders", full_refresh=True)
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))
    assert load_into(store, file, "orders").rows == 0

    sandbox.data.update("orders", ids=ids[10:12], at="2024-02-01T00:00:00Z")
    assert load_into(store, file, "orders").rows == 2
    if way == "merge":
        truth = list(sandbox.data.truth("orders"))
        assert store.versions("orders") == versions(truth)
        assert store.fetch("SELECT count(*) FROM {}.orders__items") == [
            (sum(len(row["items"]) for row in truth),)
        ]
        sandbox.data.delete("orders", ids[10:])
        load_into(store, file, "orders", full_refresh=True)
        assert store.ids("orders") == []


def test_merge_without_a_cursor_reads_everything_and_keeps_what_was_deleted(
    sandbox: RunningSandbox, store: Store
) -> None:
    resource = "- {name: users, endpoint: {path: /v1/users}, primary_key: id, write_disposition: merge}"
    file = sandbox_file(sandbox.url, resource, store.api)
    before = list(sandbox.data.truth("users"))
    load_into(store, file, "users")
    sandbox.data.update("users", ids=[before[0]["id"]], at="2024-03-01T00:00:00Z")
    sandbox.data.delete("users", [before[1]["id"]])
    assert load_into(store, file, "users").rows == len(before) - 1
    assert store.versions("users") == versions([*sandbox.data.truth("users"), before[1]])
    load_into(store, file, "users", full_refresh=True)
    assert store.versions("users") == versions(sandbox.data.truth("users"))


def test_replace_is_what_the_api_has_and_a_load_that_dies_keeps_the_old_rows(
    sandbox: RunningSandbox, store: Store
) -> None:
    resource = """
        - name: orders
          endpoint: {path: /v1/orders, paginator: {type: offset, limit: 10}}
          write_disposition: replace
    """
    file = sandbox_file(sandbox.url, resource, store.api)
    load_into(store, file, "orders")
    before = versions(sandbox.data.truth("orders"))
    assert store.versions("orders") == before

    sandbox.data.delete("orders", [row["id"] for row in sandbox.data.truth("orders")][:5])
    sandbox.faults.add(Fault(kind="status", status=500, match="/v1/orders", skip=2))
    with pytest.raises(LoadError, match="500"):
        load_into(store, file, "orders")
    assert store.versions("orders") == before

    load_into(store, file, "orders")
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))
    sandbox.data.delete("orders", [row["id"] for row in sandbox.data.truth("orders")])
    assert load_into(store, file, "orders").rows == 0
    assert store.ids("orders") == []
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [(0,)]


def test_replace_that_dies_while_it_is_committed_keeps_the_old_rows(
    sandbox: RunningSandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = "- {name: orders, endpoint: {path: /v1/orders}, write_disposition: replace}"
    file = sandbox_file(sandbox.url, resource, store.api)
    load_into(store, file, "orders")
    before = versions(sandbox.data.truth("orders"))
    sandbox.data.delete("orders", [before[0][0]])

    def broken(*args: Any, **kwargs: Any) -> list[str]:
        return [*generate(*args, **kwargs), "SELECT 1 FROM a_table_that_is_not_there"]

    generate = SqlStagingReplaceFollowupJob.generate_sql
    monkeypatch.setattr(SqlStagingReplaceFollowupJob, "generate_sql", broken)
    with pytest.raises(LoadError, match="a_table_that_is_not_there"):
        load_into(store, file, "orders")
    assert store.versions("orders") == before
    assert store.staged("orders") == []


def test_nesting_can_be_kept_as_json(sandbox: RunningSandbox, store: Store) -> None:
    resource = """
        - name: orders
          endpoint: {path: /v1/orders}
          write_disposition: replace
          max_table_nesting: 0
    """
    load_into(store, sandbox_file(sandbox.url, resource, store.api), "orders")
    assert "orders__items" not in [row[0] for row in store.fetch(TABLES)]
    truth = {row["id"]: row["items"] for row in sandbox.data.truth("orders")}
    kept = store.fetch("SELECT id, items FROM {}.orders")
    assert {row_id: json.loads(items) if isinstance(items, str) else items for row_id, items in kept} == truth


def test_a_composite_key_and_names_that_sql_would_not_take(sandbox: RunningSandbox, store: Store) -> None:
    resource = f"""
        - name: Order-Lines
          endpoint: {{path: /v1/orders, incremental: {BY_UPDATE}}}
          primary_key: [id, user_id]
          write_disposition: merge
          on_rerun: replace_window
          table_name: orderLines
          partitions: {{every: day, start: 2024-01-01}}
    """
    file = sandbox_file(sandbox.url, resource, store.api)
    result = load_into(store, file, "Order-Lines", day(1, 5))
    assert result.table.endswith(f"{store.api}.order_lines")
    sandbox.data.update("orders", count=5, at="2024-01-04T12:00:00Z")
    load_into(store, file, "Order-Lines", day(4))
    assert store.versions("order_lines") == versions(sandbox.data.truth("orders", updated_before=day(5).end))
