"""Loads that are killed at their steps and after each commit, and what each leaves to the next one."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.faults.history import Kill, Load, Process
from analytics_dagster_tests.faults.processes import Loading, Order, Outcome, preload
from analytics_dagster_tests.loading.conftest import duckdb_store, own_place, sandbox, store
from analytics_dagster_tests.loading.helpers import Store, sandbox_file, versions

__all__ = ["duckdb_store", "own_place", "sandbox", "store"]

ORDERS = """
    - name: orders
      endpoint: {path: /v1/orders}
      primary_key: id
      write_disposition: merge
"""
STEPS = [Kill("page", 1), Kill("row", 2), Kill("normalize", 1), Kill("load", 1), Kill("end", 1)]


def test_all_is_as_before_or_as_after(sandbox: RunningSandbox, store: Store, tmp_path: Path) -> None:
    """After the last commit the rows are there, and dlt has not yet noted that the load is complete."""
    preload()
    file = sandbox_file(sandbox.url, ORDERS, store.api)

    def run(kill: Kill | None, place: str) -> Outcome:
        process = Process((Load("orders"),), kill=kill)
        return Loading(Order(file, store.destination, process, 60, tmp_path / place, tmp_path)).outcome()

    assert run(None, "here") == Outcome([None], "over")
    held = versions(sandbox.data.truth("orders"))
    committed: list[bool] = []
    for number, kill in enumerate(chain(STEPS, (Kill("commit", 2 * number) for number in count(1)))):
        sandbox.data.update("orders", count=3, at=f"2024-03-01T00:{number:02}:00Z")
        before, after = held, versions(sandbox.data.truth("orders"))
        outcome = run(kill, "here" if number % 2 else "on another machine")
        held = store.versions("orders")
        if outcome.how == "over":
            assert (outcome.ended, held) == ([None], after)
            break
        assert outcome.how == "killed"
        assert held in (before, after), kill
        committed.append(held == after)
    # In reading, in normalizing, and before and after loading; then commit by commit.
    assert committed[: len(STEPS)] == [False, False, False, False, True]
    assert committed[len(STEPS) :] == [False] * (len(committed) - len(STEPS) - 1) + [True]
    assert store.fetch("SELECT count(*) FROM {}._dlt_loads") == [(3,)]  # the first, `end` and the last
    items = sum(len(row["items"]) for row in sandbox.data.truth("orders"))
    assert store.fetch("SELECT count(*) FROM {}.orders__items") == [(items,)]
    assert store.staged("orders") == []
