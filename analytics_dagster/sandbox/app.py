"""The ASGI app: which path answers what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from analytics_dagster.sandbox.auth import (
    Tokens,
    answer_token_request,
    has_api_credentials,
    has_oauth_token,
)
from analytics_dagster.sandbox.control import control_routes
from analytics_dagster.sandbox.data import InvalidParameterError, SandboxData
from analytics_dagster.sandbox.faults import FaultQueue
from analytics_dagster.sandbox.paging import STYLES, page
from analytics_dagster.sandbox.settings import SandboxSettings
from analytics_dagster.sandbox.traffic import RequestLog, Traffic

# /v1/events is cut into pages by offset, /v1/cursor/events by cursor, and so on.
_STYLES = [("" if style == "offset" else f"/{style}", style) for style in STYLES]


class Sandbox:
    """A sample analytics API and everything that can be done to it."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self.data = SandboxData(self.settings)
        self.faults = FaultQueue()
        self.requests = RequestLog()
        self.tokens = Tokens(self.settings.token_lifetime)

    def app(self) -> ASGIApp:
        """The ASGI app that serves it."""
        starlette = Starlette(
            routes=[
                Route("/oauth/token", self._token, methods=["POST"]),
                *control_routes(self.data, self.faults, self.requests, self.tokens),
                *(
                    Route(f"{root}{place}/{{resource}}", self._endpoint(root, style), methods=["GET", "POST"])
                    for root in ("/v1", "/oauth/v1")
                    for place, style in _STYLES
                ),
            ],
            exception_handlers={
                HTTPException: _http_error,
                InvalidParameterError: _bad_request,
                ValidationError: _bad_request,
                Exception: _failure,
            },
        )
        return Traffic(starlette, self.settings, self.faults, self.requests)

    async def _token(self, request: Request) -> Response:
        return await answer_token_request(request, self.settings, self.tokens)

    def _endpoint(self, root: str, style: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if root == "/v1":
                allowed, scheme = has_api_credentials(request, self.settings), 'Basic realm="sandbox"'
            else:
                allowed, scheme = has_oauth_token(request, self.tokens), 'Bearer error="invalid_token"'
            if not allowed:
                raise HTTPException(401, "credentials are missing or wrong", {"WWW-Authenticate": scheme})
            found = page(
                style,
                self.data,
                request.path_params["resource"],
                await _parameters(request),
                url=request.url,
                settings=self.settings,
            )
            return Response(orjson.dumps(found.body), 200, found.headers, "application/json")

        return answer


async def _parameters(request: Request) -> dict[str, Any]:
    parameters: dict[str, Any] = {k: v for k, v in request.query_params.items() if k != "api_key"}
    if body := await request.body():
        try:
            posted = orjson.loads(body)
        except orjson.JSONDecodeError:
            posted = None
        if not isinstance(posted, dict):
            raise InvalidParameterError("the body must be a JSON object of parameters")
        parameters |= posted
    return parameters


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps({"error": {"status": status, "message": message}})
    return Response(body, status, headers, "application/json")


def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, error.detail, error.headers)


def _bad_request(_request: Request, error: Exception) -> Response:
    return _error(400, str(error))


def _failure(_request: Request, error: Exception) -> Response:
    return _error(500, f"the sandbox itself failed: {error!r}")
