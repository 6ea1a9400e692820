"""A time limit for a whole answer, which the time-outs of sockets are not: they begin anew with each byte."""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any

from analytics_dagster.reading.errors import TooSlowError


def in_time(connection: type[Any], seconds: float) -> type[Any]:
    """A class of connections that give up an answer that is not whole in time, its headers included.

    Args:
        connection: urllib3's class, for http, https or a proxy.
        seconds: From the moment when the request was sent.
    """

    class Answer(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock, seconds))

    return type(connection.__name__, (connection,), {"response_class": Answer})


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
