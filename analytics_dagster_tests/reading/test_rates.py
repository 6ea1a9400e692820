"""What an API says of its limits holds for every request to it, whoever was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import pytest

from analytics_dagster.reading import budget
from analytics_dagster.reading.budget import Budget
from analytics_dagster.reading.errors import RequestError
from analytics_dagster.reading.rates import requests_left
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import Client, Limits, Retry
from analytics_dagster_tests.reading.helpers import Answer, Lab, served


def session(url: str, **limits: Any) -> ApiSession:
    """A session that really waits."""
    lab = Lab(url)
    return ApiSession(
        Client(base_url=url), Retry(backoff_factor=0.01), Limits(**limits), lab.redact, lab.meter
    )


def ask(url: str, times: int, sessions: list[ApiSession]) -> None:
    """Send requests from all sessions side by side, as many as may be at once and more."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: sessions[n % len(sessions)].get(f"{url}/{n}"), range(times)))


@pytest.mark.parametrize("seed", range(3))
def test_no_interval_holds_more_than_the_file_allows_by_the_clock_of_the_server(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setitem(budget._SECONDS, "second", 0.25)
    seen: list[float] = []

    def answer(_: dict[str, str]) -> Answer:
        seen.append(time.monotonic())
        time.sleep((0, 0.002, 0.02)[(len(seen) * (seed + 1)) % 3])
        return {}, {":status": "503"} if len(seen) % 7 == 3 else {}

    limit = (3, 5, 8)[seed]
    with served(answer) as url:
        # Two loads of one run, one after the other or side by side, have one budget.
        sessions = [session(url, requests=limit, per="second", concurrency=4) for _ in range(2)]
        ask(url, 3 * limit, sessions)
        for one in sessions:
            one.close()
    seen.sort()
    assert all(later - earlier >= 0.25 for earlier, later in zip(seen, seen[limit:], strict=False))


def test_a_retry_after_holds_every_request_back() -> None:
    told: list[float] = []
    seen: list[float] = []
    together = threading.Barrier(4)

    def answer(_: dict[str, str]) -> Answer:
        seen.append(time.monotonic())
        if len(seen) <= 4:
            together.wait(10)
            if not told:
                told.append(time.monotonic())
                return {}, {":status": "429", "Retry-After": "0.3"}
            time.sleep(0.05)  # those under way may come later than the one that was told
        return {}, {}

    with served(answer) as url, session(url) as first, session(url) as second:
        ask(url, 30, [first, second])
    assert [when for when in seen[4:] if when < told[0] + 0.3] == []


@pytest.mark.parametrize(
    "headers",
    [
        lambda left, reset: {"RateLimit-Remaining": f"{left}", "RateLimit-Reset": f"{reset:.3f}"},
        lambda left, reset: {"X-RateLimit-Remaining": f"{left}", "X-RateLimit-Reset": f"{reset:.3f}"},
        lambda left, reset: {"x-rate-limit-remaining": f"{left}", "x-rate-limit-reset": f"{reset:.3f}"},
    ],
)
def test_what_is_left_of_the_api_s_limit_is_not_overdrawn(
    headers: Callable[[int, float], dict[str, str]],
) -> None:
    refused: list[float] = []
    lock = threading.Lock()
    start, count = time.monotonic(), 0

    def answer(_: dict[str, str]) -> Answer:
        nonlocal start, count
        with lock:
            now = time.monotonic()
            if now >= start + 0.2:
                start, count = now, 0
            count += 1
            if count > 6:
                refused.append(now)
            left = headers(max(0, 6 - count), start + 0.2 - now)
        return {}, left

    with served(answer) as url, session(url) as one:
        one.get(url)
        ask(url, 20, [one])
    assert refused == []


NOON = 1_700_000_000
DATE = formatdate(NOON, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "left", "seconds"),
    [
        ({"RateLimit": '"default";r=50;t=30'}, 50, 30),
        ({"RateLimit": '"burst";r=3;t=1, "daily";r=500;t=86400'}, 3, 1),
        ({"RateLimit": '"permin"; t=9; r=0;pk=:QUE=:'}, 0, 9),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, 50, 5),
        ({"RateLimit-Limit": "10", "RateLimit-Remaining": "1", "RateLimit-Reset": "7"}, 1, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON + 10}", "Date": DATE}, 0, 10),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON + 10}000", "Date": DATE}, 0, 10),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1000000000"}, 0, 0),
    ],
)
def test_the_usual_headers_are_understood(headers: dict[str, str], left: int, seconds: float) -> None:
    assert requests_left(headers) == (left, seconds)


def test_an_instant_without_a_date_is_one_by_the_own_clock() -> None:
    found = requests_left({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": str(int(time.time() + 1000))})
    assert found is not None
    assert 900 < found[1] <= 1000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit-Remaining": "3"},
        {"RateLimit-Remaining": "none", "RateLimit-Reset": "soon"},
        {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "1, 5"},
        {"RateLimit": "nonsense;;;=,"},
    ],
)
def test_headers_that_say_nothing_change_nothing(headers: dict[str, str]) -> None:
    assert requests_left(headers) is None


def test_a_limit_that_begins_anew_late_is_waited_for_no_longer_than_the_file_says() -> None:
    far = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "86400"}
    with served(lambda _: ({}, far)) as url:
        lab, brief = Lab(url), Retry.model_validate({"max_wait": 0.1})
        with ApiSession(Client(base_url=url), brief, Limits(), lab.redact, lab.meter) as one:
            for _ in range(3):
                one.get(url)
        assert lab.meter.requests == 3
        assert any((said or "").startswith("the API's own limit") for said in lab.said)


def test_fewer_at_once_while_the_api_has_too_much_to_do() -> None:
    limited = Budget(None, "minute", 8)
    began = time.monotonic()
    for _ in range(5):  # all that were under way together
        limited.refused(began)
    assert limited.at_once == 4
    for at_once in (2, 1, 1):
        limited.refused(time.monotonic())
        assert limited.at_once == at_once
    for _ in range(19):
        limited.answered()
    assert limited.at_once == 1
    limited.answered()
    assert limited.at_once == 2
    for _ in range(1000):
        limited.answered()
    assert limited.at_once == 8


def test_a_refusal_leaves_half_as_many_at_once() -> None:
    under_way: list[int] = []
    most: list[int] = []

    def answer(_: dict[str, str]) -> Answer:
        under_way.append(1)
        most.append(len(under_way))
        if len(most) == 1:
            return {}, {":status": "503"}
        time.sleep(0.005)
        under_way.pop()
        return {}, {}

    with served(answer) as url, session(url) as one:
        one.get(url)
        most.clear()
        under_way.clear()
        ask(url, 13, [one])
        assert max(most) <= 2
        ask(url, 20, [one])
        assert max(most) <= 3


def test_who_waits_for_the_budget_need_not_when_the_load_is_over() -> None:
    with served(lambda _: ({}, {})) as url:
        one = session(url, requests=1, per="hour")
        other = session(url, requests=1, per="hour")
        one.get(url)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.get, url)
            while not other.meter.waiting:
                time.sleep(0.001)
            other.close()
            with pytest.raises(RequestError, match="the load is over"):
                waiting.result(10)
        one.close()
