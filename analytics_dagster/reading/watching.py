"""dlt's paginators, watched: pages come to an end, none is skipped, and each looks as the file says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from dlt.sources.helpers.rest_client.detector import PaginatorFactory
from requests import Request, Response

from analytics_dagster.reading.ahead import ReadAhead, fingerprint
from analytics_dagster.reading.completion import Completion
from analytics_dagster.reading.counting import CountedOffset, CountedPageNumber
from analytics_dagster.reading.errors import PageError
from analytics_dagster.reading.keyset import Keyset
from analytics_dagster.reading.later_pages import LaterActions
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.records import MakeRows
from analytics_dagster.reading.references import ask_by_get, settle
from analytics_dagster.reading.selection import Page, RowSelection
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.totals import Tally, same_pages
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import LinksPaginator, PastEnd

_MESSAGE = 500  # characters that are shown of what dlt says; it quotes whole answers
_EMPTY_PAGES = 1_000  # in a row, after which nothing is expected any more
_BYTES_AHEAD = 16 << 20  # of bodies that wait for their turn; decoded they take several times as much


class WatchedPaginator(dlt_paginators.BasePaginator):
    """Follows another paginator and fails where it would lose rows or never end.

    Args:
        pages: The paginator that knows the way; None to choose one by the first answer, as dlt does.
        selection: Where an answer holds its rows.
        tally: Holds what came against what the API states.
        session: Sends requests ahead of their turn, and counts pages.
        make_rows: Makes the rows of a page; None where they stay as they came.
        completion: Makes each first request what the file says.
        form: Those of its parameters that go into a form body.
        past_end: How the API says that there are no more pages.
        links: What the file says of next links; None where pages have none.
    """

    def __init__(
        self,
        pages: dlt_paginators.BasePaginator | None,
        selection: RowSelection,
        tally: Tally,
        session: ApiSession,
        make_rows: MakeRows | None = None,
        completion: Completion | None = None,
        form: Sequence[str] = (),
        past_end: PastEnd | None = None,
        links: LinksPaginator | None = None,
    ) -> None:
        super().__init__()
        self._pages = pages
        self._is_guessed = pages is None
        self._selection = selection
        self._tally = tally
        self._session = session
        self._ahead = ReadAhead(session)
        self._make_rows = make_rows
        self._completion = completion
        self._form = form
        self._past_end = past_end
        self._ends_empty = links is not None and links.stop_after_empty_page
        self._next_by_get = links is not None and links.next_method == "GET"
        self._asked: set[int] = set()
        self._is_over = False

    @property
    def has_next_page(self) -> bool:
        """Whether there is a further page."""
        return not self._is_over and (self._pages is None or self._pages.has_next_page)

    @property
    def knows_next(self) -> bool:
        """Whether the requests for further pages are known before their turn."""
        return isinstance(self._pages, dlt_paginators.RangePaginator)

    @property
    def expected(self) -> int | None:
        """How many rows there should be in all; None where nothing states it."""
        return self._tally.expected

    def init_request(self, request: Request) -> None:
        """Prepare the first request."""
        # dlt writes the place of the next page into the very dicts of the configuration, where another
        # reading would begin.
        request.params, request.json = copy.deepcopy((request.params, request.json))
        if self._completion is not None:
            self._completion.complete(request)
        if self._pages is not None:
            self._pages.init_request(request)
            self._fill_form(request)
        offset = self._pages if isinstance(self._pages, dlt_paginators.OffsetPaginator) else None
        self._tally.begin(first=offset.initial_value if offset else 0)
        self._asked = {fingerprint(request)}
        self._is_over = False
        self._seen: set[int] = set()
        self._last: tuple[int | None, int | None] = None, None
        self._empty = 0
        self._reference: Any = None
        self._ahead.stop()

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Look at a page.

        Raises:
            SelectorError: If the answer has nothing where its rows should be.
            PageError: If the page came before, does not say what comes next, or does not add up with what
                the API states.
            UnstableError: If rows came or went since the page before.
            ContractError: If a row is not what the file's `records` says.
        """
        assert isinstance(response, Answer)
        self._session.meter.add(pages=1)
        # An answer that the file takes for no data does not say whether there is more.
        if response.is_last or (response.has_no_rows and getattr(self._pages, "has_more_path", None)):
            self._end_here(response)
            return
        page = self._page(response, data)
        if page.is_past_end:
            self._end_here(response)
            return
        if not isinstance(self._pages, Keyset):  # which knows which rows may come again
            self._refuse_repeated(page)
        page = self._with_made(page, data)
        if self._pages is None:
            self._pages, _ = PaginatorFactory().create_paginator(response)
        rows: Sequence[Any] = page.made if self._make_rows else data or []  # which are what dlt passes on
        if isinstance(self._pages, Keyset):
            new = self._pages.new_rows(rows, without_query(response.url))
            if len(page.rows) == len(rows):
                page = replace(page, rows=[page.rows[index] for index in new])
            rows = [rows[index] for index in new]
        self._tally.add(page, self._pages)
        try:
            self._pages.update_state(response, page.rows)
        except ValueError as error:
            hides = response.redact.hides_bodies
            said = "the paginator does not find its values here" if hides else f"{error!s:.{_MESSAGE}}"
            problem = PageError(f"{without_query(response.url)}: {said}")
        else:
            if isinstance(self._pages, dlt_paginators.BaseReferencePaginator):
                self._reference = settle(self._pages, page, self._reference, ends_empty=self._ends_empty)
            self._tally.check(page, self._pages)
            if data is not None and rows is not data:
                data[:] = rows
            self._session.meter.stated = self._tally.expected
            self._size = len(response.content)
            if not self._pages.has_next_page:
                self._ahead.stop()
            return
        raise problem

    def _end_here(self, answer: Answer) -> None:
        """End the pages at an answer that the file takes for their end, unless the API states more rows."""
        self._ahead.stop()
        self._is_over = True
        if isinstance(self._pages, CountedPageNumber):
            self._pages.refuse_missing(answer)
        expected, came = self._tally.expected, self._tally.rows
        if expected is not None and came < expected:
            raise PageError(
                f"{without_query(answer.url)} answered {answer.status_code} to page {self._tally.pages + 1},"
                f" where past_end or response_actions ends the pages, but the API states {expected} rows and"
                f" sent {came}. Restrict the rule; if the total does not count these rows, write"
                " `total_path: null` in the paginator."
            )

    def _page(self, answer: Answer, data: list[Any] | None) -> Page:
        return self._selection.page(answer, data)

    def _with_made(self, page: Page, data: list[Any] | None) -> Page:
        if self._make_rows is None:
            return page
        where = self._where(page.answer)
        return replace(page, made=self._make_rows.rows(data or [], page.answer.json(), where))

    def _where(self, answer: Answer) -> str:
        return f"page {self._tally.pages + 1} of {without_query(answer.url)}"

    def _refuse_repeated(self, page: Page) -> None:
        rows, address = page.rows, without_query(page.answer.url)
        if len(rows) > 1:  # what is around the rows may differ, such as the time of the answer
            mark = hash(repr((len(rows), rows[0], rows[len(rows) // 2], rows[-1])))
            is_repeated = mark in self._seen
            self._seen.add(mark)
            self._last = None, None
        else:
            # dlt takes any `pages` for the number of pages, as in {"statistics": {"pages": 431}}; such an API
            # sends its one row again, whatever it adds of the parameter that it does not know.
            guessed = self._is_guessed and isinstance(self._pages, dlt_paginators.RangePaginator)
            marks = hash(page.answer.content), hash(repr(rows))
            is_repeated = bool(rows) and marks[guessed] == self._last[guessed]
            self._last = marks
        if is_repeated:
            raise PageError(same_pages(page, self._pages))
        self._empty = 0 if rows else self._empty + 1
        if self._empty >= _EMPTY_PAGES:
            raise PageError(
                f"{self._empty:,} pages of {address} in a row were empty, and still there is a next one."
                " Check the paginator; where an empty page is the last, write `stop_after_empty_page: true`."
            )

    def update_request(self, request: Request) -> None:
        """Turn the request into the one for the next page.

        Raises:
            PageError: If that page was asked for already.
        """
        if self._is_over or self._pages is None or not self._pages.has_next_page:
            return
        if len(self._asked) == 1:
            vars(request)["actions"] = LaterActions(
                vars(request).get("actions"),
                self._past_end,
                asks_on=isinstance(self._pages, dlt_paginators.RangePaginator | Keyset),
            )
        address = without_query(request.url)
        self._pages.update_request(request)
        self._fill_form(request)
        if self._next_by_get:
            ask_by_get(request)
        asked = fingerprint(request)
        if asked in self._asked:
            is_first = len(self._asked) == 1
            if is_first and isinstance(self._pages, Keyset) and self._pages.stays_at_start(address):
                self._is_over = True
                return
            raise PageError(
                f"The pages of {address} do not end: a page leads to one that was read before. Check the"
                " paginator; an API whose next link or cursor never changes cannot be read to its end."
            )
        self._asked.add(asked)
        self._read_ahead(request, self._pages)

    def _fill_form(self, request: Request) -> None:
        """Move the parameters that the file wants in a form body, which dlt only writes into the query."""
        moved = {name: request.params.pop(name) for name in self._form if name in (request.params or ())}
        if moved:
            request.data = {**(request.data or {}), **moved}

    def _read_ahead(self, request: Request, pages: dlt_paginators.BasePaginator) -> None:
        limits, count = self._session.limits, 1
        if isinstance(pages, CountedOffset | CountedPageNumber) and self._tally.would_notice_shifts:
            count = min(pages.coming(), limits.concurrency, _BYTES_AHEAD // self._size)
            if pages.maximum_value is not None:
                count = min(count, -(-(pages.maximum_value - pages.current_value) // pages.value_step))
        count = min(max(count, 1), limits.pages - self._session.meter.pages)

        def later(number: int) -> Request:
            assert isinstance(pages, dlt_paginators.RangePaginator)
            place, asked = copy.copy(pages), copy.copy(request)
            place.current_value += number * pages.value_step
            asked.params, asked.json = copy.deepcopy((request.params, request.json))
            place.update_request(asked)
            self._fill_form(asked)
            return asked

        send = partial(self._ahead.go_on, request, count, later)
        if self._tally.pages > 1:
            send()
        else:  # as soon as the next page is asked for: somebody may only want to see the first
            vars(request)["before_next"] = send
