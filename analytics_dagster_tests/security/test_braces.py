"""The value of a `${NAME}` is sent as it is: braces in it ask dlt for nothing, wherever the value stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import dlt
import pytest

from analytics_dagster.loading.cursor import CountRows, cursor_column
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import api_session, build_source
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import day
from analytics_dagster_tests.security.servers import Answer, Received, Server, serving

VALUES = [
    "{incremental.start_value}",
    "{incremental.start_value.__class__.__init__.__globals__}",
    "{resources.parents.id}",
    "{resources.x.y}",
    "{0.__class__}",
    "{}",
    "}{",
    "{{x}}",
    "{x!r:>10}",
    "${HOME}",
]
FILE = """\
name: api
client:
  base_url: URL/${TEST_VALUE}
  headers: {X-Client: "a ${TEST_VALUE}"}
  auth: {type: api_key, name: key, api_key: "${TEST_VALUE}", location: query}
retry: {max_retries: 0}
resource_defaults:
  write_disposition: append
  endpoint:
    data_selector: data
    paginator: {type: json_link}
resources:
- name: parents
  write_disposition: replace
  endpoint: {path: parents}
- name: windows
  partitions: {every: day, start: 2024-01-01}
  endpoint:
    path: "in/${TEST_VALUE}/{bound}/${TEST_VALUE}"
    incremental: {cursor_path: at, start_param: since}
    params: {bound: "b${TEST_VALUE}", x: "${TEST_VALUE}", "${TEST_VALUE}": [y, "{incremental.end_value}"]}
    headers: {X-Own: "${TEST_VALUE}"}
- name: children
  write_disposition: replace
  endpoint:
    path: "in/{resources.parents.id}/${TEST_VALUE}"
    method: POST
    params: {x: "${TEST_VALUE}"}
    json: {q: "${TEST_VALUE}", "${TEST_VALUE}": ["{resources.parents.id} ${TEST_VALUE}"]}
    headers: {X-Own: "${TEST_VALUE}"}
- name: forms
  write_disposition: replace
  endpoint: {path: "forms/{{id}}/${TEST_VALUE}", method: POST, data: "a ${TEST_VALUE}"}
"""


def answered(request: Received) -> Answer:
    return 200, {}, {"data": [{"id": "{resources.parents.id}", "at": "2024-01-01T00:00:00Z"}]}


def read_resource(server: Server, name: str) -> Received:
    """Read a resource, without a destination, and return the last request."""
    resolved = resolve(parse_text(FILE.replace("URL", server.url), "api.yaml"))
    resource = next(one for one in resolved.api.resources if one.name == name)
    window = day(1) if resource.partitions else None
    counted = CountRows([window] if window else [], cursor_column(resource), Meter())
    with api_session(resolved, Meter()) as session:
        assert len(list(build_source(resolved, resource, session, counted, window))) == 1
    return server.received[-1]


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[None]:
    """A pipeline, which dlt wants to be there while it reads."""
    working = dlt.pipeline("braces", pipelines_dir=str(tmp_path), destination="duckdb")
    yield
    working.deactivate()


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize("value", VALUES)
def test_braces_in_a_value_are_sent_as_they_are(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TEST_VALUE", value)
    with serving(answered) as server:
        sent = read_resource(server, "windows")
        query = parse_qs(urlsplit(sent.path).query)
        assert unquote(urlsplit(sent.path).path) == f"/{value}/in/{value}/b{value}/{value}"
        assert (query["key"], query["x"]) == ([value], [value])
        assert query[value] == ["y", "2024-01-02T00:00:00Z"]
        assert query["since"] == ["2024-01-01T00:00:00Z"]
        assert (sent.headers["x-client"], sent.headers["x-own"]) == (f"a {value}", value)

        sent = read_resource(server, "children")
        parent = "{resources.parents.id}"  # what the API says is no placeholder either
        assert unquote(urlsplit(sent.path).path) == f"/{value}/in/{parent}/{value}"
        assert parse_qs(urlsplit(sent.path).query)["x"] == [value]
        assert json.loads(sent.body) == {"q": value, value: [f"{parent} {value}"]}
        assert sent.headers["x-own"] == value

        sent = read_resource(server, "forms")
        assert unquote(urlsplit(sent.path).path) == f"/{value}/forms/{{id}}/{value}"
        assert sent.body.decode() == f"a {value}"
