"""Reads a resource in the ways that checks ask for, and keeps what several of them look at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from dlt.sources.rest_api import rest_api_source

from analytics_dagster.certifying.pages import Reading, RecordedPages, Row, only_first
from analytics_dagster.certifying.quota import Requests
from analytics_dagster.certifying.scratch import Scratch
from analytics_dagster.certifying.verdicts import NotApplicable, NotReached
from analytics_dagster.loading.children import ask_children
from analytics_dagster.loading.cursor import PageStep, RowTimes
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.load import LoadResult
from analytics_dagster.loading.resolve import ResolvedApi
from analytics_dagster.loading.source import api_session, rest_api_config, schema_name
from analytics_dagster.loading.verify import unreadable_range
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.reading.errors import LoadError, RefusedError, WindowTooLargeError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile, Incremental, Resource, Window, window_containing, windows_between
from analytics_dagster.spec.placeholders import bounds_sent

T = TypeVar("T")

_PARENTS = 3  # whose children are read, and values of a list
_SHARE = 16  # of a resource's requests goes to the reading that others are compared with
_FEWEST_PAGES = 3
_LONGEST_MARK = 200  # characters of a row in a message
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Probe:
    """One resource under examination.

    Args:
        file: The API file.
        resolved: The API, its templates filled in.
        resource: The resource, taken from that API.
        requests: The budget.
        directory: For the scratch destination; nobody else uses it.
        values: Values for the file's templates that come before the environment.
        log: What was logged so far.

    Attributes:
        most: The pages that one reading may have.
        scratch: What was loaded of it.
    """

    def __init__(
        self,
        file: ApiFile,
        resolved: ResolvedApi,
        resource: Resource,
        requests: Requests,
        directory: Path,
        values: Mapping[str, str] | None,
        log: Sequence[str] = (),
    ) -> None:
        self.file = file
        self.resolved = resolved
        self.resource = resource
        self.requests = requests
        self.values = values
        self.log = log
        self.scratch = Scratch(file, resource, requests, directory, values)
        self.now = datetime.now(UTC)
        self.most = max(_FEWEST_PAGES, (requests.limit - requests.sent) // _SHARE)
        self._failed: set[str] = set()
        self._parts: dict[Window, Reading] = {}
        self._is_all = True

    @property
    def redact(self) -> Callable[[str], str]:
        """Hides secrets."""
        return self.resolved.redact

    @property
    def keys(self) -> list[str]:
        """The fields of the primary key."""
        key = self.resource.primary_key or []
        return [key] if isinstance(key, str) else list(key)

    @property
    def incremental(self) -> Incremental:
        """How windows are asked for.

        Raises:
            NotApplicable: If they are not.
        """
        incremental = self.resource.endpoint.incremental
        if incremental is None or self._without_windows:
            raise NotApplicable(f"no window can be asked for: {self._without_windows}")
        return incremental

    @property
    def _without_windows(self) -> str | None:
        if self.resource.partitions:
            return None
        if self.resource.has_cursor_per_parent:
            return "it has a cursor for each parent"
        return unreadable_range(self.resource)

    @property
    def sends(self) -> set[str]:
        """Which bounds go to the API, of `start` and `end`."""
        return {str(one) for one in bounds_sent(self.resource.endpoint)}

    @cached_property
    def bounds(self) -> Bounds:
        """How bounds are written."""
        return Bounds(self.incremental)

    def read(
        self,
        window: Window | None = None,
        *,
        most: int | None = None,
        resource: Resource | None = None,
        resolved: ResolvedApi | None = None,
    ) -> Reading:
        """Read raw rows: no row is left out for its cursor, and nothing is stored.

        Args:
            window: What to ask for; None for everything.
            most: How many pages at most.
            resource: The resource as another file would have it.
            resolved: The API as another file would have it.

        Raises:
            LoadError: If it cannot be read.
            NotReached: If the budget is used up.
        """
        resource, reading = resource or self.resource, Reading(window)
        incremental = resource.endpoint.incremental
        windows: list[Window | None] = [window]
        if window and incremental and incremental.step:
            windows = [*Cuts(incremental).steps(window, incremental.step)]
        while windows:
            part = windows.pop(0)
            if most is not None and len(reading.pages) >= most:
                reading.is_whole = False
                break
            before = len(reading.walks)
            try:
                self._read(part, reading, most, resource, resolved or self.resolved)
            except WindowTooLargeError:
                halves = Cuts(incremental).halves(part) if part and incremental else None
                if halves is None:
                    raise
                del reading.walks[before:]  # those of other parents
                windows[:0] = halves
        return reading

    def _read(
        self,
        window: Window | None,
        reading: Reading,
        most: int | None,
        resource: Resource,
        resolved: ResolvedApi,
    ) -> None:
        session = api_session(resolved, Meter(on_change=self.requests.watch()), sample=most == 1)
        with explained(resolved.redact, self.resource.name), session:
            config = cast("dict[str, Any]", rest_api_config(resolved, resource, session, window))
            for entry in config["resources"]:
                if not isinstance(entry, dict):  # the lists of values that stand for a parent
                    continue
                endpoint: dict[str, Any] = cast("Any", entry)["endpoint"]
                kept, count = (reading, most) if entry["name"] == resource.name else (Reading(), 1)
                endpoint["paginator"] = RecordedPages(endpoint["paginator"], kept, count, resolved.redact)
            source = rest_api_source(cast("Any", config), name=schema_name(resolved.api, resource))
            ask_children(source, resolved.api, resource, session)
            for name, parent in source.resources.items():
                if name != resource.name:
                    parent.add_filter(only_first(_PARENTS))
            source.resources[resource.name].add_step(PageStep(lambda _: None))  # no row goes on
            for _ in source:
                pass
        if resource.is_child:  # which are read side by side
            reading.walks.sort(key=lambda walk: walk[0].url if walk else "")

    @cached_property
    def _sample(self) -> Reading:
        if self._without_windows:
            return self.read(most=self.most)
        window = self._window_with_rows()
        reading = self.read(window, most=self.most)
        while not reading.is_whole and (smaller := self._smaller(reading, window)):
            self._is_all = False
            part = self.read(smaller, most=self.most)
            while reading.rows and not part.rows:  # they end before it
                earlier = self._earlier(window, smaller)
                if earlier is None:
                    return reading
                smaller, part = earlier, self.read(earlier, most=self.most)
            window, reading = smaller, part
        return reading

    def sample(self) -> Reading:
        """The reading that others are compared with: of some windows with rows, or of everything.

        It is not whole where that would take too many pages.

        Raises:
            NotApplicable: If it failed before.
            LoadError: If it cannot be read.
        """
        return self._once("read", lambda: self._sample)

    def whole(self) -> Reading:
        """The same, whole and with rows.

        Raises:
            NotApplicable: If it failed before, or there are no rows.
            NotReached: If it is too large.
            LoadError: If it cannot be read.
        """
        return self.refuse_empty(self.refuse_cut(self.sample()))

    def refuse_empty(self, reading: Reading) -> Reading:
        """The reading, if it has rows, and these have fields.

        Raises:
            NotApplicable: If not.
        """
        rows = reading.rows
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise NotApplicable("there are no rows with fields")
        return reading

    def refuse_cut(self, reading: Reading) -> Reading:
        """The reading, if it is whole.

        Raises:
            NotReached: If it is not.
        """
        if not reading.is_whole:
            raise NotReached(f"{self.most} pages are not all of the rows")
        return reading

    def part(self, window: Window) -> Reading:
        """What comes for a part of the same, asked for once only."""
        if window not in self._parts:
            self._parts[window] = self.read(window)
        return self._parts[window]

    @cached_property
    def again(self) -> Reading:
        """The same once more."""
        return self.read(self.whole().window)

    def _once(self, what: str, make: Callable[[], T]) -> T:
        if what in self._failed:
            raise NotApplicable(f"the resource cannot be {what}, as is said above")
        try:
            return make()
        except NotReached:
            raise
        except LoadError:
            self._failed.add(what)
            raise

    def _window_with_rows(self) -> Window:
        partitions = self.resource.partitions
        if partitions is None:
            initial = self.incremental.initial_value
            start = _LONG_AGO if initial is None else self.bounds.parse(initial)
            return Window(start, self.now)
        over = windows_between(partitions, partitions.first, window_containing(partitions, self.now).start)
        if not over:
            raise NotApplicable("the first window is not over yet, so there is nothing to ask for")
        last = len(over) - 1
        at = over[-1].start
        for window in (
            over[-1],
            over[0],
            Window(over[0].start, over[-1].end),
            *(over[last * quarter // 4] for quarter in (2, 1, 3)),
        ):
            with suppress(RefusedError):  # an empty window may be; then there is a check that says so
                reading = self.read(window, most=1)
                if reading.rows:
                    at = next((time for _, time in self.timed(reading, window)), window.start)
                    break
        place = next(place for place, window in enumerate(over) if at in window)
        return Window(over[max(place - 1, 0)].start, over[min(place + 1, last)].end)

    def _smaller(self, reading: Reading, window: Window) -> Window | None:
        """A part of a window that has fewer pages, with rows that were seen."""
        cuts, length = Cuts(self.incremental), window.end - window.start
        if "end" not in self.sends:
            start, end = cuts.end(window, window.start, length * 3 / 4), window.end
        else:
            times = [time for _, time in self.timed(reading, window)]
            if not times:
                return None
            start = max(window.start, self.bounds.earliest(min(times)))
            end = cuts.end(window, start, (max(times) - start + self.bounds.unit) / 2)
        return Window(start, end) if start < end and end - start < length else None

    def _earlier(self, window: Window, smaller: Window) -> Window | None:
        """Of two windows with the same end, one that begins halfway between their starts."""
        half = (smaller.start - window.start) / 2
        start = Cuts(self.incremental).end(window, window.start, half) if half >= self.bounds.unit else None
        return Window(start, smaller.end) if start and window.start < start < smaller.start else None

    def timed(self, reading: Reading, window: Window | None = None) -> list[tuple[Row, datetime]]:
        """The rows that have an instant, with it.

        Args:
            reading: What came.
            window: Only those within; None for all.
        """
        rows = reading.rows
        times = RowTimes(self.resource).of(rows)
        return [
            (row, time)
            for row, time in zip(rows, times, strict=True)
            if time is not None and (window is None or time in window)
        ]

    def marks(self, rows: Iterable[Row]) -> Counter[str]:
        """What tells rows apart: their keys, or where there are none all that they hold."""
        return Counter(self.mark(row) for row in rows)

    def mark(self, row: Any) -> str:
        """What tells a row apart."""
        keys = self.keys
        return as_text({key: row.get(key) for key in keys} if keys and type(row) is dict else row)

    def some(self, marks: Iterable[str], count: int = 3) -> str:
        """A few rows by their marks, for a message."""
        if self.resolved.redact.hides_bodies:
            return "rows that are not shown, as `records` hides some of them"
        return ", ".join(_shortened(self.redact(mark)) for mark in sorted(marks)[:count])

    @property
    def windows(self) -> list[Window]:
        """What is loaded: that of `whole` with partitions, else everything.

        Raises:
            NotReached: If that would be more than was read.
        """
        window = self.whole().window
        if window and self.resource.partitions:
            return [window]
        if not self._is_all:
            raise NotReached(f"all of it has more than {self.most} pages")
        return []

    def loaded(self) -> LoadResult:
        """The first load into the scratch destination.

        Raises:
            NotApplicable: If it failed before.
            NotReached: If it is too large.
            LoadError: If it fails.
        """
        return self._once("loaded", lambda: self._first_load)

    @cached_property
    def _first_load(self) -> LoadResult:
        return self.scratch.load(self.windows)


def first_values(resource: Resource) -> dict[str, list[Any]]:
    """The lists of values that a resource is asked for by, cut to the first few."""
    return {name: list(values[:_PARENTS]) for name, values in resource.for_each.items()}


def as_text(value: Any) -> str:
    """A value as JSON in one form."""
    return json.dumps(value, default=str, sort_keys=True, ensure_ascii=False)


def _shortened(text: str) -> str:
    """The beginning of a text: without keys, what tells a row apart is all that it holds."""
    return text if len(text) <= _LONGEST_MARK else f"{text[:_LONGEST_MARK]}…"
