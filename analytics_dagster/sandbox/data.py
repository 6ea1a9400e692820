"""The ground truth: the rows there are now, with later updates and deletions; nothing about HTTP."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from analytics_dagster.sandbox.rows import RESOURCES, Resource, Row, Rows, iso
from analytics_dagster.sandbox.settings import SandboxSettings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 1_000


class InvalidParameterError(ValueError):
    """A request that names no such thing or gives a value of the wrong form; its text says which."""


class _Change(NamedTuple):
    version: int
    updated: int


class _Window(NamedTuple):
    """Milliseconds since 1970, each pair half-open: the begin is inside, the end is not."""

    created_from: int = -(1 << 62)
    created_to: int = 1 << 62
    updated_from: int = -(1 << 62)
    updated_to: int = 1 << 62


class View:
    """The rows of one resource that a filter lets through, as they were when it was made.

    Rows nobody has changed form one range of row numbers, since created_at and the first updated_at never
    decrease. Changes take numbers out of that range and add some before and after it.
    """

    def __init__(self, rows: Rows, edits: dict[int, _Change | None], window: _Window) -> None:
        def first(key: Callable[[int], int], instant: int) -> int:
            return bisect_left(range(rows.count), instant, key=key)

        def passes(change: _Change | None) -> bool:
            return change is not None and window.updated_from <= change.updated < window.updated_to

        created = range(first(rows.created, window.created_from), first(rows.created, window.created_to))
        begin = max(created.start, first(rows.updated, window.updated_from))
        self._range = range(begin, max(begin, min(created.stop, first(rows.updated, window.updated_to))))
        self._rows = rows
        self._edits = edits
        removed = sorted(n for n, change in edits.items() if n in self._range and not passes(change))
        # For each removed number, how many numbers of the range stay before it.
        self._gaps = [number - begin - place for place, number in enumerate(removed)]
        added = sorted(n for n in edits if n in created and n not in self._range and passes(edits[n]))
        self._before = [number for number in added if number < begin]
        self._after = added[len(self._before) :]

    def __len__(self) -> int:
        return len(self._before) + len(self._range) - len(self._gaps) + len(self._after)

    def __getitem__(self, place: int) -> int:
        """The number of the row at a place, counted from 0."""
        if place < len(self._before):
            return self._before[place]
        place -= len(self._before)
        staying = len(self._range) - len(self._gaps)
        if place < staying:
            return self._range[place + bisect_right(self._gaps, place)]
        return self._after[place - staying]

    def place_after(self, number: int) -> int:
        """The place of the first row whose number is higher."""
        return bisect_right(self, number)

    def rows(self, offset: int, limit: int) -> list[Row]:
        """Make up to `limit` rows from a place on."""
        if not self._edits:
            return [self._rows.row(number) for number in self._range[offset : offset + limit]]
        return [self._row(self[place]) for place in range(offset, min(offset + limit, len(self)))]

    def _row(self, number: int) -> Row:
        row = self._rows.row(number)
        if change := self._edits.get(number):
            row["name"] = f"{row['name']} v{change.version}"
            row["updated_at"] = iso(change.updated)
        return row


def _microseconds(name: str, value: str | datetime) -> int:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise InvalidParameterError(
            f"{name} is {value!r}, but must be an ISO 8601 time such as 2024-01-01T00:00:00Z"
        ) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (time - _EPOCH) // timedelta(microseconds=1)


class SandboxData:
    """All resources of one sandbox. Reading and changing are safe from any thread."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._rows = {resource: Rows(resource, settings) for resource in RESOURCES}
        # A number's change, or None where the row is deleted. Replaced as a whole, never changed in place.
        self._edits: dict[Resource, dict[int, _Change | None]] = {resource: {} for resource in RESOURCES}
        self._lock = threading.Lock()

    def view(
        self,
        resource: str,
        *,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        updated_after: str | datetime | None = None,
        updated_before: str | datetime | None = None,
    ) -> View:
        """The rows of a resource inside the given bounds, in the order of created_at.

        Args:
            resource: users, events, sessions or orders.
            created_after: Lower bound; whether it includes its own instant is a setting, as for the others.
                Text is ISO 8601; a time without an offset is UTC.
            created_before: Upper bound.
            updated_after: Lower bound.
            updated_before: Upper bound.

        Raises:
            InvalidParameterError: If there is no such resource or a bound is not a time.
        """
        known = self._known(resource)
        created = self._bounds("created", created_after, created_before)
        updated = self._bounds("updated", updated_after, updated_before)
        return View(self._rows[known], self._edits[known], _Window(*created, *updated))

    def truth(
        self,
        resource: str,
        *,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        updated_after: str | datetime | None = None,
        updated_before: str | datetime | None = None,
    ) -> Iterator[Row]:
        """Yield every row that `view` with the same arguments has."""
        view = self.view(
            resource,
            created_after=created_after,
            created_before=created_before,
            updated_after=updated_after,
            updated_before=updated_before,
        )
        for offset in range(0, len(view), _ROWS_AT_ONCE):
            yield from view.rows(offset, _ROWS_AT_ONCE)

    def update(
        self,
        resource: str,
        *,
        at: str | datetime,
        ids: Iterable[str] | None = None,
        count: int | None = None,
    ) -> list[str]:
        """Change the name and the updated_at of rows.

        Args:
            resource: users, events, sessions or orders.
            at: The new updated_at, later than the one the rows have.
            ids: Which rows, or
            count: how many, spread evenly over those last updated before `at`.

        Returns:
            The ids of the changed rows.

        Raises:
            InvalidParameterError: If a row does not exist or was updated at `at` or later, if there are fewer
                than `count`, or unless exactly one of ids and count is given. Then nothing is changed.
        """
        known = self._known(resource)
        rows = self._rows[known]
        instant = _microseconds("at", at) // 1000
        with self._lock:
            edits = dict(self._edits[known])
            if ids is not None and count is None:
                numbers = self._numbers(known, ids)
            elif count is not None and ids is None:
                view = View(rows, edits, _Window(updated_to=instant))
                if not 0 <= count <= len(view):
                    raise InvalidParameterError(
                        f"count is {count}, but {len(view)} {resource} were updated before {iso(instant)}"
                    )
                numbers = [view[place * len(view) // count] for place in range(count)]
            else:
                raise InvalidParameterError("give either ids or count")
            for number in numbers:
                change = edits.get(number) or _Change(1, rows.updated(number))
                if instant <= change.updated:
                    raise InvalidParameterError(
                        f"at is {iso(instant)}, but {rows.id_of(number)} was updated at {iso(change.updated)}"
                    )
                edits[number] = _Change(change.version + 1, instant)
            self._edits[known] = edits
        return [rows.id_of(number) for number in numbers]

    def delete(self, resource: str, ids: Iterable[str]) -> list[str]:
        """Delete rows for good.

        Returns:
            The ids of the deleted rows.

        Raises:
            InvalidParameterError: If a row does not exist (any more). Then nothing is deleted.
        """
        known = self._known(resource)
        with self._lock:
            numbers = self._numbers(known, ids)
            self._edits[known] = {**self._edits[known], **dict.fromkeys(numbers)}
        return [self._rows[known].id_of(number) for number in numbers]

    def _known(self, resource: str) -> Resource:
        for known in RESOURCES:
            if known == resource:
                return known
        raise InvalidParameterError(f"there is no resource {resource!r}, only {', '.join(RESOURCES)}")

    def _bounds(
        self, field: str, after: str | datetime | None, before: str | datetime | None
    ) -> tuple[int, int]:
        begin, end = -(1 << 62), 1 << 62
        if after is not None:
            begin = _microseconds(f"{field}_after", after)
        if before is not None:
            end = _microseconds(f"{field}_before", before)
        if begin > end:
            raise InvalidParameterError(f"{field}_after is later than {field}_before")
        # The first whole millisecond that is not before the bound, or that is beyond it.
        first_inside = -(-begin // 1000) if self._settings.after_inclusive else begin // 1000 + 1
        first_outside = end // 1000 + 1 if self._settings.before_inclusive else -(-end // 1000)
        return first_inside, first_outside

    def _numbers(self, resource: Resource, ids: Iterable[str]) -> list[int]:
        rows, edits = self._rows[resource], self._edits[resource]
        numbers: list[int] = []
        for row_id in ids:
            number = rows.number_of(row_id)
            if number is None or (number in edits and edits[number] is None):
                raise InvalidParameterError(f"{resource} has no row with the id {row_id!r}")
            numbers.append(number)
        return numbers
