"""What came for one reading, page by page, and the paginator that takes it down."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from dlt.sources.helpers.rest_client.paginators import BasePaginator

from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.spec import Window

Row = dict[str, Any]


@dataclass
class Page:
    """One answer: where it came from, without secrets, its rows and its size in bytes.

    `answer` is kept of a first page only.
    """

    url: str
    answer: requests.Response | None
    rows: list[Any]
    size: int


@dataclass
class Reading:
    """What came for one window, or for everything; `walks` has the pages of each parent's rows, in order.

    `stated` is the total that the API stated last; `is_whole` says whether the pages were followed to their
    end.
    """

    window: Window | None = None
    walks: list[list[Page]] = field(default_factory=list[list[Page]])
    stated: int | None = None
    is_whole: bool = True

    @property
    def pages(self) -> list[Page]:
        """All pages."""
        return [page for walk in self.walks for page in walk]

    @property
    def rows(self) -> list[Any]:
        """All rows, as `records` made them."""
        return [row for page in self.pages for row in page.rows]

    @property
    def answer(self) -> requests.Response | None:
        """The first answer."""
        return next((page.answer for page in self.pages), None)

    @property
    def asked(self) -> str:
        """The first request, for a message."""
        return next((page.url for page in self.pages), "the request")


class RecordedPages(BasePaginator):
    """Follows a paginator for some pages at most, and takes them down.

    Args:
        pages: The paginator.
        reading: Where they go; all parents of a child share it.
        most: How many pages in all; None for all there are.
        redact: Hides secrets in URLs.
    """

    def __init__(
        self, pages: WatchedPaginator, reading: Reading, most: int | None, redact: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._pages = pages
        self._reading = reading
        self._most = most
        self._redact = redact

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordedPages:
        return RecordedPages(copy.deepcopy(self._pages, memo), self._reading, self._most, self._redact)

    def init_request(self, request: requests.Request) -> None:
        """Begin a walk through the pages."""
        self._has_next_page = True
        self._walk: list[Page] = []
        self._reading.walks.append(self._walk)
        self._pages.init_request(request)

    def update_state(self, response: requests.Response, data: list[Any] | None = None) -> None:
        """Take down a page."""
        try:
            self._pages.update_state(response, data)
        finally:
            url = self._redact(response.url)
            kept = None if self._walk else response
            # The very rows, as a child's get fields of its parent later.
            self._walk.append(Page(url, kept, list(data or ()), len(response.content)))
        self._reading.stated = self._pages.expected
        self._has_next_page = self._pages.has_next_page
        if self._has_next_page and self._most is not None and len(self._reading.pages) >= self._most:
            self._has_next_page = self._reading.is_whole = False

    def update_request(self, request: requests.Request) -> None:
        """Turn the request into the one for the next page, if it is wanted: it may be sent at once."""
        if self._has_next_page:
            self._pages.update_request(request)


def only_first(count: int) -> Callable[[Any], bool]:
    """A filter that lets the first rows through, so that not every parent is asked for its children."""
    places = itertools.count()
    return lambda _row: next(places) < count
