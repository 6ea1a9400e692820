"""Resets: all of one resource goes at once, nothing of another one does, and it starts from nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from analytics_dagster.loading.reset import plan_reset, reset
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.loading.helpers import (
    TABLES,
    Store,
    load_into,
    run_python,
    sandbox_file,
    sandbox_text,
    versions,
)

DLT = {
    "_dlt_pipeline_state": "pipeline_name",
    "_dlt_loads": "schema_name",
    "_dlt_version": "schema_name",
}


def orders(name: str, table: str = "") -> str:
    return f"""
- name: {name}
  endpoint:
    path: /v1/orders
    incremental: {{cursor_path: updated_at, start_param: updated_after, initial_value: 2024-01-01}}
  write_disposition: append
  {f"table_name: {table}" if table else ""}
"""


def records(store: Store, resource: str) -> list[int]:
    """The rows of a resource in each of dlt's tables."""
    return [
        store.fetch(f"SELECT count(*) FROM {{}}.{table} WHERE {column} = '{store.api}__{resource}'")[0][0]
        for table, column in DLT.items()
    ]


def tables(store: Store) -> list[str]:
    return [name for (name,) in store.fetch(TABLES) if not name.startswith("_dlt")]


def test_a_reset_drops_all_of_one_resource_and_nothing_of_others(
    sandbox: RunningSandbox, store: Store
) -> None:
    file = sandbox_file(sandbox.url, orders("orders") + orders("orders_daily"), store.api)
    load_into(store, file, "orders")
    load_into(store, file, "orders_daily")
    others = records(store, "orders_daily")
    plan = plan_reset(file, "orders", store.destination)
    assert plan
    items = sum(len(row["items"]) for row in sandbox.data.truth("orders"))
    assert plan.tables == {"orders": 30, "orders__items": items}
    assert plan.records == sum(records(store, "orders"))
    assert tables(store) == ["orders", "orders__items", "orders_daily", "orders_daily__items"]

    assert reset(file, "orders", store.destination) == plan
    assert tables(store) == ["orders_daily", "orders_daily__items"]
    assert records(store, "orders") == [0, 0, 0]
    assert records(store, "orders_daily") == others
    assert plan_reset(file, "orders", store.destination) is None

    assert load_into(store, file, "orders").rows == 30
    assert sandbox.requests.list("/v1/orders")[-1].query["updated_after"] == "2024-01-01T00:00:00Z"
    assert load_into(store, file, "orders_daily").rows == 0
    assert (
        store.versions("orders") == store.versions("orders_daily") == versions(sandbox.data.truth("orders"))
    )


def test_a_table_that_another_resource_has_too_stays(sandbox: RunningSandbox, store: Store) -> None:
    """`orders__items` is the nested table of one and the table of the other, so only the first load works."""
    earlier = sandbox_file(sandbox.url, orders("orders__items"), store.api)
    load_into(store, earlier, "orders__items")
    file = sandbox_file(sandbox.url, orders("orders"), store.api)
    with pytest.raises(LoadError):
        load_into(store, file, "orders")
    before = store.fetch("SELECT count(*) FROM {}.orders__items")
    reset(file, "orders", store.destination)
    assert tables(store) == ["orders__items", "orders__items__items"]
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == before
    assert load_into(store, earlier, "orders__items").rows == 0


def test_a_resource_that_is_gone_can_be_reset(sandbox: RunningSandbox, store: Store) -> None:
    load_into(store, sandbox_file(sandbox.url, orders("old-orders"), store.api), "old-orders")
    file = sandbox_file(sandbox.url, orders("new_orders"), store.api)
    load_into(store, file, "new_orders")
    plan = reset(file, "old-orders", store.destination)
    assert plan
    assert plan.stored.name == "old-orders"
    assert tables(store) == ["new_orders", "new_orders__items"]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_renamed_resource_keeps_the_table_that_it_took_along(
    sandbox: RunningSandbox, duckdb_store: Store, loaded: bool
) -> None:
    load_into(duckdb_store, sandbox_file(sandbox.url, orders("orders")), "orders")
    file = sandbox_file(sandbox.url, orders("purchases", table="orders"))
    if loaded:
        load_into(duckdb_store, file, "purchases")
    plan = reset(file, "orders", duckdb_store.destination)
    assert plan
    assert plan.shared == {"orders": "purchases", "orders__items": "purchases"}
    assert tables(duckdb_store) == ["orders", "orders__items"]
    assert records(duckdb_store, "orders") == [0, 0, 0]


def test_a_failure_on_the_way_leaves_everything(sandbox: RunningSandbox, store: Store) -> None:
    file = sandbox_file(sandbox.url, orders("orders"), store.api)
    load_into(store, file, "orders")

    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(Exception, match="the disk is full"):
        reset(file, "orders", store.destination, and_also=fail)
    assert load_into(store, file, "orders").rows == 0
    assert store.versions("orders") == versions(sandbox.data.truth("orders"))


KILLED = """
    import os, signal, sys
    from analytics_dagster.loading.destination import Destination
    from analytics_dagster.loading.reset import reset
    from analytics_dagster.spec import read_file
    reset(
        read_file(sys.argv[1]), "orders", Destination(*sys.argv[2:]),
        and_also=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
"""


def test_killed_on_the_way_it_can_be_done_again(sandbox: RunningSandbox, store: Store) -> None:
    text = sandbox_text(sandbox.url, orders("orders"), store.api)
    path = Path(f"{store.api}.yaml")
    path.write_text(text)
    file = sandbox_file(sandbox.url, orders("orders"), store.api)
    load_into(store, file, "orders")
    killed = run_python(KILLED, str(path), store.destination.type, str(store.destination.credentials))
    assert killed.wait(60) == -signal.SIGKILL
    for pipe in (killed.stdin, killed.stdout, killed.stderr):
        assert pipe
        pipe.close()
    assert load_into(store, file, "orders").rows == 0  # all is there, the cursor too
    assert reset(file, "orders", store.destination)
    assert tables(store) == []
    assert load_into(store, file, "orders").rows == 30


def test_where_nothing_is_nothing_is_reset(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    file = sandbox_file(sandbox.url, orders("orders"))
    called: list[bool] = []
    assert plan_reset(file, "orders", duckdb_store.destination) is None
    assert reset(file, "orders", duckdb_store.destination, and_also=lambda: called.append(True)) is None
    assert called == [True]
    assert duckdb_store.destination.is_missing()
