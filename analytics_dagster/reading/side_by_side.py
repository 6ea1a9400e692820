"""Several readings of one API, of which the first pages are read side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from analytics_dagster.reading.session import ApiSession

Page = TypeVar("Page")


def side_by_side(readings: Iterable[Iterator[Page]], session: ApiSession) -> Iterator[Page]:
    """The pages of all readings, in order.

    Args:
        readings: Each yields its pages. The first one of a reading may be asked for while those of earlier
            readings are.
        session: Sends the requests.

    Raises:
        Exception: What a reading raised, when its turn comes.
    """
    begun: deque[tuple[Iterator[Page], Future[Page | None] | None]] = deque()
    try:
        for reading in readings:
            begun.append((reading, session.start(lambda reading=reading: next(reading, None))))
            if len(begun) >= session.limits.concurrency:
                yield from _pages(*begun.popleft(), session)
        while begun:
            yield from _pages(*begun.popleft(), session)
    finally:
        for _, first in begun:
            if first is not None:
                first.cancel()


def _pages(reading: Iterator[Page], first: Future[Page | None] | None, session: ApiSession) -> Iterator[Page]:
    if first is not None:
        try:
            page = first.result()
        finally:
            session.taken()
        if page is None:
            return
        yield page
    yield from reading
