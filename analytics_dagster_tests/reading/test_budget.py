"""No interval holds more requests than the file allows, and every thread gets its turn."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from analytics_dagster.reading.budget import Budget

OPEN = threading.Event()
"""Never set: somebody wants the answers."""


def quiet(_: str | None) -> None:
    """Nobody watches."""


def run(threads: int, work: Callable[[int], None]) -> None:
    """Run a function in threads, and fail if one does not come back."""
    running = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(20)
    assert not any(thread.is_alive() for thread in running)


@pytest.mark.parametrize(("limit", "concurrency", "threads"), [(5, 3, 8), (1, 4, 3), (7, 50, 12)])
def test_no_interval_holds_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, concurrency: int, threads: int
) -> None:
    monkeypatch.setattr("analytics_dagster.reading.budget._SECONDS", {"second": 0.2})
    budget = Budget(limit, "second", concurrency)
    seen: list[float] = []
    in_flight: list[int] = []
    open_now = 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal open_now
        for _ in range(max(1, 3 * limit // threads)):
            with budget.request(quiet, OPEN):
                with lock:
                    open_now += 1
                    in_flight.append(open_now)
                time.sleep(0.005)
                with lock:
                    open_now -= 1
                seen.append(time.monotonic())  # a server may see it just before it answers

    run(threads, work)
    seen.sort()
    assert max(in_flight) <= concurrency
    assert all(later - earlier >= 0.2 for earlier, later in zip(seen, seen[limit:], strict=False))


def test_requests_far_apart_count_just_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_dagster.reading.budget._SECONDS", {"second": 0.2})
    budget = Budget(2, "second", 4)
    seen: list[float] = []
    for pause in (0, 0.12, 0, 0):
        time.sleep(pause)
        with budget.request(quiet, OPEN):
            seen.append(time.monotonic())
    assert all(later - earlier >= 0.2 for earlier, later in zip(seen, seen[2:], strict=False))


def test_without_a_limit_only_the_concurrency_binds() -> None:
    budget = Budget(None, "minute", 2)
    began = time.monotonic()

    def work(_: int) -> None:
        for _ in range(50):
            with budget.request(quiet, OPEN):
                pass

    run(4, work)
    assert time.monotonic() - began < 2


def test_every_thread_gets_its_turn() -> None:
    budget = Budget(None, "minute", 1)
    turns: list[int] = []
    together = threading.Barrier(4)

    def work(me: int) -> None:
        together.wait()
        for _ in range(20):
            with budget.request(quiet, OPEN):
                turns.append(me)
                time.sleep(0.001)

    run(4, work)
    first_half = Counter(turns[:40])
    assert len(first_half) == 4
    assert min(first_half.values()) >= 5


def test_an_error_gives_the_place_back() -> None:
    budget = Budget(3, "hour", 1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), budget.request(quiet, OPEN):
            raise KeyboardInterrupt
    asking = threading.Thread(target=lambda: budget.request(quiet, OPEN).__enter__(), daemon=True)
    asking.start()
    asking.join(0.05)
    assert asking.is_alive()  # a failed request counts all the same


def test_whoever_watches_sees_why_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_dagster.reading.budget._SECONDS", {"second": 0.1})
    said: list[str | None] = []
    budget = Budget(1, "second", 4)
    for _ in range(2):
        with budget.request(said.append, OPEN):
            pass
    assert said == ["the limit of 1 requests per second (0 s)", None]
