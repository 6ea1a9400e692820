"""A server that wants to know who asks: it gives out tokens in several ways, and remembers every request."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter

from analytics_dagster.reading.auth import build_auth
from analytics_dagster.spec import Auth
from analytics_dagster_tests.reading.helpers import Lab


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    written_query: str
    headers: dict[str, str]
    body: str

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.written_query))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = tuple[int, Any]
"""A status and a document; bytes are sent as they are."""


class Door:
    """Answers `/token` by `grant`, anything else if `lets_in` says so, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self.grant: Callable[[Asked], Reply] = lambda _: (200, {"access_token": "tok-1"})
        self.lets_in: Callable[[Asked], bool] = lambda _: True
        self.rows: list[Any] = [{"id": 1}]

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if asked.path.startswith("/token"):
            return self.grant(asked)
        if self.lets_in(asked):
            return 200, self.rows
        return 401, {"you sent": [asked.query, asked.headers]}

    def at(self, path: str) -> list[Asked]:
        """The requests that came for a path."""
        return [asked for asked in self.asked if asked.path == path]

    def read(self, auth: dict[str, Any], lab: Lab | None = None, path: str = "/rows") -> Any:
        """Ask for rows, as a file with this `auth` does."""
        lab = lab or Lab(self.url)
        return lab.session.get(self.url + path, auth=signer(auth, lab)).json()


def signer(auth: dict[str, Any], lab: Lab) -> Any:
    """What signs the requests of a file with this `auth`."""
    adapter: TypeAdapter[Auth] = TypeAdapter(Auth)
    return build_auth(
        adapter.validate_python(auth), lambda url: Lab(url, redact=lab.redact).session, lab.redact
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that does not trust the server hangs up."""


@contextmanager
def door(given: Door | None = None, tls: ssl.SSLContext | None = None) -> Generator[Door]:
    """A door that is open for the time of a test."""
    found = given or Door()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer leaves as a whole, else the kernel holds its end back

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, url.path, url.query, headers, body)
            status, document = found(asked)
            answer = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the names that the server looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        found.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
