"""Exports that an API makes while one waits are made once, read whole, and deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth

from analytics_dagster.reading.completion import Completion
from analytics_dagster.reading.errors import ExportError, LoadError, PageError, RefusedError, RequestError
from analytics_dagster.reading.exports import ExportPages
from analytics_dagster.reading.formats import Format
from analytics_dagster.spec import ResponseFormat
from analytics_dagster.spec.export import Export
from analytics_dagster_tests.reading.door import Asked, Door, Reply, door
from analytics_dagster_tests.reading.helpers import Lab, raw_server

JOBS: dict[str, Any] = {
    "poll": {"path": "jobs/{create.id}", "status_path": "state", "done": "done", "failed": ["failed"]},
    "download": {"path": "{poll.files[*].url}"},
    "delete": {"path": "jobs/{create.id}"},
}
SECRETS: dict[str, Any] = {"headers": {"X-Key": "hush-hush"}, "auth": HTTPBasicAuth("ann", "hush-hush")}


class Jobs(Door):
    """An API that makes exports, by JSON like a queue of jobs; files are elsewhere."""

    def __init__(self, files: Door, *states: str) -> None:
        super().__init__()
        self.files = files
        self.states = list(states)
        self.urls: list[str | None] = [f"{files.url}/1?signature=0123456789abcdef", f"{files.url}/2"]

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if asked.method == "POST":
            return 201, {"id": "a/b"}
        if asked.method == "DELETE":
            return 204, b""
        state = self.states.pop(0)
        return 200, {"state": state, "files": [{"url": url} for url in self.urls] if state == "done" else []}


class Files(Door):
    """Two files of CSV, each of more rows than are decoded at once."""

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        first = int(asked.path[-1]) * 100_000
        return 200, b"id\n" + b"".join(b"%d\n" % n for n in range(first, first + 25_000))


ROWS = [{"id": str(n)} for first in (100_000, 200_000) for n in range(first, first + 25_000)]


@pytest.fixture
def files() -> Iterator[Door]:
    with door(Files()) as found:
        yield found


def read(
    api_url: str, lab: Lab, export: dict[str, Any], form: str = "csv", method: str = "POST", **request: Any
) -> list[Any]:
    how = Format(ResponseFormat(format=[form]))
    watched = partial(ExportPages, Export.model_validate(export), api_url, how)
    with lab.session:
        return lab.rows(
            "/jobs",
            {"type": "single_page"},
            "$",
            watched=watched,
            completion=Completion(method),
            method=method,
            **request,
        )


def lab_for(api: Door, files: Door) -> Lab:
    return Lab(api.url, allowed_hosts=[files.url], retry={"max_retries": 1})


def test_an_export_is_made_once_and_read_to_the_end_of_its_last_file(files: Door) -> None:
    with door(Jobs(files, "queued", "running", "done")) as api:
        lab = lab_for(api, files)
        rows = read(api.url, lab, JOBS, json={"from": "2024-01-01"}, **SECRETS)
    assert rows == ROWS
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("POST", "/jobs"),
        *[("GET", "/jobs/a%2Fb")] * 3,
        ("DELETE", "/jobs/a%2Fb"),
    ]
    assert api.asked[0].json == {"from": "2024-01-01"}
    assert all({"authorization", "x-key"} <= asked.headers.keys() for asked in api.asked)
    assert all({"authorization", "x-key"}.isdisjoint(asked.headers) for asked in files.asked)
    assert [asked.written_query for asked in files.asked] == ["signature=0123456789abcdef", ""]
    assert lab.waits == [5, 5]
    assert any("the export is `running` after 5.0 s" in (said or "") for said in lab.said)
    assert "0123456789abcdef" not in lab.redact("?signature=0123456789abcdef")


@pytest.mark.parametrize(
    ("states", "urls", "kind", "message"),
    [
        (["queued", "failed"], None, ExportError, "The API gave up the export: .* says `failed`"),
        (["queued"] * 800, None, ExportError, "was not done after 60.0 min: it is `queued`"),
        (["done"], [None], PageError, "is null in an answer .*`required: false`"),
        (["done"], ["http://127.0.0.2:9/x"], LoadError, "not of its own origin"),
    ],
)
def test_what_fails_is_told_and_the_export_is_deleted(
    files: Door, states: list[str], urls: Any, kind: type[LoadError], message: str
) -> None:
    jobs = Jobs(files, *states)
    jobs.urls = urls or jobs.urls
    with door(jobs) as api, pytest.raises(kind, match=message):
        read(api.url, lab_for(api, files), JOBS)
    assert api.asked[-1].method == "DELETE"


def test_null_in_place_of_a_url_may_mean_no_rows(files: Door) -> None:
    jobs = Jobs(files, "done")
    jobs.urls = [None]
    export = {**JOBS, "download": {**JOBS["download"], "required": False}}
    with door(jobs) as api:
        assert read(api.url, lab_for(api, files), export) == []


@pytest.mark.parametrize(
    ("idempotent", "method", "requests"), [(False, "POST", 1), (True, "POST", 2), (False, "GET", 2)]
)
def test_a_request_whose_answer_was_lost_is_sent_again_only_if_that_is_safe(
    *, idempotent: bool, method: str, requests: int
) -> None:
    with raw_server([b""]) as url:  # takes the request and hangs up
        lab = Lab(url, retry={"max_retries": 1})
        with pytest.raises(RequestError) as caught:
            read(url, lab, {**JOBS, "idempotent": idempotent}, method=method)
    assert lab.meter.requests == requests
    assert ("idempotent: true" in str(caught.value)) is (requests == 1)


def test_an_api_that_had_too_much_to_do_is_asked_again(files: Door) -> None:
    class Busy(Jobs):
        def __call__(self, asked: Asked) -> Reply:
            first = not self.asked
            reply = super().__call__(asked)
            return (429, {}) if first else reply

    with door(Busy(files, "done")) as api:
        assert read(api.url, lab_for(api, files), JOBS) == ROWS


def test_a_file_behind_202_and_without_tidying_up() -> None:
    """As Amplitude's cohorts are exported."""

    class Cohorts(Door):
        def __call__(self, asked: Asked) -> Reply:
            self.asked.append(asked)
            if asked.path == "/jobs":
                return 200, {"request_id": 7}
            if asked.path == "/status/7":
                return (200, {}) if len(self.asked) > 3 else (202, b"")
            assert asked.path == "/file"
            return 200, [{"id": asked.query["id"]}]

    export = {
        "poll": {"path": "status/{create.request_id}", "every": 2},
        "download": {"path": "file", "params": {"id": "{create.request_id}"}},
    }
    with door(Cohorts()) as api:
        lab = Lab(api.url)
        assert read(api.url, lab, export, form="json", method="GET") == [{"id": "7"}]
    assert lab.waits == [2, 2]


