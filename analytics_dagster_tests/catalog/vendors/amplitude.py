"""Amplitude's Export API: a ZIP of gzipped files of lines, for the hours from one to another, both inclusive.

https://amplitude.com/docs/apis/analytics/export
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from base64 import b64encode
from itertools import groupby
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Amplitude:
    """A project and its events.

    Args:
        events: As Amplitude sends them, with `server_upload_time` as text.
        cap: The most events of an export, in place of 4 GB.
    """

    key = "amplitude-k3y"
    secret = "amplitude-s3cret"

    def __init__(self, events: list[dict[str, Any]], cap: int = 1_000_000) -> None:
        self.events = events
        self.cap = cap
        self.slow: set[str] = set()  # hours to start at that take too long with others
        self.asked: list[tuple[str, str]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/2/export", self._export)])

    async def _export(self, request: Request) -> Response:
        basic = b64encode(f"{self.key}:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return _error(403, "Invalid API credentials")
        start, end = request.query_params["start"], request.query_params["end"]
        self.asked.append((start, end))
        found = sorted((event for event in self.events if start <= _hour(event) <= end), key=_hour)
        if not found:
            return _error(404, "Raw data files were not found.")
        if len(found) > self.cap:
            return _error(400, "Request would return more than 4GB of data. Please choose a smaller range.")
        if start in self.slow and start != end:
            return Response("<html>504 Gateway Time-out</html>", 504)
        return Response(_archive(found), media_type="application/zip")


def _archive(events: list[dict[str, Any]]) -> bytes:
    """A file for each hour, as Amplitude names them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for hour, of_hour in groupby(events, _hour):
            lines = "".join(f"{json.dumps(event)}\n" for event in of_hour)
            name = f"100001/100001_{hour[:4]}-{hour[4:6]}-{hour[6:8]}_{int(hour[9:])}#0.json.gz"
            archive.writestr(name, gzip.compress(lines.encode()))
    return packed.getvalue()


def _hour(event: dict[str, Any]) -> str:
    """`2024-01-31 05:59:59.999000` as `20240131T05`."""
    return event["server_upload_time"][:13].replace("-", "").replace(" ", "T")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"http_code": status, "message": message}}, status)
