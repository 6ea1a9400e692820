"""The limit: what the wire, JSON and DuckDB allow a script that knows its data and checks nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import duckdb
import orjson
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
import urllib3

from analytics_dagster_tests.benchmark.contenders import Job

_CONNECTIONS = 8
_ROWS = 20_000  # that are handed over at once

Row = dict[str, Any]


def load(job: Job) -> None:
    """Load everything."""
    arrange = {"flat": _flat, "json": _json, "nested": _nested}[job.shape]
    with duckdb.connect(job.to) as connection:
        connection.execute("CREATE SCHEMA benchmark")
        for rows in _batches(job):
            for name, table in arrange(rows).items():
                connection.register("batch", table)
                connection.execute(f"CREATE TABLE IF NOT EXISTS benchmark.{name} AS FROM batch LIMIT 0")
                connection.execute(f"INSERT INTO benchmark.{name} FROM batch")


def _batches(job: Job) -> Iterator[list[Row]]:
    rows: list[Row] = []
    for page in _pages(job):
        rows += page
        if len(rows) >= _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _pages(job: Job) -> Iterator[list[Row]]:
    pool = urllib3.PoolManager(maxsize=_CONNECTIONS)

    def read(offset: int) -> Any:
        answer = pool.request("GET", f"{job.url}/events?offset={offset}&limit={job.page_size}")
        return orjson.loads(answer.data)

    first = read(0)
    yield first["data"]
    reading: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        for offset in range(job.page_size, first["total"], job.page_size):
            reading.append(threads.submit(read, offset))
            if len(reading) == 2 * _CONNECTIONS:
                yield reading.popleft().result()["data"]
        while reading:
            yield reading.popleft().result()["data"]


def _flat(rows: list[Row]) -> dict[str, Any]:
    return {"events": _table({name: [row[name] for row in rows] for name in rows[0]})}


def _json(rows: list[Row]) -> dict[str, Any]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name in ("user", "device", "items"):
        columns[name] = [orjson.dumps(value).decode() for value in columns[name]]
    return {"events": _table(columns)}


def _nested(rows: list[Row]) -> dict[str, Any]:
    columns = {name: [row[name] for row in rows] for name in ("id", "kind", "created_at")}
    for name in ("user", "device"):
        columns |= {f"{name}__{key}": [row[name][key] for row in rows] for key in rows[0][name]}
    items = [(row["id"], place, item) for row in rows for place, item in enumerate(row["items"])]
    children = {
        "event_id": [event for event, _, _ in items],
        "place": [place for _, place, _ in items],
        **{key: [item[key] for _, _, item in items] for key in ("sku", "quantity", "price")},
    }
    return {"events": _table(columns), "events__items": pa.table(children)}


def _table(columns: dict[str, list[Any]]) -> Any:
    created = pa.array(columns["created_at"]).cast(pa.timestamp("us", "UTC"))
    return pa.table({**columns, "created_at": created})
