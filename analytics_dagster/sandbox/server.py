"""Serving a sandbox: until interrupted, or in a thread beside other code."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from analytics_dagster.sandbox.app import Sandbox
from analytics_dagster.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    import uvicorn

_SECONDS_TO_START = 30


class RunningSandbox(Sandbox):
    """A sandbox that answers at `url`."""

    def __init__(self, settings: SandboxSettings | None, url: str) -> None:
        super().__init__(settings)
        self.url = url


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: SandboxSettings | None = None,
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a sandbox until interrupted (Ctrl-C or SIGTERM).

    Args:
        host: The address to listen on.
        port: The port, or 0 for a free one.
        settings: What the sandbox is like.
        ready: Called with the URL as soon as the port is taken.

    Raises:
        OSError: If nothing can listen there, because the port is in use for example.
    """
    with _listen(host, port) as listener, suppress(KeyboardInterrupt):
        sandbox = RunningSandbox(settings, _url(listener))
        if ready:
            ready(sandbox.url)
        _server(sandbox).run([listener])


@contextmanager
def running_sandbox(settings: SandboxSettings | None = None, port: int = 0) -> Generator[RunningSandbox]:
    """Serve a sandbox on the loopback interface in a thread of its own, as long as the context lasts.

    Args:
        settings: What the sandbox is like.
        port: The port, or 0 for a free one.

    Raises:
        OSError: If the port is in use.
        RuntimeError: If the server does not start.
    """
    with _listen("127.0.0.1", port) as listener:
        sandbox = RunningSandbox(settings, _url(listener))
        server = _server(sandbox)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield sandbox
        finally:
            server.should_exit = True
            thread.join()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        reason = f"the sandbox cannot listen on {host}, port {port}: {error.strerror}"
        raise OSError(error.errno, reason) from error
    # Connections inherit this. Without it, and without uvloop, each small answer waits 40 ms for the
    # client's acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(sandbox: Sandbox) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - needed by those who serve alone, and slow to import

    config = uvicorn.Config(
        sandbox.app(),
        lifespan="off",
        ws="none",
        log_config=None,
        # A connection that is cut on purpose counts as an error; the sandbox's own errors are in its answers.
        log_level="critical",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the sandbox did not start; its thread's traceback says why")
        time.sleep(0.002)
