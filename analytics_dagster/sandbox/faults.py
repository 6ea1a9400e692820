"""Faults on request: what can go wrong with an answer, and which requests it happens to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PIECES = 20  # that a trickling answer comes in, at most


class Fault(BaseModel):
    """Something that goes wrong with the next requests to some path.

    Kinds: `status` answers with a status code; `slow` waits, then answers as usual; `trickle` sends the
    answer in small pieces with pauses; `reset` breaks the connection without any answer; `cut` closes it
    half-way through the body; `truncate` sends half of the body as if it were whole; `html` and `empty`
    answer 200 with an HTML page or with nothing.
    """

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    kind: Literal["status", "slow", "trickle", "reset", "cut", "truncate", "html", "empty"]
    match: str = "/"
    """What the request's path begins with."""
    skip: Annotated[int, Field(ge=0)] = 0
    """How many matching requests pass first."""
    first: Annotated[int, Field(ge=1)] = 1
    """How many matching requests are affected after that."""
    status: Annotated[int, Field(ge=200, le=599)] = 503
    """For kind status."""
    retry_after: str | None = None
    """Seconds or an HTTP date, for kind status."""
    body: Any = None
    """For kinds status and html: text, or else a value that is sent as JSON."""
    seconds: Annotated[float, Field(ge=0)] = 1
    """For kinds slow and trickle: how much longer the answer takes."""


class FaultQueue:
    """The faults to come. Those for one path happen one after another. Safe from any thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let a fault happen after those that are queued."""
        with self._lock:
            self._faults.append(fault.model_copy())

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults = []

    def pending(self) -> list[Fault]:
        """What has not happened yet; `skip` and `first` count down."""
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def take(self, path: str) -> Fault | None:
        """The fault that happens to a request just received, if any."""
        with self._lock:
            for fault in self._faults:
                if not path.startswith(fault.match):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.first -= 1
                if not fault.first:
                    self._faults.remove(fault)
                return fault
        return None


async def answer_with_fault(
    fault: Fault,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    reset: Callable[[], Awaitable[None]],
) -> None:
    """Answer a request the way a fault says; `reset` breaks the connection."""
    match fault.kind:
        case "slow":
            await asyncio.sleep(fault.seconds)
            await app(scope, receive, send)
        case "trickle":
            await _trickle(fault, app, scope, receive, send)
        case "reset":
            await reset()
        case "cut" | "truncate":
            await _send_half(fault, app, scope, receive, send)
        case "status":
            await _status_response(fault)(scope, receive, send)
        case "html":
            page = fault.body or "<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>"
            await HTMLResponse(page)(scope, receive, send)
        case "empty":
            await Response(b"", media_type="application/json")(scope, receive, send)


def _status_response(fault: Fault) -> Response:
    body = fault.body
    if body is None:
        body = {"error": {"status": fault.status, "message": "this fault was asked for"}}
    text = body if isinstance(body, str) else orjson.dumps(body)
    if fault.status in {204, 304}:  # HTTP allows these no body
        text = b""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    return Response(text, fault.status, headers, "application/json")


async def _trickle(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    start, body = await _answer(app, scope, receive)
    await send(start)
    size = len(body) // _PIECES + 1
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    for piece in pieces:
        await asyncio.sleep(fault.seconds / len(pieces))
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def _send_half(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    start, body = await _answer(app, scope, receive)
    half = body[: len(body) // 2]
    if fault.kind == "truncate":
        length = str(len(half)).encode()
        start["headers"] = [(k, length if k == b"content-length" else v) for k, v in start["headers"]]
    await send(start)
    # Returning while more is promised makes the server close the connection.
    await send({"type": "http.response.body", "body": half, "more_body": fault.kind == "cut"})


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The app's answer: its beginning, and all of its body."""
    start: Message = {}
    body = b""

    async def keep(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
        else:
            body += message.get("body", b"")

    await app(scope, receive, keep)
    return start, body
