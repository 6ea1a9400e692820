"""Requests that are sent before they are asked for, and how the one that asks finds its answer."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import requests

from analytics_dagster.reading.wire import Answer


@dataclass(frozen=True)
class Coming:
    """A request that is under way before its turn, or answered."""

    prepared: requests.PreparedRequest
    answer: Future[Answer]

    @property
    def has_failed(self) -> bool:
        """Whether it is known that there will be no answer."""
        return self.answer.done() and (self.answer.cancelled() or self.answer.exception() is not None)


def take_coming(request: requests.Request | requests.PreparedRequest) -> Coming | None:
    """What was sent for a request before its turn."""
    return vars(request).pop("coming", None)
