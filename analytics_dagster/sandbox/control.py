"""The paths under /control, by which a test changes the data, causes faults and sees what was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from analytics_dagster.sandbox.auth import Tokens
from analytics_dagster.sandbox.data import SandboxData, View
from analytics_dagster.sandbox.faults import Fault, FaultQueue
from analytics_dagster.sandbox.traffic import RequestLog

_ROWS_AT_ONCE = 1_000


class _Update(BaseModel):
    model_config = ConfigDict(extra="forbid")

    resource: str
    ids: list[str] | None = None
    count: int | None = None
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class _Deletion(BaseModel):
    model_config = ConfigDict(extra="forbid")

    resource: str
    ids: list[str]


def control_routes(
    data: SandboxData, faults: FaultQueue, requests: RequestLog, tokens: Tokens
) -> list[Route]:
    """The routes under /control. They take no credentials and no faults happen to them."""

    async def update(request: Request) -> Response:
        asked = _Update.model_validate_json(await request.body())
        return _json({"updated": data.update(asked.resource, ids=asked.ids, count=asked.count, at=asked.at)})

    async def delete(request: Request) -> Response:
        asked = _Deletion.model_validate_json(await request.body())
        return _json({"deleted": data.delete(asked.resource, asked.ids)})

    async def truth(request: Request) -> Response:
        view = data.view(request.path_params["resource"], **request.query_params)
        return StreamingResponse(_lines(view), media_type="application/x-ndjson")

    async def add_fault(request: Request) -> Response:
        faults.add(Fault.model_validate_json(await request.body()))
        return await list_faults(request)

    async def list_faults(_request: Request) -> Response:
        return _json({"faults": [fault.model_dump() for fault in faults.pending()]})

    async def clear_faults(request: Request) -> Response:
        faults.clear()
        return await list_faults(request)

    async def list_requests(request: Request) -> Response:
        records = requests.list(request.query_params.get("match", "/"))
        return _json({"count": len(records), "requests": [asdict(record) for record in records]})

    async def clear_requests(request: Request) -> Response:
        requests.clear()
        return await list_requests(request)

    async def revoke_tokens(_request: Request) -> Response:
        return _json({"revoked": tokens.revoke_all()})

    return [
        Route("/control/update", update, methods=["POST"]),
        Route("/control/delete", delete, methods=["POST"]),
        Route("/control/truth/{resource}", truth, methods=["GET"]),
        Route("/control/faults", add_fault, methods=["POST"]),
        Route("/control/faults", list_faults, methods=["GET"]),
        Route("/control/faults", clear_faults, methods=["DELETE"]),
        Route("/control/requests", list_requests, methods=["GET"]),
        Route("/control/requests", clear_requests, methods=["DELETE"]),
        Route("/control/revoke-tokens", revoke_tokens, methods=["POST"]),
    ]


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


async def _lines(view: View) -> AsyncIterator[bytes]:
    for offset in range(0, len(view), _ROWS_AT_ONCE):
        rows = view.rows(offset, _ROWS_AT_ONCE)
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
