"""The script that an analyst writes by hand: requests, pandas, DuckDB; one page after the other."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
import requests

from analytics_dagster_tests.benchmark.contenders import Job


def load(job: Job) -> None:
    """Load everything."""
    rows = _read(job)
    if job.shape == "json":
        events = pd.DataFrame(rows)
        for name in ("user", "device", "items"):
            events[name] = events[name].map(json.dumps)
    elif job.shape == "nested":
        events = pd.json_normalize(rows, sep="__").drop(columns="items")
    else:
        events = pd.DataFrame(rows)
    events["created_at"] = pd.to_datetime(events["created_at"])
    with duckdb.connect(job.to) as connection:
        connection.execute("CREATE SCHEMA benchmark")
        connection.execute("CREATE TABLE benchmark.events AS SELECT * FROM events")
        if job.shape == "nested":
            items = pd.json_normalize(rows, record_path="items", meta="id").rename(columns={"id": "event_id"})
            items["place"] = items.groupby("event_id").cumcount()
            connection.execute("CREATE TABLE benchmark.events__items AS SELECT * FROM items")


def _read(job: Job) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    session = requests.Session()
    while True:
        params = {"offset": len(rows), "limit": job.page_size}
        answer = session.get(f"{job.url}/events", params=params, timeout=60)
        answer.raise_for_status()
        body = answer.json()
        rows += body["data"]
        if len(rows) >= body["total"]:
            return rows
