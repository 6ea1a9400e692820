"""Offsets and page numbers that end at the total where an answer states one, and hold the API to it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from requests import Request, Response

from analytics_dagster.reading.errors import PageError
from analytics_dagster.reading.origins import without_query


class _Counting(dlt_paginators.RangePaginator):
    """What offsets and page numbers share.

    Args:
        must_fit: Whether a stated total surely is one of these pages, so that it must come true.
        options: dlt's.
    """

    def __init__(self, *, must_fit: bool, **options: Any) -> None:
        super().__init__(**options)
        self._must_fit = must_fit
        self._stated_at, self.total_path = self.total_path, None  # dlt would fail where an answer has none

    def init_request(self, request: Request) -> None:
        self._pages = self._rows = 0
        self._total: int | None = None
        self._is_of_page = True
        super().init_request(request)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        page = len(data or ())
        self._pages += 1
        self._rows += page
        total = self._read_total(response)
        if total is not None:
            self._total = total
            # Some APIs call the length of the page a total.
            self._is_of_page = self._is_of_page and total == page
        super().update_state(response, data)
        if total is not None and self._reaches(total, page):
            self._has_next_page = False
        self._check(response, page)

    @abstractmethod
    def _reaches(self, total: int, page: int) -> bool:
        """Whether nothing follows a page, by its length and the total."""

    @abstractmethod
    def _shortfall(self, total: int) -> str | None:
        """What the API states and what came instead; None if all came."""

    def _read_total(self, response: Response) -> int | None:
        values = jsonpath.find_values(self._stated_at, response.json()) if self._stated_at else []
        try:
            total = int(values[0])
        except (IndexError, TypeError, ValueError):
            return None
        return total if total >= 0 else None

    def _check(self, response: Response, page: int) -> None:
        ends = (self.stop_after_empty_page, self._total, self.has_more_path, self.maximum_value)
        if self._has_next_page:
            if not page and ends == (False, None, None, None):
                raise PageError(
                    f"Nothing says where the pages of {without_query(response.url)} end: this one is empty,"
                    " has no total at total_path, and stop_after_empty_page is off. Turn it on."
                )
            return
        was_cut = self.maximum_value is not None and self.current_value >= self.maximum_value
        if self._total is None or self._is_of_page or was_cut or not self._must_fit:
            return
        if shortfall := self._shortfall(self._total):
            raise PageError(
                f"The pages of {without_query(response.url)} are not whole: {shortfall}. If the rows changed"
                " meanwhile, another run will do; if that total does not count these rows, write"
                " `total_path: null` in the paginator."
            )


class CountedOffset(_Counting, dlt_paginators.OffsetPaginator):
    """dlt's offsets, which no short page puts out of step."""

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        # An API that caps its pages sends fewer rows than asked: the next offset follows what came.
        self.value_step = len(data or ()) or self.value_step
        super().update_state(response, data)

    def _reaches(self, total: int, page: int) -> bool:
        # A full page whose total is its own length may be all there is, or the first of many.
        return self.current_value >= total and not (self._is_of_page and page >= self.limit)

    @property
    def stated_rows(self) -> int | None:
        """The rows that the API states in all; None where it states none."""
        return None if self._is_of_page and self._pages > 1 else self._total

    def _shortfall(self, total: int) -> str | None:
        expected = max(total - self.initial_value, 0)
        if self._rows == expected:
            return None
        return f"the API states {expected} rows and sent {self._rows}"


class CountedPageNumber(_Counting, dlt_paginators.PageNumberPaginator):
    """dlt's page numbers."""

    def _reaches(self, total: int, page: int) -> bool:
        return self.current_value >= total + self.base_index

    def _shortfall(self, total: int) -> str | None:
        expected = total - (self.initial_value - self.base_index)
        if self._pages >= expected or self._rows == total:  # some totals count rows
            return None
        return (
            f"the API states {expected} pages, and page {self._pages} was the last with its {self._rows} rows"
        )
