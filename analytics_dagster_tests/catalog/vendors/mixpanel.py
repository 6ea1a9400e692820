"""Mixpanel's raw export: the events of inclusive days, one in a line.

https://docs.mixpanel.com/reference/raw-event-export
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Mixpanel:
    """A project and its events.

    Args:
        events: As Mixpanel sends them, with `properties.time` in seconds.
    """

    project = "2195193"
    user = "loader.4f2a.mp-service-account"
    secret = "mixpanel-s3cret"

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.breaks_off = 0  # exports from now on
        self.quota = 60
        self.asked: list[dict[str, str]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/2.0/export", self._export)])

    async def _export(self, request: Request) -> Response:
        basic = b64encode(f"{self.user}:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return _error(401, "Invalid service account credentials")
        query = dict(request.query_params)
        if query.get("project_id") != self.project:
            return _error(400, "Unable to authenticate request")
        self.quota -= 1
        if self.quota < 0:
            return _error(429, "Query rate limit exceeded")
        self.asked.append(query)
        if query["from_date"] > query["to_date"]:
            return _error(400, "from_date must be before to_date")
        found = [event for event in self.events if query["from_date"] <= _day(event) <= query["to_date"]]
        lines = [json.dumps(event) for event in found]
        if self.breaks_off:
            self.breaks_off -= 1
            lines = [*lines[: len(lines) // 2], "export terminated early"]
        return Response("".join(f"{line}\n" for line in lines), media_type="text/plain")


def _day(event: dict[str, Any]) -> str:
    return datetime.fromtimestamp(event["properties"]["time"], UTC).date().isoformat()


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"request": "/api/2.0/export", "error": message}, status)
