"""A keyset in a query of its own: windows load whole, with the rows of equal times at the edges of pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import day
from analytics_dagster_tests.reading.helpers import Answer, Asked, served_whole

# Three rows have one time, which is where a page ends; the last row is of the next day.
ROWS = [
    (f"{n:08}-0000-0000-0000-000000000000", datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n // 3 * 60))
    for n in range(73)
]
QUERY = """\
  - name: events
    primary_key: uuid
    write_disposition: merge
    partitions: {every: day, start: 2024-01-01}
    endpoint:
      path: api/projects/1/query
      method: POST
      json:
        query:
          kind: HogQLQuery
          query: >-
            SELECT uuid, timestamp FROM events WHERE timestamp >= '{incremental.start_value}'
            AND timestamp < '{incremental.end_value}'
            AND (timestamp, uuid) > ('{page.timestamp}', '{page.uuid}')
            ORDER BY timestamp, uuid LIMIT 10
      incremental: {cursor_path: timestamp}
      data_selector: results
      paginator:
        type: keyset
        keys: [timestamp, uuid]
        limit: 10
        start: {timestamp: "1970-01-01", uuid: "00000000-0000-0000-0000-000000000000"}
    records: {rows: {columns: columns}}
"""
SINCE = """\
  - name: events
    primary_key: uuid
    write_disposition: merge
    partitions: {every: day, start: 2024-01-01}
    endpoint:
      path: events
      params: {since: "{page.timestamp}", size: 10}
      incremental: {cursor_path: timestamp, end_param: until}
      data_selector: results
      paginator: {type: keyset, keys: timestamp, start: {timestamp: "{incremental.start_value}"}}
"""


def _rows(since: str, until: str, after: tuple[str, str]) -> list[tuple[str, str]]:
    texts = [(uuid, at.isoformat()) for uuid, at in ROWS]
    start, end = datetime.fromisoformat(since), datetime.fromisoformat(until)
    found = [
        (uuid, at) for uuid, at in texts if start <= datetime.fromisoformat(at) < end and (at, uuid) > after
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


def answer(asked: Asked) -> Answer:
    if asked.path == "/events":
        found = _rows(asked.query["since"], asked.query["until"], ("", ""))
        return {"results": [{"uuid": uuid, "timestamp": at} for uuid, at in found[:10]]}, {}
    since, until, at, uuid = re.findall(r"'([^']*)'", asked.json["query"]["query"])
    found = _rows(since, until, (at, uuid))
    return {"columns": ["uuid", "timestamp"], "results": [list(row) for row in found[:10]]}, {}


@pytest.mark.parametrize("resource", [QUERY, SINCE], ids=["query", "since"])
def test_a_keyset_reads_its_window_whole(resource: str, tmp_path: Path) -> None:
    database = str(tmp_path / "rows.duckdb")
    with served_whole(answer) as url:
        text = f"name: posthog\nclient: {{base_url: '{url}'}}\nresources:\n{resource}"
        file = parse_text(text, "posthog.yaml")
        loaded: list[Any] = [load(file, "events", day(n), Destination("duckdb", database)) for n in (1, 2)]
    assert [result.rows for result in loaded] == [72, 1]
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute("SELECT uuid, timestamp FROM posthog.events ORDER BY uuid").fetchall()
    assert [(uuid, at.astimezone(UTC)) for uuid, at in found] == ROWS
