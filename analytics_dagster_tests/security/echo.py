"""An API that repeats what it was sent in everything it answers, as careless ones do."""

from __future__ import annotations

import html
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EchoApi:
    """The API's address, and what it was sent: request lines, headers and bodies."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.elsewhere = f"http://localhost:{port}"
        self.received: list[str] = []


@contextmanager
def echo_api() -> Generator[EchoApi]:
    """An API with a path for each way to fail: `/ok`, `/status-404`, `/html`, `/redirect`, ….

    `POST /token` gives tokens out; a `POST` to another path fails like a `GET`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                api.received.append(f"{self.requestline}\n{self.headers}\n{body.decode()}")
                self._send(200, {"access_token": f"fetched/{TOKEN}", "refresh_token": TOKEN})
            else:
                self._answer(body)

        def _answer(self, body: bytes) -> None:  # noqa: PLR0912 - one case for each way to fail
            echo = f"{self.requestline}\n{self.headers}\n{body.decode()}"
            api.received.append(echo)
            query = self.path.partition("?")[2]
            match self.path.partition("?")[0].strip("/").split("-"):
                case ["ok"]:
                    self._send(200, {"data": [{"id": 1, "value": 1}]})
                case ["contract"]:
                    self._send(200, {"data": [{"id": echo, "value": echo, "other": {"echo": echo}}]})
                case ["selector"]:
                    self._send(200, {"error": echo})
                case ["html"]:
                    self._send(200, f"<p>{html.escape(echo)}</p>".encode())
                case ["cut"]:
                    self._send(200, {"data": echo}, **{"Content-Length": "99999"})
                case ["json"]:
                    self._send(200, json.dumps({"data": [{"id": 1, "echo": echo}]}).encode()[:-3])
                case ["header"]:
                    self._send(200, b"?", **{"Content-Type": f"text/{query or 'x'}; " + _one_line(echo)})
                case ["redirect"]:
                    self._send(302, {}, Location=f"{api.elsewhere}/ok?{query}")
                case ["loop"]:
                    self._send(302, {}, Location=f"{api.url}{self.path}")
                case ["next"]:
                    row = {"data": [{"id": 1}], "next": f"{api.elsewhere}/ok?{query}"}
                    self._send(200, row)
                case ["reset"]:
                    self.close_connection = True
                case ["slow"]:
                    time.sleep(2)
                    self._send(200, {"data": []})
                case ["status", status]:
                    self._send(int(status), {"error": echo}, **{"X-Echo": _one_line(echo)})
                case _:
                    raise AssertionError(self.path)

        def _send(self, status: int, document: Any, **headers: str) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the client may have had enough
                self.wfile.write(body)
            self.close_connection = "Content-Length" in headers

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api = EchoApi(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


TOKEN = "f3tched+t0ken/of=the&day"
"""Part of the token that `POST /token` gives out, and as secret as the others."""


def _one_line(text: str) -> str:
    return " ".join(text.split())
