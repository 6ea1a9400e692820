"""dlt's offsets and page numbers, in step with what comes, to their end at the total where one is stated."""

from __future__ import annotations

from typing import Any

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from requests import Request, Response

from analytics_dagster.reading.errors import PageError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.totals import Tally, was_cut


class CountedOffset(dlt_paginators.OffsetPaginator):
    """dlt's offsets, which no short page puts out of step.

    Args:
        tally: Has counted each page before it comes here.
        options: dlt's.
    """

    def __init__(self, tally: Tally, **options: Any) -> None:
        super().__init__(**options)
        self.total_path = None  # dlt would fail where an answer has none
        self._tally = tally

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        page = len(data or ())
        # An API that caps its pages sends fewer rows than asked: the next offset follows what came.
        self.value_step = page or self.value_step
        super().update_state(response, data)
        if self._tally.is_whole(page, self.limit):
            self._has_next_page = False
        if self._tally.expected is None:
            _refuse_endless(self, response, page)

    def coming(self) -> int:
        """How many further pages may be asked for at once."""
        expected = self._tally.expected
        if expected is None or not self._tally.is_steady:
            return self._tally.pages_ahead
        return _pages(expected - self._tally.rows, self.value_step)


class CountedPageNumber(dlt_paginators.PageNumberPaginator):
    """dlt's page numbers, for which an answer need not state how many there are.

    Args:
        tally: Has counted each page before it comes here.
        must_fit: Whether the number at `total_path` surely is one of pages, so that it must come true.
        options: dlt's.
    """

    def __init__(self, tally: Tally, *, must_fit: bool, **options: Any) -> None:
        super().__init__(**options)
        self.total_path = None  # dlt would fail where an answer has none
        self._tally = tally
        self._must_fit = must_fit

    def init_request(self, request: Request) -> None:
        self._longest = 0
        super().init_request(request)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        page = len(data or ())
        self._longest = max(self._longest, page)
        super().update_state(response, data)
        total = self._tally.stated_pages
        if self._tally.has_every_row:
            self._has_next_page = False
        if total is None:
            _refuse_endless(self, response, page)
            return
        # Some APIs call the length of the page a total.
        if self.current_value >= total + self.base_index and (self._must_fit or total != self._longest):
            self._has_next_page = False
        if not self._has_next_page and not was_cut(self):
            self.refuse_missing(response)

    def refuse_missing(self, response: Response) -> None:
        """Hold the pages that came against their stated number, when the last one is there.

        Raises:
            PageError: If some are missing.
        """
        total = self._tally.stated_pages
        if total is None or not self._must_fit:
            return
        expected = total - (self.initial_value - self.base_index)
        came, rows = self._tally.pages, self._tally.rows
        if came < expected and rows != total:  # some totals count rows
            raise PageError(
                f"The pages of {without_query(response.url)} are not whole: the API states {expected} pages,"
                f" and page {came} was the last with its {rows} rows. If the rows changed meanwhile, another"
                " run will do; if that total does not count these pages, write `total_path: null` in the"
                " paginator."
            )

    def coming(self) -> int:
        """How many further pages may be asked for at once."""
        tally, known = self._tally, list[int]()
        if tally.stated_pages is not None and (self._must_fit or tally.stated_pages != self._longest):
            known.append(tally.stated_pages + self.base_index - self.current_value)
        if tally.expected is not None and tally.expected > tally.rows and self._longest:
            known.append(_pages(tally.expected - tally.rows, self._longest))
        return min(known, default=tally.pages_ahead)


def _pages(rows: int, length: int) -> int:
    return -(-rows // length)


def _refuse_endless(pages: dlt_paginators.RangePaginator, response: Response, page: int) -> None:
    ends = (pages.stop_after_empty_page, pages.has_more_path, pages.maximum_value)
    if pages.has_next_page and not page and ends == (False, None, None):
        raise PageError(
            f"Nothing says where the pages of {without_query(response.url)} end: this one is empty, has no"
            " total at total_path, and stop_after_empty_page is off. Turn it on."
        )
