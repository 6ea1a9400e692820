"""Faults happen to the requests they were asked for, on the wire, and to no others."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from analytics_dagster.sandbox import Fault, RunningSandbox, SandboxSettings, running_sandbox
from analytics_dagster_tests.sandbox.conftest import SMALL, get


@pytest.fixture(scope="module")
def module_sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(SMALL) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(module_sandbox: RunningSandbox) -> RunningSandbox:
    """One sandbox for the whole module, since faults are easily cleared."""
    module_sandbox.faults.clear()
    return module_sandbox


def statuses(client: requests.Session, url: str, times: int) -> list[int]:
    return [client.get(url, timeout=10).status_code for _ in range(times)]


def ask_for(client: requests.Session, sandbox: RunningSandbox, **fault: Any) -> None:
    answer = client.post(f"{sandbox.url}/control/faults", json=fault, timeout=10)
    assert answer.status_code == 200, answer.text


def raw_answer(url: str, path: str) -> tuple[bytes, bytes]:
    """All bytes that come before the connection closes, as head and body."""
    parts = urlsplit(url)
    assert parts.hostname
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: sandbox\r\nX-API-Key: sandbox-key\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def test_a_status_is_given_to_the_first_matching_requests(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    ask_for(client, sandbox, kind="status", match="/v1/events", first=2, retry_after="1")
    assert statuses(client, f"{sandbox.url}/v1/users", 1) == [200]
    answer = client.get(f"{sandbox.url}/v1/events", timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"]["status"] == 503
    assert statuses(client, f"{sandbox.url}/v1/events", 3) == [503, 200, 200]


def test_faults_of_one_path_happen_one_after_another(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    sandbox.faults.add(Fault(kind="status", status=429, skip=1, first=2, match="/v1/events"))
    sandbox.faults.add(Fault(kind="status", status=500, match="/v1/events"))
    sandbox.faults.add(Fault(kind="status", status=404, match="/v1/users"))
    assert statuses(client, f"{sandbox.url}/v1/users", 2) == [404, 200]
    assert statuses(client, f"{sandbox.url}/v1/events", 5) == [200, 429, 429, 500, 200]
    assert sandbox.faults.pending() == []


def test_faults_can_be_seen_and_cleared(sandbox: RunningSandbox, client: requests.Session) -> None:
    ask_for(client, sandbox, kind="status", first=5)
    assert statuses(client, f"{sandbox.url}/v1/events", 1) == [503]
    pending = get(client, f"{sandbox.url}/control/faults")["faults"]
    assert [(fault["kind"], fault["first"]) for fault in pending] == [("status", 4)]
    client.delete(f"{sandbox.url}/control/faults", timeout=10)
    assert statuses(client, f"{sandbox.url}/v1/events", 1) == [200]


def test_a_fault_can_have_a_body(sandbox: RunningSandbox, client: requests.Session) -> None:
    ask_for(client, sandbox, kind="status", status=200, body={"error": "quota"})
    ask_for(client, sandbox, kind="status", status=500, body="Oops")
    ask_for(client, sandbox, kind="status", status=204)
    url = f"{sandbox.url}/v1/events"
    assert get(client, url) == {"error": "quota"}
    assert client.get(url, timeout=10).text == "Oops"
    assert client.get(url, timeout=10).content == b""


def test_the_token_endpoint_can_fail_too(sandbox: RunningSandbox, client: requests.Session) -> None:
    ask_for(client, sandbox, kind="status", status=502, match="/oauth/token")
    assert client.post(f"{sandbox.url}/oauth/token", timeout=10).status_code == 502


def test_a_cut_answer_ends_half_way_on_the_wire(sandbox: RunningSandbox, client: requests.Session) -> None:
    whole = client.get(f"{sandbox.url}/v1/events?limit=100", timeout=10).content
    ask_for(client, sandbox, kind="cut", first=2)
    head, body = raw_answer(sandbox.url, "/v1/events?limit=100")
    assert head.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert body == whole[: len(whole) // 2]
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        client.get(f"{sandbox.url}/v1/events?limit=100", timeout=10)
    assert client.get(f"{sandbox.url}/v1/events?limit=100", timeout=10).content == whole


def test_a_truncated_answer_looks_whole_but_is_not_json(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    ask_for(client, sandbox, kind="truncate")
    answer = client.get(f"{sandbox.url}/v1/events", timeout=10)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.text.startswith('{"data":[{"id":"evt_1"')
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize(
    ("kind", "content_type", "start"), [("html", "text/html", "<!DOCTYPE"), ("empty", "application/json", "")]
)
def test_an_answer_can_be_something_else_with_200(
    sandbox: RunningSandbox, client: requests.Session, kind: str, content_type: str, start: str
) -> None:
    ask_for(client, sandbox, kind=kind)
    answer = client.get(f"{sandbox.url}/v1/events", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.text[:9] == start


def test_a_slow_answer_comes_late_but_whole(sandbox: RunningSandbox, client: requests.Session) -> None:
    ask_for(client, sandbox, kind="slow", seconds=0.3)
    began = time.monotonic()
    assert get(client, f"{sandbox.url}/v1/users")["total"] == 40
    assert time.monotonic() - began >= 0.3


def test_a_trickling_answer_comes_in_pieces_but_whole(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    url = f"{sandbox.url}/v1/events?limit=100"
    whole = client.get(url, timeout=10).content
    ask_for(client, sandbox, kind="trickle", seconds=0.3)
    began = time.monotonic()
    assert client.get(url, timeout=10).content == whole
    assert time.monotonic() - began >= 0.3


def test_a_reset_connection_has_no_answer_at_all(sandbox: RunningSandbox, client: requests.Session) -> None:
    ask_for(client, sandbox, kind="reset", first=2)
    with pytest.raises(ConnectionResetError):
        raw_answer(sandbox.url, "/v1/users")
    with pytest.raises(requests.exceptions.ConnectionError):
        client.get(f"{sandbox.url}/v1/users", timeout=10)
    assert get(client, f"{sandbox.url}/v1/users")["total"] == 40


def test_latency_holds_back_every_answer(client: requests.Session) -> None:
    with running_sandbox(SandboxSettings(latency=0.2)) as sandbox:
        began = time.monotonic()
        get(client, f"{sandbox.url}/v1/users")
        assert time.monotonic() - began >= 0.2
        assert sandbox.requests.list()[0].seconds >= 0.2


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "explode"},
        {"kind": "status", "frist": 2},
        {"kind": "status", "status": 42},
        {"kind": "cut", "first": 0},
    ],
)
def test_a_fault_that_does_not_exist_is_refused(
    sandbox: RunningSandbox, client: requests.Session, fault: dict[str, Any]
) -> None:
    answer = client.post(f"{sandbox.url}/control/faults", json=fault, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert sandbox.faults.pending() == []
