"""How a session waits before it sends a request again, and what it says meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext

from analytics_dagster.reading.budget import Budget
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.outcomes import QuotaUsed, TryAgain, in_words
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Retry


class Waiting:
    """Waits in the threads that send requests.

    Args:
        retry: The file's `retry`.
        budget: Is held while the API wants no requests.
        meter: Tells people, and counts.
        redact: Hides secrets.
        sleep: How to wait, in seconds.
    """

    def __init__(
        self, retry: Retry, budget: Budget, meter: Meter, redact: Redactor, sleep: Callable[[float], object]
    ) -> None:
        self._backoff = retry.backoff_factor
        self._longest = retry.max_wait.total_seconds()
        self._budget = budget
        self._meter = meter
        self._redact = redact
        self._sleep = sleep

    def before_another_try(self, failure: TryAgain, tried: int, allowed: int) -> None:
        """Wait as long as the API, the rule that an answer fits, or the file's `retry` says.

        Args:
            failure: What became of the last try.
            tried: How many there were.
            allowed: How many more there may be after the first.
        """
        pause = failure.retry_after
        if pause is None and not failure.waits:
            pause = self._backoff * 2.0 ** min(tried - 1, 100)
            pause *= random.uniform(1, 1.25)  # noqa: S311 - spreads requests, hides nothing
        pause = min(pause or 0.0, self._longest)
        if failure.waits:
            pause = max(pause, failure.waits[min(tried, len(failure.waits)) - 1])
        again = f"trying again in {in_words(pause)} ({tried} of {allowed})"
        if (failure.retry_after or 0) > self._longest:
            asked = f"the API asks for {in_words(failure.retry_after or 0)}"
            again += f"; {asked}, and retry.max_wait is {in_words(self._longest)}"
        self._wait(f"{failure.outcome}; {again}", pause, for_all=failure.retry_after is not None)

    def for_quota(self, quota: QuotaUsed) -> None:
        """Wait until the API's quota is new."""
        says = f"{quota.outcome}; the quota is used up, going on in {in_words(quota.seconds)}"
        self._wait(says, quota.seconds, for_all=True)

    def _wait(self, says: str, seconds: float, *, for_all: bool) -> None:
        self._meter.add(retries=1)
        self._meter.wait(self._redact(says))
        with self._budget.held() if for_all else nullcontext():
            self._sleep(seconds)
        self._meter.wait(None)
