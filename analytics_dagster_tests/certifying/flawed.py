"""An API whose every flaw is known: right without one, wrong in one way with each."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics_dagster_tests.reading.helpers import Answer

KEY = "a-secret-key"
FIRST = datetime(2024, 3, 30, 0, 0, tzinfo=UTC)
CLOCKS_CHANGE = datetime(2024, 3, 31, 1, 0, tzinfo=UTC)  # in Berlin
ROWS, AT_ONCE = 240, 3
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Flawed:
    """Rows of some days, three of each instant, of which two are in the same second.

    Args:
        flaw: What is wrong; empty for nothing.
    """

    def __init__(self, flaw: str = "") -> None:
        self.flaw = flaw
        self.asked: list[dict[str, str]] = []
        self._counter = itertools.count()
        self._order = random.Random(7)  # equal runs ask alike
        self._rows = [self._row(number) for number in range(ROWS)]

    def _row(self, number: int) -> dict[str, Any]:
        place = number // AT_ONCE
        created = FIRST + place // 2 * timedelta(minutes=50, seconds=7)
        created += place % 2 * timedelta(milliseconds=250)
        large = 2**60 + number * 7919
        row: dict[str, Any] = {
            "id": number,
            "created_at": created.isoformat(),
            "updated_at": (created + 2 * _HOUR).isoformat(),
            "large": large,
            "parent": number % 2,
            "amount": 5,
        }
        match self.flaw:
            case "two rows of one key":
                row["id"] = number % 70
            case "a key is null":
                row["id"] = number if number != 20 else None
            case "doubles":
                row["large"] = int(float(large))
            case "JavaScript":
                row["large"] = large // 1000 * 1000
                row["large"] = int(repr(float(large)).split("e")[0].replace(".", "").ljust(19, "0"))
            case "large doubles":
                row["large"] = float(large)
            case "measurements":
                row["large"] = 1e300 if number % 2 else 0.25
            case "the cursor is missing":
                row["created_at"] = created.isoformat() if number != 20 else None
            case "another type":
                row["amount"] = 5 if number != 20 else "five"
            case "the key is in a row":
                row["note"] = f"called with {KEY}"
            case _:
                pass
        return row

    def __call__(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        count = next(self._counter)
        is_open = self.flaw == "any credentials" or (self.flaw == "one open list" and "closed" not in query)
        if query.get("api_key") != KEY and not is_open:
            status = "200" if self.flaw == "200 for a wrong key" else "401"
            return {"error": "unknown key"}, {":status": status}
        if self.flaw == "refused for its rate" and count == 3:
            return {"error": "slow down"}, {":status": "429"}
        if self.flaw == "another order" and query["offset"] == "0":
            self._order.shuffle(self._rows)
        rows = self._within(query)
        if self.flaw == "404 for no rows" and not rows:
            return {"error": "nothing"}, {":status": "404"}
        if self.flaw == "values of the moment":
            rows = [{**row, "amount": count} for row in rows]
        if self.flaw == "rows of another year":
            rows = [{**row, "created_at": str(row["created_at"]).replace("2024", "2025")} for row in rows]
        if "offset" not in query:
            return self._after(rows, query.get("cursor"), int(query["limit"])), {}
        offset, limit = int(query["offset"]), int(query["limit"])
        if self.flaw == "20 rows a page":
            limit = min(limit, 20)
        if self.flaw == "no end" and offset >= len(rows):
            offset = 0
        if self.flaw == "no total":
            return {"data": rows[offset : offset + limit], "errors": []}, {}
        total = len(rows) + (self.flaw == "a wrong total")
        return {"data": rows[offset : offset + limit], "total": total, "errors": []}, {}

    def _within(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = self._rows
        if "parent" in query and self.flaw != "children of all":
            rows = [row for row in rows if str(row["parent"]) == query["parent"]]
        clock = "updated_at" if self.flaw == "another clock" else "created_at"
        start, end = (_instant(query.get(name)) for name in ("after", "before"))
        match self.flaw:
            case "no end bound":
                end = None
            case "a day later" if start and end:
                return [{**row, "created_at": end.isoformat()} for row in rows[:9]]
            case "days only" if start and end:
                start, end = _floor(start), _floor(end) + _DAY
            case "whole seconds" if end:
                end = end.replace(microsecond=0)
            case "a future start is none" if start and start > datetime(2030, 1, 1, tzinfo=UTC):
                start = end = None
            case "an hour lost as clocks change" if start and end and start < CLOCKS_CHANGE < end:
                end -= _HOUR
            case "days only, for a start" if start:
                start = _floor(start)
            case _:
                pass
        exclusive = self.flaw == "the start is exclusive"
        found: list[dict[str, Any]] = []
        for row in rows:
            time = _instant(row[clock])
            after = start is None or time is None or (time > start if exclusive else time >= start)
            before = end is None or time is None or time < end
            if after and before:
                found.append(row)
        return found[:60] if self.flaw == "60 rows a window" else found

    def _after(self, rows: list[dict[str, Any]], cursor: str | None, limit: int) -> dict[str, Any]:
        """A page that follows a token: a row's time, of which other rows may be, or its place."""
        if self.flaw == "ties lost at pages":
            left = [row for row in rows if cursor is None or row["created_at"] > cursor]
            page = left[:limit]
            return {"data": page, "next": page[-1]["created_at"] if len(left) > limit else None}
        place = int(cursor or 0)
        is_last = place + limit >= len(rows) and self.flaw != "a token always"
        following = None if is_last else str(place + limit)
        return {
            "data": rows[place : place + limit],
            "next": following,
            "errors": [],
        }


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _floor(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)
