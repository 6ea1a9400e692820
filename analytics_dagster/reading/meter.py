"""Counts what a load does, and tells whoever wants to watch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Meter:
    """What one load has sent and received so far; safe to use from several threads.

    `stated` are the rows that the API says there are, the last time it said so. `is_plain` says that dlt
    surely keeps all values that came as they are. `on_change` is called after each change, from the thread
    that made it.
    """

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    pages: int = 0
    rows: int = 0
    stated: int | None = None
    is_plain: bool = True
    waiting: str | None = None
    on_change: Callable[[Meter], None] = field(default=lambda _: None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(
        self, *, requests: int = 0, retries: int = 0, size: int = 0, pages: int = 0, rows: int = 0
    ) -> None:
        """Add to the counts; `size` is in bytes of decoded body."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes += size
            self.pages += pages
            self.rows += rows
        self.on_change(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Meter:
        """Itself: dlt copies a paginator for each parent of a child resource, and all count together."""
        return self

    def wait(self, reason: str | None) -> None:
        """Say what the load is waiting for; None when it goes on."""
        self.waiting = reason
        self.on_change(self)
