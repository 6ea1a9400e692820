"""Umami's events of a website: newest first, between two inclusive instants, in numbered pages.

https://umami.is/docs/api/events, and `getWebsiteEvents` in Umami's source
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class Umami:
    """A website and its events.

    Args:
        events: As Umami sends them, with `createdAt` as text.
        cap: The most rows of a page.
    """

    website = "86d4095c-a2a8-4fc8-9521-103e858e2b41"
    key = "umami-k3y"
    user = "ann"
    password = "s3cret"

    def __init__(self, events: list[dict[str, Any]], cap: int = 1_000) -> None:
        self.events = events
        self.cap = cap
        self.after_first_page: Callable[[], None] = lambda: None
        self.logins = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/auth/login", self._login, methods=["POST"]),
                Route("/{base}/websites/{website}/events", self._events),
            ]
        )

    async def _login(self, request: Request) -> JSONResponse:
        if await request.json() != {"username": self.user, "password": self.password}:
            return _error(401, "Unauthorized")
        self.logins += 1
        return JSONResponse({"token": f"t0ken-{self.logins}", "user": {"username": self.user}})

    async def _events(self, request: Request) -> JSONResponse:
        """The cloud (`/v1`) takes a key, a server of one's own (`/api`) a token."""
        headers, query = request.headers, request.query_params
        cloud = request.path_params["base"] == "v1" and headers.get("x-umami-api-key") == self.key
        own = (
            request.path_params["base"] == "api"
            and headers.get("authorization") == f"Bearer t0ken-{self.logins}"
        )
        if not (cloud or own) or request.path_params["website"] != self.website:
            return _error(401, "Unauthorized")
        unknown = query.keys() - {"startAt", "endAt", "page", "pageSize", "search"}
        if unknown or not {"startAt", "endAt"} <= query.keys():
            return _error(400, "Bad request")
        start, end = int(query["startAt"]), int(query["endAt"])
        found = [event for event in self.events if start <= _milliseconds(event) <= end]
        found.sort(key=_milliseconds, reverse=True)
        page, size = int(query.get("page", 1)), min(int(query.get("pageSize", 20)), self.cap)
        rows = found[(page - 1) * size : page * size]
        if page == 1:
            self.after_first_page()
        return JSONResponse({"data": rows, "count": len(found), "page": page, "pageSize": size})


def _milliseconds(event: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(event["createdAt"]).timestamp() * 1000)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "status": status}}, status)
