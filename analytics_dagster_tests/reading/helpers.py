"""What the tests of reading share: a session that does not really wait, and ways to read pages through it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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
        redact: Redactor | None = None,
        **client: Any,
    ) -> None:
        self.base_url = base_url
        self.waits: list[float] = []
        self.said: list[str | None] = []
        self.meter = Meter()
        self.meter.on_change = lambda meter: self.said.append(meter.waiting)
        self.redact = redact or Redactor([SECRET])
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
        """All pages of an endpoint."""
        return list(self.paging(path, paginator, data_selector, **request))

    def paging(
        self, path: str, paginator: Any, data_selector: str | None = "data", **request: Any
    ) -> Iterator[list[Any]]:
        """The pages of an endpoint, one after another, read as dlt's REST source reads them."""
        described: Paginator = TypeAdapter(Paginator).validate_python(paginator)
        client = RESTClient(self.base_url, session=self.session)
        names = ("required", "key", "completion", "watched")
        how = {name: request.pop(name) for name in names if name in request}
        watched = build_paginator(described, data_selector, self.session, **how)
        found = client.paginate(path, paginator=watched, data_selector=data_selector, **request)
        return map(list, found)

    def rows(
        self, path: str, paginator: Any, data_selector: str | None = "data", **request: Any
    ) -> list[Any]:
        """All rows of an endpoint."""
        return [row for page in self.pages(path, paginator, data_selector, **request) for row in page]


@contextmanager
def no_reader_left() -> Generator[None]:
    """What happens inside must not leave a thread that sends requests ahead of their turn."""
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in set(threading.enumerate()) - before if "ahead" in thread.name]


@contextmanager
def raw_server(answers: Sequence[bytes | Callable[[], Iterator[bytes]]]) -> Generator[str]:
    """A server that sends these very bytes, one answer a connection, and closes it; the last one goes on.

    An answer may be made while it is sent.
    """
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
                        answer = left.pop(0) if len(left) > 1 else left[0]
                        for piece in [answer] if isinstance(answer, bytes) else answer():
                            connection.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


Answer = tuple[Any, dict[str, str]]
"""A document (bytes as they are, anything else as JSON) and headers."""


@dataclass(frozen=True)
class Asked:
    """What a server was asked."""

    path: str
    query: dict[str, str]
    headers: Message
    body: bytes
    method: str

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def served(answer: Callable[[dict[str, str]], Answer]) -> AbstractContextManager[str]:
    """A server that answers each request by its query; `:status` among the headers is the status."""
    return served_whole(lambda asked: answer(asked.query))


@contextmanager
def served_whole(answer: Callable[[Asked], Answer]) -> Generator[str]:
    """A server that answers each request; `:status` among the headers is the status."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer leaves as a whole, else the kernel holds its end back

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = dict(parse_qsl(url.query))
            document, headers = answer(Asked(url.path, query, self.headers, sent, self.command))
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(int(headers.get(":status", 200)))
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                if not name.startswith(":"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that it has

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PAGINATORS: dict[str, dict[str, Any]] = {
    "offset": {"type": "offset", "limit": 100},
    "page_number": {"type": "page_number"},
    "json_link": {"type": "json_link"},
    "header_link": {"type": "header_link"},
    "cursor": {"type": "cursor", "cursor_path": "next"},
    "header_cursor": {"type": "header_cursor", "cursor_key": "X-Next"},
    "auto": {"type": "auto"},
    "single_page": {"type": "single_page"},
}
"""The paginators of a file that fit the styles of `PagedApi`."""


class PagedApi:
    """An API with rows, which it cuts into pages in one of the styles of `PAGINATORS`.

    Args:
        style: How the next page is found.
        rows: The rows; a test may change them between requests.
        size: How many rows a page has at most.
        around: What stands around a page's rows.
    """

    def __init__(
        self,
        style: str,
        rows: int | list[Any] = 250,
        size: int = 100,
        around: Callable[[list[Any]], dict[str, Any]] = lambda _: {},
    ) -> None:
        self.style = style
        self.rows = [{"id": n} for n in range(rows)] if isinstance(rows, int) else rows
        self.size = size
        self.around = around
        self.asked: list[dict[str, str]] = []
        self.before_page: Callable[[int], object] = lambda _: None
        self.endless = False
        self.url = ""

    def __call__(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        self.before_page(len(self.asked))
        size = self.size
        if self.style == "offset":
            start, size = int(query["offset"]), min(size, int(query["limit"]))
        else:
            start = int(query.get("cursor") or query.get("page", "0")) * size
        page = self.rows[start : start + size] if self.style != "single_page" else self.rows[:size]
        if self.endless and not page:
            page = [{"id": start + n} for n in range(size)]
        document: dict[str, Any] = {"data": page, **self.around(page)}
        follows = str(start // size + 1) if self.endless or start + size < len(self.rows) else None
        match self.style:
            case "json_link" | "auto":
                document["next"] = follows and f"{self.url}/rows?cursor={follows}"
            case "header_link":
                link = f'<{self.url}/rows?cursor={follows}>; rel="next"'
                return document, {"Link": link} if follows else {}
            case "cursor":
                document["next"] = follows
            case "header_cursor":
                return document, {"X-Next": follows or ""}
            case _:
                pass
        return document, {}

    def read(self, paginator: Any = None, **how: Any) -> list[Any]:
        """All rows, as a file with this paginator gets them; by default with the one of the style."""
        with served(self) as self.url:
            return Lab(self.url).rows("/rows", paginator or PAGINATORS[self.style], **how)
