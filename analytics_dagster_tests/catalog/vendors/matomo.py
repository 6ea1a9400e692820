"""Matomo's `Live.getLastVisitsDetails`: visits by the day of their last action, latest first, no total.

https://developer.matomo.org/api-reference/reporting-api
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from analytics_dagster_tests.catalog.vendors.serving import form_of


class Matomo:
    """A site and its visits.

    Args:
        visits: As Matomo sends them, with `lastActionTimestamp` in seconds.
        timezone: The site's.
        cap: The most rows of a page.
    """

    site = "1"
    token = "matomo-t0ken"

    def __init__(self, visits: list[dict[str, Any]], timezone: str = "UTC", cap: int = 10_000) -> None:
        self.visits = visits
        self.zone = ZoneInfo(timezone)
        self.cap = cap
        self.days: list[str] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/index.php", self._index, methods=["GET", "POST"])])

    async def _index(self, request: Request) -> JSONResponse:
        assert "token_auth" not in request.query_params, "a token in a URL stands in logs"
        asked = {**request.query_params, **await form_of(request)}
        assert (asked["module"], asked["format"], asked["period"]) == ("API", "JSON", "range")
        if asked["method"] != "Live.getLastVisitsDetails":
            return _error(f"The method '{asked['method']}' does not exist.")
        if asked.get("token_auth") != self.token:
            return _error("Unable to authenticate with the provided token.")
        if asked["idSite"] != self.site:
            return _error("You can't access this resource as it requires 'view' access.")
        first, last = asked["date"].split(",")
        self.days.append(asked["date"])
        offset = int(asked.get("filter_offset", 0))
        limit = min(int(asked.get("filter_limit", 100)), self.cap)
        found = [visit for visit in self.visits if first <= self._day(visit) <= last]
        found.sort(key=lambda visit: visit["lastActionTimestamp"], reverse=True)
        if offset and first < last:
            offset += 1  # offsets over several days skip visits (issues 16394 and 23342)
        return JSONResponse(found[offset : offset + limit])

    def _day(self, visit: dict[str, Any]) -> str:
        return datetime.fromtimestamp(visit["lastActionTimestamp"], self.zone).date().isoformat()


def _error(message: str) -> JSONResponse:
    return JSONResponse({"result": "error", "message": message})
