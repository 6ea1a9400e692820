"""What may get better is tried again, what may not is not, and whoever reads the error knows why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest
import requests
import responses
from dlt.sources.helpers.rest_client.auth import APIKeyAuth

from analytics_dagster.reading.errors import RefusedError, RequestError
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster_tests.reading.helpers import SECRET, URL, Lab, raw_server

GOOD: dict[str, Any] = {"json": {"data": [1]}}
METHODS = ["GET", "POST"]


def answer_with(method: str, *answers: dict[str, Any]) -> None:
    """Mock what the API answers, one after another."""
    for answer in answers:
        responses.add(method, URL, **answer)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "bad",
    [
        *({"status": status, "body": "{}"} for status in (429, 500, 502, 503, 504)),
        {"body": requests.ConnectionError("refused")},
        {"body": requests.ReadTimeout("slow")},
        {"body": requests.exceptions.ChunkedEncodingError("cut")},
        {"body": '{"data": [1'},
        {"body": '{"data": [1]}\nterminated early'},
        {"body": "<!DOCTYPE html><h1>Down</h1>", "content_type": "text/html"},
        {"body": ""},
        {"body": '{"n": NaN}'},
    ],
    ids=lambda bad: str(bad.get("status") or bad["body"])[:20],
)
@responses.activate
def test_a_passing_fault_costs_a_retry_and_nothing_else(method: str, bad: dict[str, Any]) -> None:
    answer_with(method, bad, bad, bad, GOOD)
    lab = Lab()
    assert lab.session.request(method, URL).json() == {"data": [1]}
    assert len(responses.calls) == 4
    assert (lab.meter.requests, lab.meter.retries) == (4, 3)
    assert [2 <= lab.waits[0] <= 2.5, 4 <= lab.waits[1] <= 5, 8 <= lab.waits[2] <= 10] == [True] * 3


@responses.activate
def test_waits_are_jittered() -> None:
    answer_with("GET", {"status": 503})
    waits: set[float] = set()
    for _ in range(5):
        lab = Lab()
        with pytest.raises(RequestError):
            lab.session.get(URL)
        waits.add(lab.waits[0])
    assert len(waits) > 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["cut", "truncate", "html", "empty", "status"])
def test_faults_on_a_real_connection_pass(sandbox: RunningSandbox, kind: Any, method: str) -> None:
    lab = Lab(sandbox.url)
    sandbox.faults.add(Fault(kind=kind, match="/v1/users", first=3))
    answer = lab.session.request(method, f"{sandbox.url}/v1/users", headers={"X-API-Key": "sandbox-key"})
    assert len(answer.json()["data"]) == 100
    assert lab.meter.retries == 3


def test_a_slow_answer_is_asked_for_again(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(kind="slow", seconds=0.6))
    lab = Lab(sandbox.url)
    headers = {"X-API-Key": "sandbox-key"}
    answer = lab.session.get(f"{sandbox.url}/v1/users", headers=headers, timeout=0.2)
    assert answer.status_code == 200
    assert lab.meter.retries == 1


def test_a_refused_connection_is_told_with_its_reason() -> None:
    lab = Lab("http://127.0.0.1:9", retry={"max_retries": 1})
    with pytest.raises(
        RequestError, match=r"GET http://127\.0\.0\.1:9/x\?k=\*\*\* failed: the connection failed"
    ):
        lab.session.get("http://127.0.0.1:9/x", params={"k": SECRET})
    assert len(lab.waits) == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b'{"data": []}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope",
        b"not HTTP at all\r\n\r\n",
    ],
    ids=["reset", "shorter than its length", "chunks that stop", "not gzip", "not HTTP"],
)
def test_broken_bytes_are_never_taken_for_an_answer(broken: bytes) -> None:
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
    with raw_server([broken, broken, good]) as url:
        lab = Lab(url)
        assert lab.session.get(url).json() == []
        assert lab.meter.retries == 2
    with raw_server([broken]) as url, pytest.raises(RequestError, match="tried 4 times"):
        Lab(url).session.get(url)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7), ("0.25", 0.25), ("0", 0), ("99999", 600), ("99999999999999999999", 600)],
)
@responses.activate
def test_retry_after_seconds_are_waited_up_to_max_wait(asked: str, waited: float) -> None:
    answer_with("GET", {"status": 429, "headers": {"Retry-After": asked}}, GOOD)
    lab = Lab()
    lab.session.get(URL)
    assert lab.waits == [waited]


@responses.activate
def test_a_longer_wait_than_allowed_is_told_in_the_end() -> None:
    answer_with("GET", *[{"status": 429, "headers": {"Retry-After": "3600"}}] * 4)
    with pytest.raises(RequestError, match=r"asked to wait 60\.0 min, and retry\.max_wait is 10\.0 min"):
        Lab().session.get(URL)


@responses.activate
def test_retry_after_date_is_waited_for() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=40)
    for date in (format_datetime(soon, usegmt=True), format_datetime(soon.replace(tzinfo=None))):
        answer_with("GET", {"status": 503, "headers": {"Retry-After": date}}, GOOD)
        lab = Lab()
        lab.session.get(URL)
        assert 35 < lab.waits[0] <= 40
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    answer_with("GET", {"status": 503, "headers": {"Retry-After": past}}, GOOD)
    lab = Lab()
    lab.session.get(URL)
    assert lab.waits == [0]


@pytest.mark.parametrize("nonsense", ["soon", "", "-5", "1,5", "Mon, 99 Jan 2024 00:00:00 GMT"])
@responses.activate
def test_retry_after_nonsense_is_ignored(nonsense: str) -> None:
    answer_with("GET", {"status": 503, "headers": {"Retry-After": nonsense}}, GOOD)
    lab = Lab()
    lab.session.get(URL)
    assert 2 <= lab.waits[0] <= 2.5


@responses.activate
def test_the_file_says_how_often_how_long_and_for_what() -> None:
    answer_with("GET", {"status": 418})
    lab = Lab(retry={"max_retries": 5, "backoff_factor": 0, "status_codes": [418]})
    with pytest.raises(RequestError, match="tried 6 times"):
        lab.session.get(URL)
    assert lab.waits == [0] * 5
    lab = Lab(retry={"max_retries": 0, "status_codes": [418]})
    with pytest.raises(RequestError, match="tried once"):
        lab.session.get(URL)
    assert lab.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
@responses.activate
def test_a_refusal_is_not_tried_again(status: int) -> None:
    answer_with("GET", {"status": status, "json": {"error": f"no, {SECRET}"}})
    lab = Lab()
    with pytest.raises(RefusedError) as caught:
        lab.session.get(URL, params={"appid": SECRET})
    assert len(responses.calls) == 1
    assert caught.value.permanent
    text = str(caught.value)
    assert f"GET {URL}?appid=*** was refused: {status} " in text
    assert 'The body began: {"error": "no, ***"}' in text


@responses.activate
def test_a_refusal_that_may_pass_is_not_permanent() -> None:
    answer_with("GET", {"status": 408})
    with pytest.raises(RequestError) as caught:
        Lab().session.get(URL)
    assert not caught.value.permanent


@responses.activate
def test_giving_up_says_what_was_tried() -> None:
    answer_with(
        "POST",
        {"status": 429, "headers": {"Retry-After": "1"}, "body": "x"},
        {"body": requests.ConnectionError("Connection refused")},
        {"body": requests.ReadTimeout()},
        {"status": 503, "body": f"busy  <b>{SECRET}</b>" + "y" * 9000},
    )
    lab = Lab()
    with pytest.raises(RequestError) as caught:
        lab.session.post(f"{URL}?api_key={quote(SECRET)}")
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        f"POST {URL}?api_key=*** failed: 503 Service Unavailable. It was tried 4 times in 0 s: "
    )
    assert first.endswith(
        "429 Too Many Requests, then the connection failed (Connection refused), then no answer in time,"
        " then 503 Service Unavailable."
    )
    assert second.startswith("The body began: busy <b>***</b>yyy")
    assert len(second) < 550


@responses.activate
def test_an_error_that_speaks_of_a_token_is_shown_whole() -> None:
    answer_with("GET", {"status": 401, "json": {"error": "invalid_token", "message": "it is expired"}})
    with pytest.raises(RefusedError, match='"error": "invalid_token", "message": "it is expired"'):
        Lab().session.get(URL)


@responses.activate
def test_a_wait_that_is_cut_says_what_was_asked_for() -> None:
    answer_with("GET", {"status": 429, "headers": {"Retry-After": "3600"}}, GOOD)
    lab = Lab()
    lab.session.get(URL)
    [said] = filter(None, lab.said)
    assert said == (
        "429 Too Many Requests; trying again in 10.0 min (1 of 3); the API asks for 60.0 min, and"
        " retry.max_wait is 10.0 min"
    )


@responses.activate
def test_whoever_watches_sees_the_wait_and_its_end() -> None:
    answer_with("GET", {"status": 503}, GOOD)
    lab = Lab()
    lab.session.get(URL)
    waits = [said for said in lab.said if said]
    assert waits[0].startswith("503 Service Unavailable; trying again in 2.")
    assert waits[0].endswith("s (1 of 3)")
    assert lab.meter.waiting is None


@responses.activate
def test_interrupting_is_not_a_fault() -> None:
    def interrupt(_: requests.PreparedRequest) -> Any:
        raise KeyboardInterrupt

    responses.add_callback("GET", URL, callback=interrupt)
    lab = Lab(limits={"concurrency": 1})
    for _ in range(2):  # the second one would hang if the first had kept its place in the budget
        with pytest.raises(KeyboardInterrupt):
            lab.session.get(URL)
    assert lab.waits == []


def test_a_line_break_in_a_key_is_named_without_the_key() -> None:
    url = "http://127.0.0.1:9/x"
    lab = Lab(url)
    with pytest.raises(RefusedError, match="line break") as in_headers:
        lab.session.get(url, headers={"X-Key": f"{SECRET}\n"})
    with pytest.raises(RefusedError, match="line break") as in_auth:
        lab.session.get(url, auth=APIKeyAuth("X-Key", f"{SECRET}\n"))
    assert "s3cr" not in f"{in_headers.value} {in_auth.value}"
