"""PostHog's Query API: runs a HogQL query on the events of a project, with 50,000 rows at most.

https://posthog.com/docs/api/queries
"""

from __future__ import annotations

import re
from typing import Any

import duckdb
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_LIMIT = re.compile(r"LIMIT (\d+)$")
_SETUP = """
SET TimeZone = 'UTC';
CREATE MACRO toDateTime(value) AS value::TIMESTAMPTZ;
CREATE MACRO toString(value) AS value::VARCHAR;
CREATE TABLE events (
    uuid UUID, timestamp TIMESTAMPTZ, event TEXT, distinct_id TEXT, person_id UUID, properties TEXT
);
"""


class PostHog:
    """A project and its events, on which queries run as SQL.

    Args:
        events: uuid, timestamp (aware), event, distinct_id, person_id and properties (JSON as text) of each.
        cap: The most rows of an answer.
    """

    project = "12345"
    key = "phx_k3y"

    def __init__(self, events: list[tuple[Any, ...]], cap: int = 50_000) -> None:
        self.events = events
        self.cap = cap
        self.throttled = 0  # answers from now on
        self.queries: list[str] = []
        self._database = duckdb.connect(":memory:")
        self._database.execute(_SETUP)
        self._database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/projects/{project}/query/", self._query, methods=["POST"])])

    async def _query(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "authentication_error", "Personal API key found in request is invalid.")
        if request.path_params["project"] != self.project:
            return _error(403, "permission_denied", "You don't have access to the project.")
        if self.throttled:
            self.throttled -= 1
            message = "Request was throttled. Expected available in 1 seconds."
            return _error(429, "throttled_error", message, **{"Retry-After": "1"})
        asked = await request.json()
        assert asked["query"]["kind"] == "HogQLQuery"
        assert asked["refresh"] == "force_blocking", "an answer of a minute ago might come"
        query: str = asked["query"]["query"]
        self.queries.append(query)
        limit = _LIMIT.search(query)
        rows_asked = min(int(limit[1]) if limit else 100, self.cap)
        try:
            ran = self._database.execute(_LIMIT.sub(f"LIMIT {rows_asked}", query))
        except duckdb.Error as error:
            return _error(400, "validation_error", str(error))
        names = [column[0] for column in ran.description or []]
        rows = [[_written(value) for value in row] for row in ran.fetchall()]
        return JSONResponse({"columns": names, "results": rows, "hasMore": len(rows) == rows_asked})


def _written(value: Any) -> Any:
    return value if isinstance(value, str | None) else value.isoformat().replace("+00:00", "Z")


def _error(status: int, kind: str, detail: str, **headers: str) -> JSONResponse:
    return JSONResponse({"type": kind, "detail": detail}, status, headers)
