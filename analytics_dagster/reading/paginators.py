"""dlt's paginators, watched: pages come to an end, none is skipped, and each looks as the file says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from dlt.sources.helpers.rest_client.detector import PaginatorFactory
from dlt.sources.helpers.rest_client.exceptions import IgnoreResponseException
from dlt.sources.rest_api.config_setup import create_paginator
from requests import Request, Response

from analytics_dagster.reading.counting import CountedOffset, CountedPageNumber
from analytics_dagster.reading.errors import PageError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.selection import RowSelection
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import OffsetPaginator, PageNumberPaginator, Paginator

_MESSAGE = 500  # characters that are shown of what dlt says; it quotes whole answers


class WatchedPaginator(dlt_paginators.BasePaginator):
    """Follows another paginator and fails where it would lose rows or never end.

    Args:
        pages: The paginator that knows the way; None to choose one by the first answer, as dlt does.
        selection: Where an answer holds its rows.
        meter: Counts pages.
    """

    def __init__(
        self, pages: dlt_paginators.BasePaginator | None, selection: RowSelection, meter: Meter
    ) -> None:
        super().__init__()
        self._pages = pages
        self._selection = selection
        self._meter = meter
        self._asked: set[int] = set()
        self._last_body: int | None = None

    @property
    def has_next_page(self) -> bool:
        """Whether there is a further page."""
        return self._pages is None or self._pages.has_next_page

    def init_request(self, request: Request) -> None:
        """Prepare the first request."""
        # dlt writes the place of the next page into the very dicts of the configuration, where another
        # reading would begin.
        request.params, request.json = copy.deepcopy((request.params, request.json))
        if self._pages is not None:
            self._pages.init_request(request)
        self._asked = {_fingerprint(request)}
        self._last_body = None

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Look at a page.

        Raises:
            SelectorError: If the answer has nothing where its rows should be.
            PageError: If the page is the one before again, or does not say what comes next.
        """
        assert isinstance(response, Answer)
        self._meter.add(pages=1)
        rows = self._selection.rows(response, data)
        body = hash(response.content)
        if rows and body == self._last_body:
            raise PageError(
                f"Two pages of {without_query(response.url)} are the same: the API seems not to know the"
                " paginator's parameters. Check their names; if the API sends all rows at once, write"
                " `paginator: single_page`."
            )
        self._last_body = body
        if self._pages is None:
            self._pages, _ = PaginatorFactory().create_paginator(response)
        try:
            self._pages.update_state(response, rows)
        except ValueError as error:
            problem = PageError(f"{without_query(response.url)}: {error!s:.{_MESSAGE}}")
        else:
            _end_at_empty_reference(self._pages)
            if isinstance(self._pages, CountedOffset):
                self._meter.stated = self._pages.stated_rows
            return
        raise problem

    def update_request(self, request: Request) -> None:
        """Turn the request into the one for the next page.

        Raises:
            PageError: If that page was asked for already.
        """
        if self._pages is None or not self._pages.has_next_page:
            return
        if len(self._asked) == 1:
            request.hooks["response"] = [_never_ignoring(hook) for hook in request.hooks["response"]]
        address = without_query(request.url)
        self._pages.update_request(request)
        asked = _fingerprint(request)
        if asked in self._asked:
            raise PageError(
                f"The pages of {address} do not end: a page leads to one that was read before. Check the"
                " paginator; an API whose next link or cursor never changes cannot be read to its end."
            )
        self._asked.add(asked)


def build_paginator(paginator: Paginator | None, data_selector: str | None, meter: Meter) -> WatchedPaginator:
    """The paginator that an API file describes, for `rest_api_source`.

    Args:
        paginator: The file's paginator; None or `auto` to choose one by the first answer, as dlt does.
        data_selector: Where an answer holds its rows; None where dlt finds it.
        meter: Counts pages.
    """
    selection = RowSelection(data_selector)
    if paginator is None or paginator.type == "auto":
        return WatchedPaginator(None, selection, meter)
    options = paginator.model_dump(exclude={"type"})
    pages: dlt_paginators.BasePaginator
    # Without one list, the length of a page is not known, and dlt's own paginators have to do.
    if selection.is_one_list and isinstance(paginator, OffsetPaginator):
        pages = CountedOffset(must_fit=True, **options)
    elif selection.is_one_list and isinstance(paginator, PageNumberPaginator):
        # dlt's default path is `total`, which in many APIs does not count pages.
        pages = CountedPageNumber(must_fit="total_path" in paginator.model_fields_set, **options)
    else:
        kind = "json_link" if paginator.type == "json_response" else paginator.type  # dlt's older word
        pages = cast("dlt_paginators.BasePaginator", create_paginator(cast("Any", {"type": kind, **options})))
    return WatchedPaginator(pages, selection, meter)


def _never_ignoring(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook of `response_actions`, where ignoring an answer would end the pages and lose the rest."""

    def call(response: Response, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(response, *args, **kwargs)
        except IgnoreResponseException:
            problem = PageError(
                f"{without_query(response.url)} answered {response.status_code} to a page after the first,"
                " which response_actions says to ignore. That would lose the pages that follow: an action"
                " can only say that there are no rows at all."
            )
        raise problem

    return call


def _end_at_empty_reference(pages: dlt_paginators.BasePaginator) -> None:
    """Take a next link or cursor that is there but empty (`""`, `false`) for the end."""
    if isinstance(pages, dlt_paginators.BaseReferencePaginator):
        reference: Any = pages._next_reference  # pyright: ignore[reportPrivateUsage]
        if not reference:
            pages._next_reference = None  # pyright: ignore[reportPrivateUsage]
        elif isinstance(pages, dlt_paginators.BaseNextUrlPaginator) and not isinstance(reference, str):
            raise PageError(f"the next link should be a text, not {reference!r:.80}; check next_url_path")


def _fingerprint(request: Request) -> int:
    return hash((request.url, repr(request.params), repr(request.json), repr(request.data)))
