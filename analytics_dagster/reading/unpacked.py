"""Pages of answers that hold more rows than fit into memory: each comes in pieces, as if they were pages."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any, cast

from requests import Request, Response

from analytics_dagster.reading.coming import Coming
from analytics_dagster.reading.errors import PageError, TooLargeError
from analytics_dagster.reading.formats import Format
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.selection import Page
from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.reading.wire import Answer


class UnpackedPages(WatchedPaginator):
    """Gives dlt one document of an answer after another; only for what follows an answer, a request is sent.

    Until an answer is at its end, the paginator that is followed knows nothing of it, and expects a page.

    Args:
        how: What the answers are.
        watched, further: What `WatchedPaginator` takes.
    """

    def __init__(self, how: Format, *watched: Any, **further: Any) -> None:
        super().__init__(*watched, **further)
        self._how = how
        self._answer: Answer | None = None
        self._before = 0  # rows of the answer that came before this document

    @property
    def knows_next(self) -> bool:
        """Whether the requests for further pages are known before their turn; documents need none."""
        return True

    @property
    def _document_follows(self) -> bool:
        return bool(self._answer and self._answer.documents and self._answer.documents.has_more)

    def init_request(self, request: Request) -> None:
        """Prepare the first request."""
        super().init_request(request)
        vars(request)["format"] = self._how
        self._answer, self._before = None, 0

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Look at a document, and after the last one at the whole answer.

        Raises:
            LoadError: As for pages.
        """
        assert isinstance(response, Answer)
        self._answer = None if response.has_no_rows else response
        if self._answer and response.documents:
            self._session.meter.add(size=response.documents.size)
        if not self._document_follows:
            super().update_state(response, data)
            self._before = 0
            return
        page = self._page(response, data)
        self._refuse_repeated(page)
        page = self._with_made(page, data)
        if self._make_rows and data is not None:
            data[:] = page.made
        self._before = len(page.rows)

    def _page(self, answer: Answer, data: list[Any] | None) -> Page:
        page = super()._page(answer, data)
        if not self._before:
            return page
        # All rows of an answer count, and the earlier ones are gone: dlt's paginators want their number.
        return replace(page, rows=cast("list[Any]", range(self._before + len(page.rows))))

    def _where(self, answer: Answer) -> str:
        place = super()._where(answer)
        return f"{place}, counted from its row {self._before + 1:,} on," if self._before else place

    def _refuse_repeated(self, page: Page) -> None:
        if not self._before:  # rows within one answer may well be alike
            super()._refuse_repeated(page)

    def update_request(self, request: Request) -> None:
        """Turn the request into the one for the next page; nothing is sent for a further document.

        Raises:
            PageError: If that document cannot be decoded.
        """
        answer = self._answer
        if not (answer and answer.documents and answer.documents.has_more):
            super().update_request(request)
            return
        try:
            answer.documents.advance()
        except (ValueError, TooLargeError) as error:
            problem = PageError(f"An answer of {without_query(answer.url)} is no {self._how}: {error}.")
        else:
            served: Future[Answer] = Future()
            served.set_result(answer)
            vars(request)["coming"] = Coming(answer.request, served)
            return
        raise problem
