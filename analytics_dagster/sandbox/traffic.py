"""What happens to every request around its answer: it is recorded, held back, and given its fault."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics_dagster.sandbox.faults import FaultQueue, answer_with_fault
from analytics_dagster.sandbox.settings import SandboxSettings

_KEPT_RECORDS = 20_000


@dataclass(slots=True)
class RequestRecord:
    """One request to the API, as it was received and answered."""

    time: float
    """When it came, in seconds since 1970."""
    method: str
    path: str
    query: dict[str, str]
    """Without the API key."""
    status: int = 0
    """0 until the answer begins."""
    seconds: float = 0
    """How long the answer took."""
    fault: str | None = None


class RequestLog:
    """The latest requests. Safe from any thread."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT_RECORDS)
        self._lock = threading.Lock()

    def add(self, record: RequestRecord) -> None:
        """Keep a record; the oldest one is dropped where there are too many."""
        with self._lock:
            self._records.append(record)

    def list(self, match: str = "/") -> list[RequestRecord]:
        """The requests whose path begins with `match`, in the order they came in."""
        with self._lock:
            return [record for record in self._records if record.path.startswith(match)]

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._records.clear()


class Traffic:
    """The ASGI app around the API; what is asked of /control is left alone."""

    def __init__(
        self, app: ASGIApp, settings: SandboxSettings, faults: FaultQueue, requests: RequestLog
    ) -> None:
        self._app = app
        self._latency = settings.latency
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/control/"):
            await self._app(scope, receive, send)
            return
        fault = self._faults.take(scope["path"])
        began = time.perf_counter()
        record = _record(scope)
        record.fault = fault.kind if fault else None
        self._requests.add(record)

        async def send_and_record(message: Message) -> None:
            # Recorded before it is sent, so that a client that has its answer finds the record complete.
            record.status = message.get("status", record.status)
            record.seconds = time.perf_counter() - began
            await send(message)

        if self._latency:
            await asyncio.sleep(self._latency)
        if fault:
            await answer_with_fault(fault, self._app, scope, receive, send_and_record, lambda: _reset(send))
        else:
            await self._app(scope, receive, send_and_record)


async def _reset(send: Send) -> None:
    """Break a connection; ASGI has no word for that, so it takes uvicorn's own object."""
    transport: asyncio.Transport = cast("Any", send).__self__.transport
    at_once = struct.pack("ii", 1, 0)  # linger: yes, for 0 seconds
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()
    await asyncio.sleep(0)  # uvicorn hears of it, and answers nothing


def _record(scope: Scope) -> RequestRecord:
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    query.pop("api_key", None)
    return RequestRecord(time.time(), scope["method"], scope["path"], query)
