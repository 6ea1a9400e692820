"""Tests and people can change a sandbox's data and see its requests, over HTTP as well as from Python."""

from __future__ import annotations

import time

import pytest
import requests

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.sandbox.traffic import RequestLog, RequestRecord
from analytics_dagster_tests.sandbox.conftest import get


def test_an_update_is_served_at_once_and_found_by_its_time(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    asked = {"resource": "users", "count": 4, "at": "2024-03-01T10:00:00+02:00"}
    updated = client.post(f"{sandbox.url}/control/update", json=asked, timeout=10).json()["updated"]
    found = get(client, f"{sandbox.url}/v1/users", updated_after="2024-03-01")["data"]
    assert [row["id"] for row in found] == updated
    assert {row["updated_at"] for row in found} == {"2024-03-01T08:00:00.000Z"}
    assert all(row["name"].endswith(" v2") for row in found)


def test_an_update_without_a_time_happens_now(sandbox: RunningSandbox, client: requests.Session) -> None:
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    client.post(f"{sandbox.url}/control/update", json={"resource": "users", "ids": ["usr_7"]}, timeout=10)
    assert next(sandbox.data.truth("users", updated_after=began))["id"] == "usr_7"


def test_a_deleted_row_disappears_from_the_api(sandbox: RunningSandbox, client: requests.Session) -> None:
    asked = {"resource": "orders", "ids": ["ord_1", "ord_30"]}
    assert client.post(f"{sandbox.url}/control/delete", json=asked, timeout=10).json() == {
        "deleted": ["ord_1", "ord_30"]
    }
    answer = get(client, f"{sandbox.url}/v1/orders", limit=100)
    assert answer["total"] == 28
    assert not {"ord_1", "ord_30"} & {row["id"] for row in answer["data"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("update", {"resource": "users"}),
        ("update", {"resource": "users", "ids": ["usr_999"]}),
        ("update", {"resource": "users", "count": 1, "at": "2024-03-01T10:00:00"}),
        ("update", {"resource": "nothing", "count": 1}),
        ("update", {"resource": "users", "cuont": 1}),
        ("delete", {"resource": "users", "ids": ["usr_999"]}),
        ("delete", {"resource": "users"}),
    ],
)
def test_a_wrong_change_is_refused(
    sandbox: RunningSandbox, client: requests.Session, path: str, body: dict[str, object]
) -> None:
    answer = client.post(f"{sandbox.url}/control/{path}", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_requests_are_listed_without_the_key(sandbox: RunningSandbox, client: requests.Session) -> None:
    began = time.time()
    client.get(f"{sandbox.url}/v1/users?api_key=sandbox-key&limit=3", timeout=10)
    client.post(f"{sandbox.url}/v1/orders", json={}, timeout=10)
    client.get(f"{sandbox.url}/v1/orders?offset=x", timeout=10)
    listed = get(client, f"{sandbox.url}/control/requests")
    assert listed["count"] == 3
    assert [(r["method"], r["path"], r["query"], r["status"]) for r in listed["requests"]] == [
        ("GET", "/v1/users", {"limit": "3"}, 200),
        ("POST", "/v1/orders", {}, 200),
        ("GET", "/v1/orders", {"offset": "x"}, 400),
    ]
    assert all(began <= r["time"] <= time.time() and r["seconds"] >= 0 for r in listed["requests"])
    assert get(client, f"{sandbox.url}/control/requests", match="/v1/orders")["count"] == 2
    client.delete(f"{sandbox.url}/control/requests", timeout=10)
    assert sandbox.requests.list() == []


def test_a_request_is_listed_with_its_fault(sandbox: RunningSandbox, client: requests.Session) -> None:
    client.post(f"{sandbox.url}/control/faults", json={"kind": "status", "status": 429}, timeout=10)
    client.get(f"{sandbox.url}/v1/users", timeout=10)
    client.get(f"{sandbox.url}/v1/users", timeout=10)
    assert [(r.status, r.fault) for r in sandbox.requests.list()] == [(429, "status"), (200, None)]


def test_only_the_latest_requests_are_kept() -> None:
    log = RequestLog()
    for number in range(20_005):
        log.add(RequestRecord(number, "GET", "/v1/users", {}))
    assert len(log.list()) == 20_000
    assert log.list()[-1].time == 20_004
