"""dlt's paginators, watched: pages come to an end, none is skipped, and each looks as the file says."""

from __future__ import annotations

import copy
from typing import Any

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from dlt.sources.rest_api.config_setup import create_paginator
from requests import Request, Response

from analytics_dagster.reading.errors import PageError, SelectorError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.session import error_document
from analytics_dagster.spec import OffsetPaginator, PageNumberPaginator, Paginator


class _Offset(dlt_paginators.OffsetPaginator):
    """dlt's offsets, which a total ends where the answer has one, and which no short page puts out of step."""

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        # An API that caps its pages sends fewer rows than asked: the next offset follows what came.
        self.value_step = len(data) if data else self.limit
        super().update_state(response, data)

    def _handle_missing_total(self, response_json: dict[str, Any]) -> None:
        """Nothing: without a total, the first empty page is the end."""

    def _handle_invalid_total(self, total: Any) -> None:
        if total is not None:
            super()._handle_invalid_total(total)


class _PageNumber(dlt_paginators.PageNumberPaginator):
    """dlt's page numbers, which a total ends where the answer has one."""

    def _handle_missing_total(self, response_json: dict[str, Any]) -> None:
        """Nothing: without a total, the first empty page is the end."""

    def _handle_invalid_total(self, total: Any) -> None:
        if total is not None:
            super()._handle_invalid_total(total)


class WatchedPaginator(dlt_paginators.BasePaginator):
    """Follows another paginator and fails where it would lose rows or never end.

    Args:
        pages: The paginator that knows the way.
        data_selector: Where an answer holds its rows; None where dlt finds it.
        meter: Counts pages.
    """

    def __init__(self, pages: dlt_paginators.BasePaginator, data_selector: str | None, meter: Meter) -> None:
        super().__init__()
        self._pages = pages
        # `data[*]` finds nothing in an empty list, so the list itself is what must be there.
        selector = data_selector.removesuffix("[*]").rstrip(".") if data_selector else None
        self._selector = jsonpath.compile_path(selector) if selector else None
        self._selector_text = data_selector
        self._meter = meter
        self._asked: set[int] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> WatchedPaginator:
        """A fresh one: dlt copies a paginator for each parent of a child resource."""
        watched = WatchedPaginator(copy.deepcopy(self._pages, memo), None, self._meter)
        watched._selector, watched._selector_text = self._selector, self._selector_text
        return watched

    @property
    def has_next_page(self) -> bool:
        """Whether there is a further page."""
        return self._pages.has_next_page

    def init_request(self, request: Request) -> None:
        """Prepare the first request."""
        self._pages.init_request(request)
        self._asked = {_fingerprint(request)}

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Look at a page.

        Raises:
            SelectorError: If the answer has nothing where its rows should be.
        """
        self._meter.add(pages=1)
        if (
            not data
            and self._selector is not None
            and not jsonpath.find_values(self._selector, response.json())
        ):
            raise SelectorError(
                f"data_selector `{self._selector_text}` matches nothing in an answer of"
                f" {response.url.split('?', 1)[0]}. Check data_selector; the answer is:"
                f" {error_document(response.json())}"
            )
        self._pages.update_state(response, data)

    def update_request(self, request: Request) -> None:
        """Turn the request into the one for the next page.

        Raises:
            PageError: If that page was asked for already.
        """
        if not self.has_next_page:
            return
        self._pages.update_request(request)
        asked = _fingerprint(request)
        if asked in self._asked:
            raise PageError(
                f"The pages of {request.url.split('?', 1)[0]} do not end: a page leads to one that was read"
                " before. Check the paginator; an API whose next link or cursor never changes cannot be"
                " read to its end."
            )
        self._asked.add(asked)


def build_paginator(paginator: Paginator, data_selector: str | None, meter: Meter) -> Any:
    """The paginator that an API file describes.

    Args:
        paginator: The file's paginator.
        data_selector: Where an answer holds its rows; None where dlt finds it.
        meter: Counts pages.

    Returns:
        A paginator for `rest_api_source`, or `"auto"`, which dlt resolves from the first answer.
    """
    if paginator.type == "auto":
        return "auto"
    options = paginator.model_dump(exclude={"type"})
    pages: dlt_paginators.BasePaginator | None
    match paginator:
        case OffsetPaginator():
            pages = _Offset(**options)
        case PageNumberPaginator():
            pages = _PageNumber(**options)
        case _:
            pages = create_paginator({"type": paginator.type, **options})
    assert pages is not None
    return WatchedPaginator(pages, data_selector, meter)


def _fingerprint(request: Request) -> int:
    return hash((request.url, repr(request.params), repr(request.json), repr(request.data)))
