"""A window cut into parts that are asked for side by side: when, how long they are, whether they add up."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar, cast

from dlt.extract import DltResource
from dlt.sources.helpers.rest_client.client import PageData
from dlt.sources.rest_api.config_setup import paginate_resource

from analytics_dagster.loading.account import Account
from analytics_dagster.loading.cursor import RowTimes
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.reading.errors import (
    PageError,
    PartsError,
    RefusedError,
    UnstableError,
    WindowTooLargeError,
)
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.side_by_side import whole_side_by_side
from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import Incremental, Resource, Window
from analytics_dagster.spec.placeholders import bounds_sent

Page = PageData[Any]
Read = TypeVar("Read")

_FEWEST_PAGES = 9  # of a window that is cut
_PAGES = range(4, 17)  # of a part
_BLUR = timedelta(minutes=1)  # that neighbouring parts may have in common
_GROWTH = 4.0  # of a part, as against one before

_log = logging.getLogger(__name__)
_whole: set[tuple[str, str]] = set()  # resources whose windows are not cut again in this process


def cut_into_parts(
    resource: DltResource, described: Resource, window: Window, session: ApiSession, *, all_rows: bool
) -> None:
    """Have a resource read its window in parts, side by side, where the file says so or where it is faster.

    Args:
        resource: dlt's resource, which reads the window in one piece.
        described: What the file says of it.
        window: The window.
        session: Sends the requests.
        all_rows: Whether the window is read to its end, and not for a few rows.
    """
    incremental, pipe = described.endpoint.incremental, cast("Any", resource)._pipe
    if incremental is None or pipe.has_parent:
        return
    if incremental.step:
        pipe.replace_gen(Parts(described, window, session, pipe.gen).steps)
    elif all_rows and _may_be_cut(described, incremental, window, session):
        parts = Parts(described, window, session, pipe.gen)
        pipe.replace_gen(lambda: parts.or_halves(parts.where_faster()))
    elif may_be_halved(described):
        pipe.replace_gen(Parts(described, window, session, pipe.gen).whole_or_halves)


def may_be_halved(described: Resource) -> bool:
    """Whether an answer may ask for the halves of a window."""
    return any(rule.action == "halve" for rule in described.endpoint.response_actions)


def _may_be_cut(described: Resource, incremental: Incremental, window: Window, session: ApiSession) -> bool:
    """Whether parts of a window, if they add up, surely have all that the window has."""
    return (
        incremental.step is None  # and not `none`, which is zero
        and bounds_sent(described.endpoint) == {"start", "end"}
        and incremental.on_cursor_value_missing != "include"
        and window.end <= datetime.now(UTC)  # rows that change now would move from part to part
        and session.limits.concurrency > 1
        and _key(described, session) not in _whole
    )


def _key(described: Resource, session: ApiSession) -> tuple[str, str]:
    return session.place, described.name


class Parts:
    """Reads one window.

    Args:
        described: The resource.
        window: The window.
        session: Sends the requests.
        whole: dlt's generator function for the window in one piece.
    """

    def __init__(self, described: Resource, window: Window, session: ApiSession, whole: Any) -> None:
        incremental = described.endpoint.incremental
        assert incremental is not None
        self._key = _key(described, session)
        self._least = incremental.min
        self._window = window
        self._session = session
        self._whole = whole
        # dlt makes no second generator with other bounds; a source of its own for each part would cost 10 ms.
        self._asked: dict[str, Any] = inspect.getclosurevars(whole).nonlocals["kwargs"]
        self._paginator = copy.deepcopy(self._asked["paginator"])
        self._bounds = Bounds(incremental)
        self._cuts = Cuts(incremental)
        self._times = RowTimes(described)
        self._step = incremental.step or timedelta()

    def steps(self) -> Iterator[Page]:
        """The pages of the window, in parts as long as the file says."""
        parts = list(self._cuts.steps(self._window, self._step))
        pages = self._whole()  # sends nothing yet, but lets dlt know of the cursor
        if len(parts) == 1:
            yield from self.or_halves(pages)
            return
        yield from self._as_told(parts, "leave `step` out")

    def whole_or_halves(self) -> Iterator[Page]:
        """The pages of the window, or of its halves where the API says that it is too large."""
        yield from self.or_halves(self._whole())

    def or_halves(self, pages: Iterator[Page]) -> Iterator[Page]:
        """Pages of the whole window, or of its halves where the API says that it is too large.

        Args:
            pages: Those of the whole window.
        """
        try:
            first = next(pages, None)
        except WindowTooLargeError as error:
            halves = self._halves(self._window, error)
        else:
            if first is not None:
                yield first
                yield from _not_halved(pages)
            return
        yield from self._as_told(halves, "do without `halve`")

    def _as_told(self, parts: Iterable[Window], otherwise: str) -> Iterator[Page]:
        """The pages of parts that the file or the API asks for."""
        try:
            yield from self._side_by_side(map(self._read_or_halves, parts), self._account())
        except PartsError as error:
            problem = PartsError(f"{error} Correct cursor_path and the bounds, or {otherwise}.")
        else:
            self._session.meter.stated = None  # what was stated is of a part
            return
        raise problem

    def _read_or_halves(self, part: Window) -> Iterator[tuple[Window, Page | None]]:
        """The pages of a part, or of its halves, and None after the last one of each."""
        pages = self._read(part)
        try:
            first = next(pages)
        except WindowTooLargeError as error:
            halves = self._halves(part, error)
        else:
            yield first
            yield from _not_halved(pages)
            return
        for half in halves:
            yield from self._read_or_halves(half)

    def _halves(self, part: Window, error: WindowTooLargeError) -> tuple[Window, Window]:
        halves = self._cuts.halves(part)
        if halves is None:
            raise WindowTooLargeError(
                f"{error}\nThis was for {part}, which is not halved: its halves would be shorter than `min`"
                f" in endpoint.incremental ({self._least}), or than its `format` tells apart. Lower `min`, or"
                " ask for less at once."
            ) from None
        _log.info("The API takes %s for too large, so that it is asked for in halves.", part)
        return halves

    def where_faster(self) -> Iterator[Page]:
        """The pages of the window: in one piece where these are few, or the first does not tell how many."""
        pages = self._whole()
        first = next(pages, None)
        if first is None:
            return
        length = self._length(first)
        if length is None:
            yield first
            yield from pages
            return
        pages.close()  # and its rows come again: a second page can be asked for only by this one
        account = self._account()
        account.expect(first)
        total = cast("WatchedPaginator", first.paginator).expected
        try:
            yield from self._side_by_side(self._growing(length, len(first)), account)
            account.close(total)
        except (PageError, RefusedError) as error:
            _whole.add(self._key)
            problem = UnstableError(
                "This window was asked for in several parts, which do not add up to it. Now it is asked for"
                f" in one piece. `step: none` in endpoint.incremental spares the attempt. {error}"
            )
        else:
            self._session.meter.stated = total
            return
        raise problem

    def _length(self, first: Page) -> timedelta | None:
        """How long parts should be at first; None where the window is better read in one piece.

        Args:
            first: The first page of the window.
        """
        paginator = cast("WatchedPaginator", first.paginator)
        if not paginator.has_next_page or paginator.knows_next:
            return None
        times = [time for time in self._times.of(first) if time is not None]
        if len(times) < len(first) or any(time not in self._window for time in times):
            return None
        all_of_it = self._window.end - self._window.start
        expected = paginator.expected
        if expected is not None and expected > len(first):
            pages = expected / len(first)
        else:
            is_rising = all(one <= next_one for one, next_one in pairwise(times))
            if not is_rising and not all(one >= next_one for one, next_one in pairwise(times)):
                return None
            read = times[-1] - self._window.start if is_rising else self._window.end - times[-1]
            pages = all_of_it / max(read, self._least)
        if pages < _FEWEST_PAGES or times[0] == times[-1]:
            return None
        of_a_part = pages / self._session.limits.concurrency / _PAGES.start
        self._pages = min(max(of_a_part, _PAGES.start), _PAGES[-1])
        length = max(all_of_it * (self._pages / pages), self._least)
        cut = self._cuts.end(self._window, self._window.start, length)
        is_told_apart = self._bounds.start(cut) != self._bounds.start(self._window.start)
        is_sharp = cut - self._bounds.earliest(cut) <= _BLUR
        return length if cut < self._window.end and is_told_apart and is_sharp else None

    def _growing(self, length: timedelta, page: int) -> Iterator[Iterator[tuple[Window, Page | None]]]:
        """Parts that follow each other, each as long as those before let expect about the right pages."""
        start, self._next = self._window.start, length
        while start < self._window.end:
            part = Window(start, self._cuts.end(self._window, start, self._next))
            yield self._measured(part, page)
            start = part.end

    def _measured(self, part: Window, page: int) -> Iterator[tuple[Window, Page | None]]:
        rows = 0
        for one in self._read_or_halves(part):
            rows += len(one[1] or ())
            yield one
        too_short = self._pages * page / max(rows, 1)
        self._next = max((part.end - part.start) * min(max(too_short, 1 / _GROWTH), _GROWTH), self._least)

    def _read(self, part: Window) -> Iterator[tuple[Window, Page | None]]:
        """The pages of a part, and None after the last one."""
        cursor = self._asked["incremental_object"].copy()
        cursor.initial_value = cursor.start_value = part.start
        cursor.end_value = part.end
        own = {name: copy.deepcopy(self._asked[name]) for name in ("headers", "params", "json", "data")}
        changed: dict[str, Any] = {
            "paginator": copy.deepcopy(self._paginator),
            "incremental_object": cursor,
            "incremental_cursor_transform": self._bounds.writer(part.end),
        }
        for page in self._pages_of({**self._asked, **own, **changed}):
            yield part, page
        yield part, None

    def _pages_of(self, asked: dict[str, Any]) -> Iterator[Page]:
        return paginate_resource(**asked)

    def _account(self) -> Account:
        return Account(self._times, self._bounds, self._window)

    def _side_by_side(
        self, readings: Iterator[Iterator[tuple[Window, Page | None]]], account: Account
    ) -> Iterator[Page]:
        for part, page in whole_side_by_side(readings, self._session, _size):
            if page is None:
                account.end(part)
            else:
                page[:] = account.own(part, page)
                yield page


def _not_halved(pages: Iterator[Read]) -> Iterator[Read]:
    """Pages after a first one, whose rows went on and must not come again."""
    try:
        yield from pages
    except WindowTooLargeError as error:
        problem = WindowTooLargeError(
            f"{error}\nThe API said so after the first page, so the window was not halved. Write a `step` in"
            " endpoint.incremental that it takes."
        )
    else:
        return
    raise problem


def _size(one: tuple[Window, Page | None]) -> int:
    return cast("Answer", one[1].response).weight if one[1] is not None else 0
