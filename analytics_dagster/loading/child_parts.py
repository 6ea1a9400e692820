"""A window cut into parts for each row of a parent, where the file says so or the API asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dlt.sources.rest_api.config_setup import paginate_dependent_resource

from analytics_dagster.loading.account import Account
from analytics_dagster.loading.parts import Page, Parts, may_be_halved
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import Resource, Window

Read = Callable[[list[Any]], Iterator[Any]]
"""The pages of a child, for the row of its parent in a list."""


def in_parts(read: Read, described: Resource, window: Window | None, session: ApiSession) -> Read:
    """What reads a child as the file says: in one piece, in steps, or in halves.

    Args:
        read: dlt's generator function for the window in one piece.
        described: What the file says of the child.
        window: The window; None for everything.
        session: Sends the requests.
    """
    incremental = described.endpoint.incremental
    if window is None or incremental is None:
        return read
    if incremental.step:
        return lambda row: _ChildParts(described, window, session, read, row).steps()
    if may_be_halved(described):
        return lambda row: _ChildParts(described, window, session, read, row).whole_or_halves()
    return read


class _ChildParts(Parts):
    """Reads the window for one row of the parent, its parts one after another: other rows go beside it."""

    def __init__(
        self, described: Resource, window: Window, session: ApiSession, read: Read, row: list[Any]
    ) -> None:
        super().__init__(described, window, session, read)
        self._whole = lambda: read(row)
        self._row = row

    def _pages_of(self, asked: dict[str, Any]) -> Iterator[Page]:
        return paginate_dependent_resource(self._row, **asked)

    def _side_by_side(
        self, readings: Iterator[Iterator[tuple[Window, Page | None]]], account: Account
    ) -> Iterator[Page]:
        for reading in readings:
            for part, page in reading:
                if page is None:
                    account.end(part)
                else:
                    page[:] = account.own(part, page)
                    yield page
