"""Servers that say what an API should not say, and keep what they receive."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from threading import Thread
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A request: its path with the query, its headers in lower case, its body and its method."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "GET"


class Server:
    """A server that is running.

    Args:
        url: Where.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []


Answer = tuple[int, dict[str, str], Any]
"""A status, headers and a body: bytes as they are, anything else as JSON."""


@contextmanager
def serving(answer: Callable[[Received], Answer], certificate: str | None = None) -> Generator[Server]:
    """A server that answers each request.

    Args:
        answer: Makes the answer.
        certificate: A file with certificate and key, for https.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer leaves as a whole, else the kernel holds its end back

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            request = Received(self.path, headers, body, self.command)
            server.received.append(request)
            status, sent, document = answer(request)
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **sent}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_PATCH = do_QUERY = do_SEARCH = do_GET  # noqa: N815 - the names that they have

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    scheme = "http"
    if certificate:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        scheme = "https"
    server = Server(f"{scheme}://127.0.0.1:{listener.server_address[1]}")
    thread = Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
