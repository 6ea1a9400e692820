"""The rows behind the sample API while a history is played: drawn ones, in place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import orjson

from analytics_dagster.sandbox import InvalidParameterError, SandboxSettings
from analytics_dagster.sandbox.data import SandboxData, View
from analytics_dagster_tests.faults.history import Change, Endpoint, Row, Version


class Source(SandboxData):
    """The data of a sandbox, which changes when it is told to."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        super().__init__(SandboxSettings(users=0, events=0, sessions=0, orders=0))
        self._endpoints = {one.name: one for one in endpoints}
        self._now = {
            name: {row.name.number: row for row in one.rows} for name, one in self._endpoints.items()
        }
        self._shown = dict(self._now)
        self.all = {name: {row.name: row for row in one.rows} for name, one in self._endpoints.items()}
        """Every version of every row that there ever was."""
        self.moved: set[str] = set()
        """The endpoints whose rows changed while they may have been read."""
        self._later: Mapping[str, Change] = {}
        self._answers = 0

    def change(self, changes: Mapping[str, Change], *, stale: bool = False) -> None:
        """Change the rows.

        Args:
            changes: By endpoint.
            stale: Whether the answers are still those of before, as of a copy that lags behind.
        """
        self.moved = set()
        before = dict(self._now)
        for name, change in changes.items():
            rows = {**self._now[name], **{row.name.number: row for row in change.put}}
            self._now[name] = {number: row for number, row in rows.items() if number not in change.gone}
            self.all[name] |= {row.name: row for row in change.put}
        self._shown = before if stale else self._now

    def change_later(self, changes: Mapping[str, Change], answers: int) -> None:
        """Change the rows once more, after some answers."""
        self._later, self._answers = changes, answers

    def settle(self) -> None:
        """Change what would have changed after more answers than were asked for."""
        later, self._later = self._later, {}
        if later:
            self.change(later)

    def shown(self, endpoint: str) -> list[Row]:
        """The rows that the API's answers hold."""
        return list(self._shown[endpoint].values())

    def now(self, endpoint: str) -> dict[Version, Row]:
        """The rows that there are."""
        return {row.name: row for row in self._now[endpoint].values()}

    def view(
        self,
        resource: str,
        *,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        updated_after: str | datetime | None = None,
        updated_before: str | datetime | None = None,
    ) -> View:
        """The rows that an endpoint answers with."""
        endpoint = self._endpoints.get(resource)
        if endpoint is None:
            raise InvalidParameterError(f"there is no resource {resource!r}")
        if updated_after is not None or updated_before is not None:
            raise InvalidParameterError("the clock of these rows is called created_…")
        if self._later and self._answers == 0:
            moved = set(self._later)
            self.settle()
            self.moved = moved
        self._answers -= 1
        after, before = cast("str | None", created_after), cast("str | None", created_before)
        try:
            rows = [row for row in self.shown(resource) if endpoint.clock.lets_through(row.at, after, before)]
        except ValueError as error:
            raise InvalidParameterError(str(error)) from None
        if endpoint.paging.order != "number":
            rows.sort(key=lambda row: row.at, reverse=endpoint.paging.order == "newest")
        return _Rows(rows)


class _Rows(View):
    """Rows in a certain order, each known by its place."""

    def __init__(self, rows: list[Row]) -> None:
        self._found = rows

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, place: int) -> int:
        return range(len(self))[place]

    def place_after(self, number: int) -> int:
        return number + 1

    def rows(self, offset: int, limit: int) -> list[dict[str, Any]]:
        rows = self._found[offset : offset + limit]
        return [cast("dict[str, Any]", orjson.Fragment(row.text)) for row in rows]
