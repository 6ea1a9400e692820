"""The budget of requests that all checks share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from analytics_dagster.certifying.verdicts import NotReached
from analytics_dagster.reading.meter import Meter


class Requests:
    """Counts requests over all readings and loads, and sends none beyond the limit; safe from any thread.

    `limit` may be raised meanwhile; `throttled` has what was said of each 429.

    Args:
        tell: Called with the meter of what is under way, after each change.
    """

    def __init__(self, tell: Callable[[Meter], None]) -> None:
        self.sent = 0
        self.limit = 0
        self.throttled: list[str] = []
        self._tell = tell
        self._lock = threading.Lock()

    def watch(self) -> Callable[[Meter], None]:
        """What the `on_change` of meters calls that follow one another.

        Raises:
            NotReached: Before the request that would be too many.
        """
        current: Meter | None = None
        seen = 0

        def on_change(meter: Meter) -> None:
            nonlocal current, seen
            with self._lock:
                if meter is not current:
                    current, seen = meter, 0
                new, seen = meter.requests - seen, meter.requests
                if self.sent + new > self.limit:
                    raise NotReached(f"{self.sent:,} requests were sent")
                self.sent += new
                said = meter.waiting or ""
                if re.search(r"\b429\b", said) and said not in self.throttled:
                    self.throttled.append(said)
            self._tell(meter)

        return on_change
