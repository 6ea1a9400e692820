"""What the file says of certain answers is what becomes of them, before anything else looks at them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from requests.structures import CaseInsensitiveDict

from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.completion import Completion
from analytics_dagster.reading.errors import LoadError, PageError, QuotaError, RefusedError, RequestError
from analytics_dagster.reading.quotas import seconds_until_new
from analytics_dagster.spec import ResponseAction
from analytics_dagster_tests.reading.door import signer
from analytics_dagster_tests.reading.helpers import SECRET, Lab
from analytics_dagster_tests.security.servers import Answer, Received, serving

ROWS: Answer = (200, {}, {"data": [{"id": 1}]})
PAGE_NUMBER = {"type": "page_number", "total_path": None}
NEXT = {"type": "cursor", "cursor_path": "next", "cursor_param": "c"}


class Read(NamedTuple):
    """What was read, how often it was asked for, and the waits on the way."""

    rows: list[Any]
    asked: int
    waits: list[float]


def completion(*rules: dict[str, Any]) -> Completion:
    return Completion(actions=Actions([ResponseAction.model_validate(rule) for rule in rules]))


def read(
    answers: Sequence[Answer], *rules: dict[str, Any], paginator: Any = "single_page", hides: bool = False
) -> Read:
    """Read from a server that gives these answers, the last one for ever, with these rules."""
    left = list(answers)

    def answered(_: Received) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    with serving(answered) as server:
        lab = Lab(server.url)
        lab.redact.hides_bodies = hides
        with lab.session:
            rows = lab.rows("/rows", paginator, completion=completion(*rules))
        return Read(rows, len(server.received), lab.waits)


@pytest.mark.parametrize(
    ("conditions", "answer", "fits"),
    [
        ({"status_code": 404}, (404, {}, {}), True),
        ({"status_code": 404}, (410, {}, {}), False),
        ({"status_code": ["4xx", 503]}, (410, {}, {}), True),
        ({"status_code": ["4xx", 503]}, (503, {}, {}), True),
        ({"status_code": "4XX"}, (500, {}, {}), False),
        (
            {"content": "für"},
            (404, {"Content-Type": "text/html; charset=latin-1"}, "für".encode("latin-1")),
            True,
        ),
        ({"content": "für"}, (404, {"Content-Type": "text/html; charset=ascii"}, b"f"), False),
        ({"header": "x-error"}, (404, {"X-Error": ""}, {}), True),
        ({"header": {"X-Left": 0, "X-Of": "day"}}, (404, {"X-Left": " 0", "X-Of": "day"}, {}), True),
        ({"header": {"X-Left": 0, "X-Of": "day"}}, (404, {"X-Left": "0"}, {}), False),
        ({"when": "error.code == `7`"}, (404, {}, {"error": {"code": 7}}), True),
        ({"when": "contains(error, 'x')"}, (404, {}, {}), False),
        ({"when": "errors"}, (404, {}, {"errors": []}), False),
        ({"when": "error_count"}, (404, {}, {"error_count": 0}), True),
        ({"when": "!ok"}, (404, {}, b"<html>"), False),
        ({"status_code": 404, "when": "ok"}, (404, {}, {"ok": False}), False),
    ],
)
def test_a_rule_fits_where_all_that_it_names_is_there(
    conditions: dict[str, Any], answer: Answer, fits: bool
) -> None:
    rule = {**conditions, "action": "no_data"}
    if fits:
        assert read([answer], rule) == ([], 1, [])
    else:
        with pytest.raises(LoadError, match=f"{answer[0]}"):
            read([answer], rule)


def test_the_first_rule_that_fits_counts_before_retries_and_before_the_body_must_be_json() -> None:
    fail = {"status_code": "4xx", "action": "fail"}
    assert read([(429, {"Retry-After": "99"}, b"none")], {"status_code": 429, "action": "no_data"}, fail) == (
        [],
        1,
        [],
    )
    with pytest.raises(RefusedError):
        read([(429, {}, b"none")], fail, {"status_code": 429, "action": "no_data"})
    assert read([(200, {}, b"<p>nothing</p>")], {"content": "nothing", "action": "ignore"}).rows == []


def test_retries_of_a_rule_have_a_number_and_waits_of_their_own() -> None:
    busy: Answer = (200, {}, {"status": "running"})
    rule = {"when": "status == 'running'", "action": "retry", "max_retries": 4, "wait": ["10s", "1m"]}
    assert read([*[busy] * 4, ROWS], rule) == ([{"id": 1}], 5, [10, 60, 60, 60])
    with pytest.raises(RequestError, match=r"200 OK \(response_actions\[0\]\)\. It was tried 5 times"):
        read([busy], rule)
    refused: Answer = (403, {"Retry-After": "30"}, {})
    assert read([refused, refused, ROWS], {"status_code": 403, "action": "retry", "wait": 20}).waits == [
        30,
        30,
    ]
    first, second = read([(409, {}, {})] * 2 + [ROWS], {"status_code": 409, "action": "retry"}).waits
    assert 2 <= first <= 2.5  # as `retry` says
    assert 4 <= second <= 5


@pytest.mark.parametrize("permanent", [True, False])
def test_a_failure_says_what_the_file_and_the_api_say(permanent: bool) -> None:
    answer: Answer = (200, {}, {"result": "error", "message": f"no site\n9 for {SECRET}"})
    rule = {"when": "result == 'error'", "action": "fail", "message": "Ask Ann", "message_path": "message"}
    with pytest.raises(RefusedError if permanent else RequestError) as caught:
        read([answer], {**rule, **({} if permanent else {"permanent": False})})
    assert caught.value.permanent is permanent
    said = (
        r"Ask Ann\. no site 9 for \*\*\*\. GET http://[\d.:]+/rows failed: 200 OK, by response_actions\[0\]\."
    )
    assert re.match(said, str(caught.value))
    assert SECRET not in str(caught.value)

    with pytest.raises(RefusedError) as caught:  # rows have fields that must not be shown
        read([answer], rule, hides=True)
    assert "Ask Ann. GET" in str(caught.value)
    assert "no site" not in str(caught.value)


@pytest.mark.parametrize("pages", [PAGE_NUMBER, NEXT, {"type": "offset", "limit": 1, "total_path": None}])
def test_no_data_is_a_page_without_rows_and_ignore_the_end_of_the_pages(pages: Any) -> None:
    page: Answer = (200, {}, {"data": [{"id": 1}], "next": "2"})
    for action in ("no_data", "ignore"):
        for gone in ((404, {}, {"next": "9"}), (200, {}, {"none": True, "next": "9"})):
            rule = {"when": "next == '9'", "action": action}
            assert read([gone], rule, paginator=pages) == ([], 1, [])
            assert read([page, gone], rule, paginator=pages) == ([{"id": 1}], 2, [])


def test_no_data_ends_pages_that_say_whether_there_are_more() -> None:
    page: Answer = (200, {}, {"data": [{"id": 1}], "next": "2", "more": True})
    pages = {"type": "cursor", "cursor_path": "next", "has_more_path": "more"}
    rule = {"status_code": [204, 304], "action": "no_data"}
    for gone in ((204, {}, b""), (304, {}, b"")):
        assert read([gone], rule, paginator=pages) == ([], 1, [])
        assert read([page, gone], rule, paginator=pages) == ([{"id": 1}], 2, [])


@pytest.mark.parametrize("action", ["no_data", "ignore"])
def test_rows_that_a_total_counts_are_not_ignored(action: str) -> None:
    page: Answer = (200, {}, {"data": [{"id": 1}], "total": 3})
    with pytest.raises(PageError, match="the API states 3 rows and sent 1"):
        read([page, (404, {}, {})], {"status_code": 404, "action": action}, paginator={"type": "page_number"})


@pytest.mark.parametrize("good", ["Bearer tok-2", "none"])
def test_a_new_token_is_fetched_once(good: str) -> None:
    tokens = (f"tok-{number}" for number in range(1, 9))
    rule = {"when": "error == 'expired'", "action": "refresh_auth"}

    def answered(request: Received) -> Answer:
        if request.path == "/token":
            return 200, {}, {"access_token": next(tokens)}
        return ROWS if request.headers["authorization"] == good else (200, {}, {"error": "expired"})

    with serving(answered) as server:
        lab = Lab(server.url)
        oauth2 = {"type": "oauth2", "client_id": "i", "client_secret": "s"}
        auth = signer({**oauth2, "access_token_url": f"{server.url}/token"}, lab)
        if good != "none":
            assert lab.rows("/rows", "single_page", auth=auth, completion=completion(rule)) == [{"id": 1}]
        else:
            with pytest.raises(RefusedError, match="a token that was fetched just before: 200 OK"):
                lab.rows("/rows", "single_page", auth=auth, completion=completion(rule))
        sent = [request.headers["authorization"] for request in server.received if request.path == "/rows"]
        assert sent == ["Bearer tok-1", "Bearer tok-2"]


NOW = datetime(2024, 3, 30, 21, 40, tzinfo=UTC)  # the night in which clocks go forward in Berlin


@pytest.mark.parametrize(
    ("headers", "reset", "timezone", "seconds"),
    [
        ({}, "hour", "UTC", 20 * 60 + 5),
        ({}, "hour", "Asia/Kolkata", 50 * 60 + 5),  # where it is ten past three
        ({}, "day", "UTC", (2 * 60 + 20) * 60 + 5),
        ({}, "day", "Europe/Berlin", (60 + 20) * 60 + 5),
        ({}, "day", "America/Los_Angeles", (9 * 60 + 20) * 60 + 5),
        ({"Retry-After": "90", "X-RateLimit-Reset": "7000"}, "day", "UTC", 90),
        ({"RateLimit": '"minute";r=5;t=30, "day";r=0;t=4000'}, "hour", "UTC", 4000),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7000"}, "hour", "UTC", 7000),
        (
            {"X-RateLimit-Reset": "1711838400", "Date": "Sat, 30 Mar 2024 21:40:00 GMT"},
            "hour",
            "UTC",
            60 * 60,
        ),
        ({"Retry-After": "0"}, "hour", "UTC", 1),
        ({"Retry-After": "9" * 400}, "hour", "UTC", 366 * 86400),
    ],
)
def test_when_a_quota_is_new(headers: dict[str, str], reset: Any, timezone: str, seconds: float) -> None:
    assert seconds_until_new(CaseInsensitiveDict(headers), reset, timezone, NOW) == seconds


def test_a_quota_is_waited_for_up_to_a_limit_and_then_the_error_says_when() -> None:
    used_up: Answer = (429, {"Retry-After": "200"}, {"message": "used up"})
    rule = {"status_code": 429, "action": "wait_quota"}
    assert read([used_up, used_up, (503, {}, {}), ROWS], rule).waits[:2] == [200, 200]
    with pytest.raises(
        QuotaError, match=r"in 3\.3 min, and max_wait is 10\.0 min, of which 10\.0 min are over"
    ) as caught:
        read([used_up], rule)  # three times 200 seconds, and no fourth one
    assert caught.value.renewed is not None
    left = caught.value.renewed - datetime.now(UTC)
    assert timedelta(seconds=190) < left <= timedelta(seconds=200)
    assert not caught.value.permanent
    with pytest.raises(QuotaError, match=r"max_wait is 1\.0 min") as caught:
        read([used_up], {**rule, "max_wait": "1m"})
    assert f"{caught.value.renewed:%Y-%m-%d %H:%M:%S} UTC" in str(caught.value)
    assert "used up" in str(caught.value).splitlines()[1]


def test_a_wait_for_a_quota_is_told() -> None:
    left: list[Answer] = [(403, {"Retry-After": "540"}, {}), ROWS]
    with serving(lambda _: left.pop(0)) as server:
        lab = Lab(server.url)
        rule = {"status_code": 403, "action": "wait_quota"}
        assert lab.rows("/rows", "single_page", completion=completion(rule)) == [{"id": 1}]
    assert any("the quota is used up, going on in 9.0 min" in said for said in lab.said if said)
