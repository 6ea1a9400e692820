"""When an answer is given up: where it is not whole in time (sockets only time each piece), or not wanted."""

from __future__ import annotations

import io
import socket
import threading
import time
import weakref
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any

from analytics_dagster.reading.errors import TooSlowError


class Deadline:
    """Gives up answers that are not whole in time, their headers included, and all when it is over.

    Args:
        seconds: From the moment when the request was sent.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._reading: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._changing = threading.Lock()
        self._over = False

    def keeping(self, connection: type[Any]) -> type[Any]:
        """A class of connections that keep to this deadline.

        Args:
            connection: urllib3's class, for http, https or a proxy.
        """
        deadline = self

        class Answer(HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
                super().__init__(sock, *args, **kwargs)
                deadline.begin(sock)
                self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock, deadline.seconds))

        return type(connection.__name__, (connection,), {"response_class": Answer})

    def begin(self, sock: socket.socket) -> None:
        """Take note of a socket that an answer is read from."""
        with self._changing:
            self._reading.add(sock)
            if self._over:
                _end(sock)

    def end(self) -> None:
        """Give up all answers, so that no thread waits for one any more."""
        with self._changing:
            self._over = True
            for sock in self._reading:
                _end(sock)


def _end(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        # Of the socket under TLS, which has no word for this: whoever reads finds the end.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _InTime(io.RawIOBase):
    """Reads from a socket until a deadline.

    Raises:
        TooSlowError: If there is more to come then.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, seconds: float) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left > 0:
            self._sock.settimeout(min(left, self._sock.gettimeout() or left))
            try:
                return self._raw.readinto(buffer)
            except TimeoutError:
                if time.monotonic() < self._deadline:
                    raise
        raise TooSlowError(f"the answer took longer than client.max_response_time ({self._seconds:g} s)")

    def close(self) -> None:
        self._raw.close()
        super().close()
