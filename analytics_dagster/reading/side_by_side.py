"""Several readings of one API side by side: of each the first page, or all of its pages."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

from analytics_dagster.reading.session import ApiSession

Page = TypeVar("Page")

_WAITING = 8 << 20  # bytes of bodies that wait for their turn; decoded they take several times as much


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


def whole_side_by_side(
    readings: Iterator[Iterator[Page]], session: ApiSession, size: Callable[[Page], int]
) -> Iterator[Page]:
    """The pages of all readings, in order, of which as many are read at once as requests may be.

    A reading is taken from `readings` when a thread is free for it. Once one has failed no other begins.

    Args:
        readings: Each yields its pages, and sends one request after another.
        session: Lends the threads.
        size: The bytes of a page.

    Raises:
        Exception: What a reading raised, when its turn comes.
    """
    desk = _Desk(size)
    begun: deque[_Reader[Page]] = deque()
    is_last = False
    try:
        while True:
            while not is_last and desk.has_room_for_another(begun, session.limits.concurrency):
                reading = next(readings, None)
                if reading is None:
                    is_last = True
                else:
                    begun.append(_Reader(reading, desk))
                    session.run(begun[-1].read)
            if not begun:
                return
            page = desk.take(begun, is_last=is_last, concurrency=session.limits.concurrency)
            if page is not None:
                yield page
            elif begun[0].is_over and not begun[0].pages:
                error = begun.popleft().error
                if error is not None:
                    raise error
    finally:
        desk.close()


class _Reader(Generic[Page]):
    """Reads the pages of one reading, in a thread of its own."""

    def __init__(self, reading: Iterator[Page], desk: _Desk[Page]) -> None:
        self._reading = reading
        self._desk = desk
        self.pages: deque[Page] = deque()
        self.is_over = False
        self.error: BaseException | None = None

    def read(self) -> None:
        """Read all pages."""
        try:
            for page in self._reading:
                if not self._desk.put(self, page):
                    break
        except BaseException as error:  # noqa: BLE001 - raised when its turn comes
            self.error = error
        self._desk.end(self)


class _Desk(Generic[Page]):
    """Where readers put the pages that wait for their turn."""

    def __init__(self, size: Callable[[Page], int]) -> None:
        self._size = size
        self._waiting = 0  # bytes
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, reader: _Reader[Page], page: Page) -> bool:
        """Add a page as soon as there is room for it; False if nobody wants it any more."""
        with self._changed:
            # A reader without pages may always add one, or nobody could wait for the one whose turn it is.
            self._changed.wait_for(lambda: self._is_closed or not reader.pages or self._waiting < _WAITING)
            reader.pages.append(page)
            self._waiting += self._size(page)
            self._changed.notify_all()
            return not self._is_closed

    def end(self, reader: _Reader[Page]) -> None:
        """No further page comes."""
        with self._changed:
            reader.is_over = True
            self._changed.notify_all()

    def take(self, begun: deque[_Reader[Page]], *, is_last: bool, concurrency: int) -> Page | None:
        """The next page in turn; None where its reading is over, or where another reading may begin."""
        first = begun[0]
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    first.pages
                    or first.is_over
                    or (not is_last and self.has_room_for_another(begun, concurrency))
                )
            )
            if not first.pages:
                return None
            page = first.pages.popleft()
            self._waiting -= self._size(page)
            self._changed.notify_all()
            return page

    def has_room_for_another(self, begun: deque[_Reader[Page]], concurrency: int) -> bool:
        """Whether a further reading may begin."""
        under_way = sum(not one.is_over for one in begun)
        has_failed = any(one.error for one in begun)
        return under_way < concurrency and not has_failed and (not begun or self._waiting < _WAITING)

    def close(self) -> None:
        """Nobody wants a page any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
