"""Keeps the requests of all threads of a run within the limits of the file, and those the API tells of."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

from analytics_dagster.reading.errors import RequestError

Period = Literal["second", "minute", "hour", "day"]

_SECONDS: dict[Period, float] = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_GOOD = 20  # answers in a row after which one more request at once is tried


@functools.cache
def budget_of(origin: str, requests: int | None, per: Period, concurrency: int) -> Budget:
    """The budget that all loads of this process share that send requests to one origin.

    Args:
        origin: The API's.
        requests: The file's `limits.requests`.
        per: The file's `limits.per`.
        concurrency: The file's `limits.concurrency`.
    """
    return Budget(requests, per, concurrency)


class Budget:
    """At most `requests` in any interval of `per`, and `concurrency` at once; fewer where the API says so.

    A request counts from its start until one interval after its answer: the server may have seen it
    at any time before the answer, and no interval, wherever it starts, may hold more than the limit.

    Args:
        requests: The file's `limits.requests`.
        per: The file's `limits.per`.
        concurrency: The file's `limits.concurrency`; `at_once` is how many the API seems to bear of them.
    """

    def __init__(self, requests: int | None, per: Period, concurrency: int) -> None:
        self._limit = requests
        self._per: Period = per
        self._interval = _SECONDS[per]
        self._most = self.at_once = concurrency
        self._in_flight = 0
        self._answered: deque[float] = deque()
        self._queue: deque[object] = deque()  # first come, first served: no thread waits for ever
        self._holding = 0
        self._left: int | None = None  # of the API's own limit, until it begins anew
        self._anew = 0.0
        self._good = 0
        self._slowed = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def request(self, announce: Callable[[str | None], None], closed: threading.Event) -> Generator[None]:
        """Wait for a place in the budget and hold it for the time of one request.

        Args:
            announce: Told why the request has to wait for a limit, and None when it goes on.
            closed: Set when nobody wants the answer any more; `wake` must be called then.

        Raises:
            RequestError: If it is closed before the request begins.
        """
        self._enter(announce, closed)
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._limit is not None:
                    self._answered.append(time.monotonic())
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Generator[None]:
        """Let no request begin, because the API told one to wait."""
        with self._changed:
            self._holding += 1
        try:
            yield
        finally:
            with self._changed:
                self._holding -= 1
                self._changed.notify_all()

    def left(self, requests: int, seconds: float) -> None:
        """The API said how many requests it takes until its limit begins anew.

        Args:
            requests: How many, after the one that it answered.
            seconds: How long until then.
        """
        with self._changed:
            now = time.monotonic()
            # It may have counted some of those that are under way, or none.
            left = requests - self._in_flight
            known = self._left if now < self._anew else None
            self._left = left if known is None else min(left, known)
            self._anew = now + seconds

    def refused(self, began: float) -> None:
        """The API had too much to do: half as many at once from now on.

        Args:
            began: When the request began, by `time.monotonic`. Those that began before the last change
                say nothing of it.
        """
        with self._changed:
            self._good = 0
            if began >= self._slowed:
                self.at_once = max(1, self.at_once // 2)
                self._slowed = time.monotonic()

    def answered(self) -> None:
        """The API answered well: one more at once after some of these."""
        with self._changed:
            self._good += 1
            if self._good >= _GOOD and self.at_once < self._most:
                self.at_once += 1
                self._good = 0
                self._changed.notify_all()

    def wake(self) -> None:
        """Let those that wait see that they need not any more."""
        with self._changed:
            self._changed.notify_all()

    def _enter(self, announce: Callable[[str | None], None], closed: threading.Event) -> None:
        me = object()
        announced = False
        with self._changed:
            self._queue.append(me)
            try:
                while True:
                    if closed.is_set():
                        raise RequestError("The request was not sent: the load is over.")
                    pause, why = self._pause(me)
                    if pause == 0:
                        break
                    if pause and not announced:
                        announce(f"{why} ({pause:.0f} s)")
                        announced = True
                    self._changed.wait(pause)
                self._in_flight += 1
                if self._left is not None:
                    self._left -= 1
            finally:
                self._queue.remove(me)
                self._changed.notify_all()
        if announced:
            announce(None)

    def _pause(self, me: object) -> tuple[float | None, str]:
        """Seconds until one may go on, and what for; None until something changes."""
        if self._queue[0] is not me or self._in_flight >= self.at_once or self._holding:
            return None, ""
        now = time.monotonic()
        pause, why = 0.0, ""
        if self._left is not None and self._left <= 0 and now < self._anew:
            pause, why = self._anew - now, "the API's own limit"
        elif now >= self._anew:
            self._left = None
        if self._limit is not None and self._in_flight + self._recently_answered() >= self._limit:
            if not self._answered:
                return None, ""
            left = self._answered[0] + self._interval - now
            if left > pause:
                pause, why = left, f"the limit of {self._limit} requests per {self._per}"
        return max(pause, 0.0), why

    def _recently_answered(self) -> int:
        while self._answered and self._answered[0] + self._interval <= time.monotonic():
            self._answered.popleft()
        return len(self._answered)
