"""Keeps the requests of all threads of a run within the API's limits."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from analytics_dagster.spec import Limits

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Budget:
    """At most `limits.requests` in any interval of `limits.per`, and `limits.concurrency` at once.

    A request counts from its start until one interval after its answer: the server may have seen it
    at any time before the answer, and no interval, wherever it starts, may hold more than the limit.
    """

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.requests
        self._interval = _SECONDS[limits.per]
        self._concurrency = limits.concurrency
        self._in_flight = 0
        self._answered: deque[float] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait for a place in the budget and hold it for the time of one request."""
        with self._changed:
            while (pause := self._pause()) is not None:
                self._changed.wait(pause)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._limit is not None:
                    self._answered.append(time.monotonic())
                self._changed.notify_all()

    def _pause(self) -> float | None:
        """Seconds until there may be a place; None when there is one now."""
        now = time.monotonic()
        while self._answered and self._answered[0] + self._interval <= now:
            self._answered.popleft()
        if self._in_flight >= self._concurrency:
            return self._interval
        if self._limit is None or self._in_flight + len(self._answered) < self._limit:
            return None
        return self._answered[0] + self._interval - now if self._answered else self._interval