def test_a_query_language_in_bodies(files: Door) -> None:
    """As Shopify's bulk operations are asked for and looked after, both by GraphQL."""

    class GraphQl(Door):
        def __call__(self, asked: Asked) -> Reply:
            self.asked.append(asked)
            if "bulkOperationRunQuery" in asked.json["query"]:
                return 200, {"data": {"run": {"operation": {"id": "gid://1"}}}}
            assert asked.json["query"] == "{ node(id: gid://1) { status url } }"
            return 200, {"data": {"node": {"status": "COMPLETED", "url": f"{files.url}/1"}}}

    export = {
        "poll": {
            "path": "jobs",
            "method": "POST",
            "json": {"query": "{ node(id: {create.data.run.operation.id}) { status url } }"},
            "status_path": "data.node.status",
            "done": "COMPLETED",
        },
        "download": {"path": "{poll.data.node.url}"},
    }
    with door(GraphQl()) as api:
        rows = read(
            api.url, lab_for(api, files), export, json={"query": "mutation { bulkOperationRunQuery }"}
        )
    assert rows == ROWS[:25_000]


def test_an_export_that_cannot_be_deleted_does_not_fail_the_load(
    files: Door, caplog: pytest.LogCaptureFixture
) -> None:
    class Kept(Jobs):
        def __call__(self, asked: Asked) -> Reply:
            reply = super().__call__(asked)
            return (403, {}) if asked.method == "DELETE" else reply

    with door(Kept(files, "done")) as api, caplog.at_level(logging.WARNING):
        assert read(api.url, lab_for(api, files), JOBS) == ROWS
    assert "An export was not deleted; delete it by hand. DELETE " in caplog.text


def test_an_export_that_is_refused_leaves_nothing_to_delete(files: Door) -> None:
    class Closed(Jobs):
        def __call__(self, asked: Asked) -> Reply:
            self.asked.append(asked)
            return 403, {"error": "no"}

    with door(Closed(files)) as api, pytest.raises(RefusedError, match="403"):
        read(api.url, lab_for(api, files), JOBS)
    assert len(api.asked) == 1
