"""Exports of lines and archives load whole or not at all, also such as are larger than the memory."""

from __future__ import annotations

import gzip
import json
from textwrap import indent
from typing import Any

import pytest

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.reading.door import Asked, Door, Reply, door
from analytics_dagster_tests.reading.helpers import served

HEAD = """\
name: NAME
client: {base_url: "URL"}
retry: {max_retries: 0}
resources:
- name: rows
"""
MIXPANEL = """\
primary_key: insert_id
write_disposition: merge
partitions: {every: day, start: 2024-01-01}
endpoint:
  path: export
  params: {from_date: "{incremental.start_value}", to_date: "{incremental.end_value}"}
  incremental: {cursor_path: time, format: date, end: inclusive}
  response: {format: [gzip, jsonl], end_error: terminated early}
records:
  fields:
    time: {from: properties.time, cast: epoch}
    insert_id: 'properties."$insert_id"'
  drop: [properties]
"""
CSV = """\
primary_key: id
write_disposition: merge
endpoint: {path: rows, response: {format: csv}}
columns: {n: {data_type: bigint}}
records:
  fields: {made: {from: made, cast: timestamp}}
"""


def file_of(url: str, name: str, resource: str) -> ApiFile:
    head = HEAD.replace("URL", url).replace("NAME", name)
    return parse_text(head + indent(resource, "  "), "sandbox.yaml")


def loaded(store: Store, resource: str, body: bytes, **how: Any) -> LoadResult:
    with served(lambda _: (body, {})) as url:
        return load_into(store, file_of(url, store.api, resource), "rows", **how)


def events(count: int) -> bytes:
    start = 1704067200  # 2024-01-01
    return b"".join(
        json.dumps(
            {"event": "e", "properties": {"time": start + n % 86400, "$insert_id": str(n), "pad": "x" * 1000}}
        ).encode()
        + b"\n"
        for n in range(count)
    )


def test_an_export_of_lines_is_loaded_whole_or_not_at_all(store: Store) -> None:
    body = gzip.compress(events(10_000), 1)
    result = loaded(store, MIXPANEL, body, window=day(1))
    assert (result.rows, result.requests, result.pages) == (10_000, 1, 1)
    assert result.bytes > 10_000_000
    found = "SELECT count(*), count(DISTINCT insert_id), max(insert_id::int) FROM {}.rows"
    assert store.fetch(found) == [(10_000, 10_000, 9_999)]
    for spoiled in (
        gzip.compress(events(12_000) + b"oops\n", 1),
        gzip.compress(events(12_000) + b"terminated early\n", 1),
        gzip.compress(events(12_000), 1)[:-9],
    ):
        with pytest.raises(LoadError, match=r"line 12,001|export broke off|cut or damaged"):
            loaded(store, MIXPANEL, spoiled, window=day(1))
    assert store.fetch(found) == [(10_000, 10_000, 9_999)]


JOBS = """\
primary_key: id
write_disposition: merge
partitions: {every: day, start: 2024-01-01}
endpoint:
  path: jobs
  method: POST
  json: {from: "{incremental.start_value}", to: "{incremental.end_value}"}
  incremental: {cursor_path: at, format: date, end: inclusive}
  export:
    poll: {path: "jobs/{create.id}", status_path: state, done: [done]}
    download: {path: "jobs/{create.id}/rows"}
    delete: {path: "jobs/{create.id}"}
  response: {format: csv}
"""


class Jobs(Door):
    """An API that makes an export of one row for the day that it is asked for."""

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if asked.method == "POST":
            assert asked.json["from"] == asked.json["to"]
            return 202, {"id": asked.json["from"]}
        if asked.path.endswith("/rows"):
            return 200, f"id,at\n1,{asked.path.split('/')[2]}\n".encode()
        return 200, {"state": "done"}


def test_the_window_of_a_load_is_in_the_request_that_makes_the_export(store: Store) -> None:
    with door(Jobs()) as api:
        of_client = "{base_url: URL, paginator: {type: offset, limit: 5}}"
        text = (HEAD + indent(JOBS, "  ")).replace('{base_url: "URL"}', of_client)
        file = parse_text(text.replace("URL", api.url).replace("NAME", store.api), "sandbox.yaml")
        load_into(store, file, "rows", day(2))
    assert store.fetch("SELECT id FROM {}.rows") == [("1",)]
    assert {asked.written_query for asked in api.asked} == {""}
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("POST", "/jobs"),
        ("GET", "/jobs/2024-01-02"),
        ("GET", "/jobs/2024-01-02/rows"),
        ("DELETE", "/jobs/2024-01-02"),
    ]


def test_values_of_csv_become_what_the_file_says(store: Store) -> None:
    loaded(store, CSV, b"id,n,made,empty\n007,12345678901234567,2024-01-01T00:00:00Z,\n")
    assert store.fetch("SELECT id, n, made::varchar FROM {}.rows") == [
        ("007", 12345678901234567, "2024-01-01 00:00:00+00")
    ]
