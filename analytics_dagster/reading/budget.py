"""Keeps the requests of all threads of a run within the API's limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from analytics_dagster.spec import Limits

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Budget:
    """At most `limits.requests` in any interval of `limits.per`, and `limits.concurrency` at once.

    A request counts from its start until one interval after its answer: the server may have seen it
    at any time before the answer, and no interval, wherever it starts, may hold more than the limit.

    Args:
        limits: The file's `limits`.
        announce: Told why a request has to wait for the limit, and None when it goes on.
    """

    def __init__(self, limits: Limits, announce: Callable[[str | None], None]) -> None:
        self._limits = limits
        self._announce = announce
        self._interval = _SECONDS[limits.per]
        self._in_flight = 0
        self._answered: deque[float] = deque()
        self._queue: deque[object] = deque()  # first come, first served: no thread waits for ever
        self._changed = threading.Condition()

    @contextmanager
    def request(self) -> Generator[None]:
        """Wait for a place in the budget and hold it for the time of one request."""
        self._enter()
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._limits.requests is not None:
                    self._answered.append(time.monotonic())
                self._changed.notify_all()

    def _enter(self) -> None:
        me = object()
        with self._changed:
            self._queue.append(me)
            try:
                while self._queue[0] is not me or self._in_flight >= self._limits.concurrency:
                    self._changed.wait()
                self._wait_for_limit()
                self._in_flight += 1
            finally:
                self._queue.remove(me)
                self._changed.notify_all()

    def _wait_for_limit(self) -> None:
        """Called by the first in the queue only, so that meanwhile requests end and none begins."""
        if (limit := self._limits.requests) is None:
            return
        announced = False
        while self._in_flight + self._recently_answered() >= limit:
            pause = self._answered[0] + self._interval - time.monotonic() if self._answered else None
            if pause and not announced:
                self._announce(f"the limit of {limit} requests per {self._limits.per} ({pause:.0f} s)")
                announced = True
            self._changed.wait(pause)
        if announced:
            self._announce(None)

    def _recently_answered(self) -> int:
        while self._answered and self._answered[0] + self._interval <= time.monotonic():
            self._answered.popleft()
        return len(self._answered)
