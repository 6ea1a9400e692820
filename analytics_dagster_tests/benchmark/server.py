"""The API that all contenders read: a process of its own that answers from a file, to cost next to nothing.

`GET /events?offset=&limit=&created_after=&created_before=` answers `{"data": […], "total": n}`. `GET /feed`
takes `cursor` in place of `offset`, and answers with the `next` cursor in place of a total. `GET /status`
says what the server has spent.
"""

from __future__ import annotations

import asyncio
import mmap
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import orjson


@dataclass(frozen=True)
class Status:
    """What a server has spent: seconds of CPU, and requests for rows."""

    cpu: float
    requests: int


class RunningServer:
    """A server that answers at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def status(self) -> Status:
        """What it has spent so far."""
        with urlopen(f"{self.url}/status") as answer:
            return Status(**orjson.loads(answer.read()))


@contextmanager
def serving(rows: Path, delay: float = 0) -> Generator[RunningServer]:
    """Serve rows in a process of its own.

    Args:
        rows: A file with a row as JSON on each line, in the order of `created_at`.
        delay: Seconds that each answer takes; requests do not wait for each other.
    """
    command = [sys.executable, "-m", __name__, str(rows.absolute()), str(delay)]
    with Popen(command, stdout=PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout
            yield RunningServer(process.stdout.readline().strip())
        finally:
            process.terminate()


class _Rows:
    """Rows as they are in a file, of which a page is one slice."""

    def __init__(self, path: Path) -> None:
        self._starts = array("Q", [0])
        with path.open("rb") as file:
            for line in file:
                self._starts.append(self._starts[-1] + len(line))
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def page(self, query: dict[str, list[str]], *, is_feed: bool) -> bytes:
        first = self._first_from(query.get("created_after"), 0)
        end = self._first_from(query.get("created_before"), len(self._starts) - 1)
        offset, limit = (
            int(query.get("cursor" if is_feed else "offset", ["0"])[0]),
            int(query.get("limit", ["100"])[0]),
        )
        start, stop = (min(first + number, end) for number in (offset, offset + limit))
        rows = self._bytes[self._starts[start] : self._starts[stop]].rstrip(b"\n").replace(b"\n", b",")
        if is_feed:
            following = b'"%d"' % (offset + limit) if stop < end else b"null"
            return b'{"data":[%b],"next":%b}' % (rows, following)
        return b'{"data":[%b],"total":%d}' % (rows, end - first)

    def _first_from(self, instant: list[str] | None, otherwise: int) -> int:
        if instant is None:
            return otherwise
        return bisect_left(range(len(self._starts) - 1), instant[0].rstrip("Z"), key=self._created_at)

    def _created_at(self, number: int) -> str:
        row = orjson.loads(self._bytes[self._starts[number] : self._starts[number + 1]])
        return row["created_at"]


class _Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as clients that only GET need; the connection stays open."""

    requests = 0

    def __init__(self, rows: _Rows, delay: float) -> None:
        self._rows = rows
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            url = urlsplit(head.split(b" ", 2)[1].decode())
            if url.path == "/status":
                self._answer(orjson.dumps(Status(time.process_time(), _Connection.requests)))
                continue
            _Connection.requests += 1
            body = self._rows.page(parse_qs(url.query), is_feed=url.path == "/feed")
            asyncio.get_running_loop().call_later(self._delay, self._answer, body)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.writelines([head, body])


async def _serve(path: Path, delay: float) -> None:
    rows = _Rows(path)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(rows, delay), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - for who started it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
