"""Reads the pages of one reading ahead: which requests are sent before their turn, and which are dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import requests

from analytics_dagster.reading.coming import Coming
from analytics_dagster.reading.session import ApiSession


class ReadAhead:
    """The requests of one reading that are under way, in the order of their pages.

    Args:
        session: Sends them.
    """

    def __init__(self, session: ApiSession) -> None:
        self._session = session
        self._coming: deque[tuple[int, Coming]] = deque()

    def go_on(self, request: requests.Request, pages: int, later: Callable[[int], requests.Request]) -> None:
        """Send a request and those after it that are not under way yet.

        Args:
            request: The next in turn; the session will know by it what was sent.
            pages: How many may be under way or wait for their turn, this one included.
            later: Makes the request that is so many pages after this one.
        """
        if self._session.is_in_own_thread:
            return  # readings side by side are ahead as it is
        if self._coming and self._coming[0][0] != fingerprint(request):
            self.stop()  # a page was shorter than those before, so that the next begins elsewhere
        for number in range(len(self._coming), pages):
            if any(coming.has_failed for _, coming in self._coming):
                break
            asked = later(number) if number else request
            self._coming.append((fingerprint(asked), self._session.send_ahead(asked)))
        if self._coming:
            vars(request)["coming"] = self._coming.popleft()[1]

    def stop(self) -> None:
        """Do without all that is under way; what still waits for a thread is not sent."""
        while self._coming:
            self._coming.popleft()[1].answer.cancel()


def fingerprint(request: requests.Request) -> int:
    """A number that is equal for requests that ask for the same."""
    parts = (request.params, request.json, request.data, request.headers)
    return hash((request.url, *map(repr, parts)))
