"""Plausible's Stats API v2: queries of inclusive days in the site's time zone, with pages in the body.

https://plausible.io/docs/stats-api
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from statistics import mean
from typing import Any
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_QUERY = {
    *("site_id", "date_range", "metrics", "dimensions"),
    *("filters", "order_by", "include", "pagination"),
}
_METRICS: dict[str, Callable[[list[Any]], Any]] = {
    "visitors": lambda visits: len({visit["visitor"] for visit in visits}),
    "visits": len,
    "pageviews": lambda visits: sum(visit["pageviews"] for visit in visits),
    "bounce_rate": lambda visits: round(100 * mean(visit["pageviews"] == 1 for visit in visits), 1),
    "visit_duration": lambda visits: round(mean(visit["seconds"] for visit in visits)),
}


class Plausible:
    """A site and its visits.

    Args:
        visits: `at` (an aware datetime), `visitor`, `pageviews`, `seconds`, and the values of dimensions.
        timezone: The site's.
        quota: How many requests are answered before the hour is used up.
        cap: The most rows of a page.
    """

    site = "example.com"
    key = "plausible-k3y"

    def __init__(
        self, visits: list[dict[str, Any]], timezone: str = "UTC", quota: int = 600, cap: int = 10_000
    ) -> None:
        self.visits = visits
        self.zone = ZoneInfo(timezone)
        self.quota = quota
        self.cap = cap
        self.asked: list[list[str]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/v2/query", self._query, methods=["POST"])])

    async def _query(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Invalid API key or site ID. Please make sure you're using a valid API key.")
        self.quota -= 1
        if self.quota < 0:
            return _error(429, "Too many API requests. Your API key is limited to 600 requests per hour.")
        query = await request.json()
        if unknown := query.keys() - _QUERY:
            return _error(400, f"#/{min(unknown)}: Schema does not allow additional properties.")
        if query["site_id"] != self.site:
            return _error(401, "Invalid API key or site ID. Please make sure you're using a valid API key.")
        start, end = query["date_range"]
        self.asked.append([start, end])
        if end < start:
            return _error(400, f"#/date_range: Invalid date range {[start, end]}")
        found = [visit for visit in self.visits if start <= self._value(visit, "time:day") <= end]
        key: Callable[[Any], Any] = lambda visit: [  # noqa: E731
            self._value(visit, name) for name in query["dimensions"]
        ]
        rows = [
            {"dimensions": group, "metrics": [_METRICS[name](visits) for name in query["metrics"]]}
            for group, visits in (
                (group, list(visits)) for group, visits in groupby(sorted(found, key=key), key)
            )
        ]
        assert [name for name, how in query["order_by"] if how == "asc"] == query["dimensions"]
        pagination = {"limit": 10_000, "offset": 0, **query.get("pagination", {})}
        first = pagination["offset"]
        meta = {"total_rows": len(rows)} if query.get("include", {}).get("total_rows") else {}
        page = rows[first : first + min(pagination["limit"], self.cap)]
        return JSONResponse({"results": page, "meta": meta, "query": query})

    def _value(self, visit: dict[str, Any], dimension: str) -> Any:
        if dimension == "time:day":
            return visit["at"].astimezone(self.zone).date().isoformat()
        return visit[dimension]


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)
