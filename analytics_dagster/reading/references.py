"""Next links and tokens: whether they lead on, and where to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from requests import Request, Response

from analytics_dagster.reading.errors import PageError
from analytics_dagster.reading.selection import Page


class HeaderNext(dlt_paginators.BaseNextUrlPaginator):
    """The next page's URL in a header of its own.

    Args:
        header: Its name.
    """

    def __init__(self, header: str) -> None:
        super().__init__()
        self._header = header

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Take the URL from an answer."""
        self._next_reference = response.headers.get(self._header)


def settle(
    pages: dlt_paginators.BaseReferencePaginator, page: Page, before: Any, *, ends_empty: bool = False
) -> Any:
    """Correct what dlt makes of the reference in an answer, and return it; None where it leads nowhere.

    Args:
        pages: dlt's paginator, which has seen the page.
        page: The page.
        before: The reference that led to the page.
        ends_empty: Whether a page without rows is the last one, as the file says of next links.

    Raises:
        PageError: If a next link is no text.
    """
    reference: Any = pages._next_reference  # pyright: ignore[reportPrivateUsage]
    if not pages.has_next_page:
        return None
    if reference and isinstance(pages, dlt_paginators.BaseNextUrlPaginator):
        if not isinstance(reference, str):
            raise PageError(f"the next link should be a text, not {reference!r:.80}; check next_url_path")
        with suppress(ValueError):  # no URL, which is told when it is asked for
            if not urlsplit(reference).scheme:
                reference = urljoin(page.answer.url, reference)  # dlt forgets where a redirect led
    if isinstance(pages, dlt_paginators.HeaderCursorPaginator) and reference == "null":
        reference = None  # a header has texts only
    # An empty one (`""`, `false`) is none. The one that led to this page, if that is empty, is how some APIs
    # say that there is nothing more for now.
    if not reference or (not page.rows and (ends_empty or reference == before)):
        reference = None
    pages._next_reference = reference  # pyright: ignore[reportPrivateUsage]
    return reference


def ask_by_get(request: Request) -> None:
    """Make a GET of the request for a next link, which holds all that was in the first request's body."""
    request.method = "GET"
    request.json = None
    request.data = []
