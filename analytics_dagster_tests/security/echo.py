"""An API that repeats what it was sent in everything it answers, as careless ones do."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request to `/KIND/WAY`; `host` is the one that it was meant for."""

    kind: str
    way: str
    host: str
    line: str
    headers: str
    body: str

    def echo(self) -> str:
        return f"{self.line}\n{self.headers}\n{self.body}"


class EchoApi:
    """The API's address, another origin's, and what both were sent."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.elsewhere = f"http://localhost:{port}"
        self.received: list[Received] = []


@contextmanager
def echo_api(token_of: Callable[[str], str]) -> Generator[EchoApi]:
    """An API that answers `/KIND/WAY`, where the way says how it fails, and gives tokens at `/KIND/token`.

    Args:
        token_of: The token that is given to a kind of credentials.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, kind, way = self.path.partition("?")[0].split("/")
            headers = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            request = Received(kind, way, self.headers["Host"], self.requestline, headers, body)
            api.received.append(request)
            self._answer(request)

        do_POST = do_GET  # noqa: N815 - the name that it has

        def _answer(self, request: Received) -> None:  # noqa: PLR0912 - a case for each way
            echo = request.echo()
            token = token_of(request.kind)
            row = {"id": echo, "value": echo, "other": {"echo": echo}}
            match request.way.split("_"):
                case ["token"]:
                    self._send({"access_token": token, "refresh_token": f"again {token}"})
                case ["ok"]:
                    self._send({"data": [{"id": 1, "value": 1}]})
                case ["contract"]:
                    self._send({"data": [row]})
                case ["error"]:
                    self._send({"error": echo})
                case ["status", status]:
                    self._send({"error": echo}, int(status), X_Echo=_one_line(echo))
                case ["html"]:
                    self._send(f"<p>{html.escape(echo)}</p>")
                case ["json"]:
                    self._send(json.dumps({"access_token": token, "data": [row]})[:-3])
                case ["cut"]:
                    self._send({"data": echo}, Content_Length="99999")
                case ["type"]:
                    self._send("?", Content_Type=f"text/plain; {_one_line(echo)}")
                case ["redirect"]:
                    self._send({}, 307, Location=f"{api.elsewhere}{self.path}")
                case ["loop"]:
                    self._send({}, 307, Location=f"{api.url}{self.path}")
                case ["next"]:
                    self._send({"data": [{"id": 1, "value": 1}], "next": f"{api.elsewhere}{self.path}"})
                case ["reset"]:
                    self.close_connection = True
                case ["slow"]:
                    over.wait()
                    self.close_connection = True
                case _:
                    raise AssertionError(request)

        def _send(self, document: Any, status: int = 200, **headers: str) -> None:
            body = (document if isinstance(document, str) else json.dumps(document)).encode()
            self.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            with suppress(OSError):  # the client may have had enough
                self.wfile.write(body)
            self.close_connection |= "Content_Length" in headers

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api = EchoApi(server.server_address[1])
    over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _one_line(text: str) -> str:
    return " ".join(text.split())
