"""What the tests of reading share: a session that does not really wait, and ways to read pages through it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from dlt.sources.helpers.rest_client.client import RESTClient
from pydantic import TypeAdapter

from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.paginators import build_paginator
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import Client, Limits, Paginator, Retry

URL = "https://api.example.com/v1/rows"
SECRET = "s3cr/t key+1"


class Lab:
    """An `ApiSession` and what was seen of it."""

    def __init__(
        self,
        base_url: str = "https://api.example.com",
        *,
        retry: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        **client: Any,
    ) -> None:
        self.base_url = base_url
        self.waits: list[float] = []
        self.said: list[str | None] = []
        self.meter = Meter()
        self.meter.on_change = lambda meter: self.said.append(meter.waiting)
        self.redact = Redactor([SECRET])
        self.session = ApiSession(
            Client.model_validate({"base_url": base_url, **client}),
            Retry.model_validate(retry or {}),
            Limits.model_validate(limits or {}),
            self.redact,
            self.meter,
            sleep=self.waits.append,
        )

    def pages(
        self, path: str, paginator: Any, data_selector: str | None = "data", **request: Any
    ) -> list[list[Any]]:
        """All pages of an endpoint, read as dlt's REST source reads them."""
        described: Paginator = TypeAdapter(Paginator).validate_python(paginator)
        client = RESTClient(self.base_url, session=self.session)
        watched = build_paginator(described, data_selector, self.meter)
        found = client.paginate(path, paginator=watched, data_selector=data_selector, **request)
        return [list(page) for page in found]

    def rows(
        self, path: str, paginator: Any, data_selector: str | None = "data", **request: Any
    ) -> list[Any]:
        """All rows of an endpoint."""
        return [row for page in self.pages(path, paginator, data_selector, **request) for row in page]


@contextmanager
def raw_server(answers: Sequence[bytes]) -> Generator[str]:
    """A server that sends these very bytes, one answer a connection, and closes it; the last one goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = list(answers)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    with suppress(OSError):  # the client may have had enough
                        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()
