"""One request over the wire: to allowed origins only, within the budget, answered whole and not too large."""

from __future__ import annotations

import codecs
import re
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import requests
from requests.adapters import HTTPAdapter

from analytics_dagster.reading.budget import Budget
from analytics_dagster.reading.csv_table import DOCUMENT
from analytics_dagster.reading.deadline import Deadline
from analytics_dagster.reading.decode import decode, decode_json
from analytics_dagster.reading.disk import disk_full, refuse_full
from analytics_dagster.reading.errors import LoadError, RefusedError, TooLargeError
from analytics_dagster.reading.formats import SAMPLE, Documents, Format
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.origins import Origins, without_query
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Client, Limits, PastEnd

# What unpacks brotli before its version 1.2 makes as much of a few bytes as they ask for.
ENCODINGS = ("gzip", "deflate")
"""The content encodings that answers may have, which Python unpacks piece by piece."""

_TIMEOUT = (15, 120)  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 18  # bytes
_SHOWN = 500  # characters of a body in a message
_BEGINNING = 1 << 16  # bytes of a spooled body that are at hand for messages and rules
_MOST_PARTS = 10_000_000
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"}  # Python's own
_TOKEN = re.compile(r"""((?:access|refresh|id)_token[^\w,]{1,9})[^\s"'&,}\\<]+""", re.IGNORECASE)
_SEARCHED = 1 << 20  # bytes of a body in which secrets are hidden before it is cut for a message


class Answer(requests.Response):
    """A response whose body was read once, within a limit, and is decoded once.

    `has_no_rows` says that there are none in it, whatever it looks like, and `is_last` that no page follows.
    """

    redact: Redactor
    has_no_rows = False
    is_last = False
    past_end: PastEnd | None = None
    """What the file says of an answer like this one: there is no such page."""
    hint: str | None = None
    """What to do where this one is a refusal; None for what its status means in general."""
    documents: Documents | None = None
    is_plain = False
    """Whether it is decoded and dlt surely keeps all of its values as they are."""
    _document: Any = None
    _decoded = False

    def read(self, limit: int) -> None:
        """Read the whole body.

        Args:
            limit: The most bytes the body may have once it is unpacked.

        Raises:
            TooLargeError: If it has more, or so many lists and objects that they would fill the memory.
        """
        body = bytearray()
        for piece in self.iter_content(_PIECE):
            body += piece
            if len(body) > limit:
                self.close()
                raise TooLargeError(
                    f"the answer is larger than client.max_response_bytes ({limit:,} bytes). Ask for smaller"
                    " pages, or raise the limit in the API file"
                )
        # Each takes twenty times as much when it is decoded, and more on its way through dlt.
        if body.count(b"[") + body.count(b"{") > _MOST_PARTS:
            raise TooLargeError(
                f"the answer has more than {_MOST_PARTS:,} lists and objects. Ask for smaller pages"
            )
        self._content = bytes(body)

    def spool(self, how: Format, limit: int, *, sample: bool, tell: Callable[[str | None], object]) -> None:
        """Write the whole body into a file without a name, which is gone with the answer.

        Args:
            how: What the body should be.
            limit: The most bytes that one document of JSON may have.
            sample: Read no more than a beginning where that can be understood.
            tell: Called with what is under way.

        Raises:
            TooLargeError: If it is larger than `response.max_bytes`.
            LoadError: If there is no room for it.
        """
        file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed with the documents
        most = how.response.max_bytes
        takes_sample = sample and how.response.kind != "json" and not how.response.is_zip
        self.documents = Documents(
            file,
            how,
            self.charset,
            limit,
            is_unpacked="gzip" in self.headers.get("Content-Encoding", ""),
            shows=not self.redact.hides_bodies,
        )
        size, told = 0, time.monotonic()
        for piece in self.iter_content(_PIECE):
            if not size:
                self._content = piece[:_BEGINNING]
            size += len(piece)
            if size > most:
                self.close()
                raise TooLargeError(
                    f"the answer is larger than response.max_bytes ({most:,} bytes). Ask for smaller windows,"
                    " or raise the limit in the API file"
                )
            try:
                file.write(piece)
            except OSError as error:
                raise LoadError(f"{disk_full(tempfile.gettempdir())} ({error.strerror})") from None
            if takes_sample and size > SAMPLE:
                self.documents.is_sample = True
                self.close()
                break
            if time.monotonic() - told > 1:
                refuse_full(tempfile.gettempdir())
                tell(f"downloading, {size / 1e6:,.0f} MB so far")
                told = time.monotonic()
        if not size:
            self._content = b""
        self._content_consumed = True
        tell(None)

    def json(self, **_: Any) -> Any:
        """The decoded body, which dlt's client asks for several times a page; an empty list for a 204.

        Of a body that holds several documents, the one whose turn it is.

        Raises:
            ValueError: If the body is not JSON.
        """
        if self.documents and not self.has_no_rows:
            # Rules look before that at what may be an error in place of rows.
            return self.documents.current if self.documents.is_begun else decode_json(self.content)
        if not self._decoded:
            # 202 says that something is not there yet.
            is_empty = self.status_code == 204 or (self.status_code == 202 and not self.content)
            self._document, self.is_plain = ([], True) if is_empty else decode(self.content, self.charset)
            self._decoded = True
        return self._document

    def empty(self, *, is_last: bool) -> None:
        """Take it for an answer without rows.

        Args:
            is_last: Whether no page follows.
        """
        self.has_no_rows, self.is_last = True, is_last
        self._document, self._decoded = [], True

    @property
    def weight(self) -> int:
        """The bytes that a page of it takes at most, before they are decoded."""
        return DOCUMENT if self.documents else len(self.content)

    def beginning(self) -> str:
        """The first part of the body, without secrets, as a line of a message."""
        asked = (self.history or [self])[0].request
        if self.ok and vars(asked).get("answer_is_secret"):
            return "The body is not shown: it may hold a token that nobody knows yet."
        if self.redact.hides_bodies:
            return "The body is not shown, as `records` hides some of it."
        text = self.redact(self.content[:_SEARCHED].decode(self.charset, "replace"))
        text = _TOKEN.sub(r"\1***", text)  # nobody knows a token yet that stands in a damaged answer
        text = re.sub(r"\s+", " ", text).strip()
        more = "…" if len(text) > _SHOWN else ""
        return f"The body began: {text[:_SHOWN]}{more}" if text else "The body was empty."

    @property
    def charset(self) -> str:
        """The encoding that the answer names, if it is a known one; else UTF-8, as JSON is by rule."""
        named = re.search(r"charset=[\"']?([\w.:-]+)", self.headers.get("Content-Type", ""), re.IGNORECASE)
        try:
            found = codecs.lookup(named[1]).name if named else "utf-8"
            found.encode(found)  # which fails for what is no encoding of text, such as zlib
        except (LookupError, ValueError):
            return "utf-8"
        return "utf-8" if found in _NO_CHARSETS else found


class Wire(HTTPAdapter):
    """Sends each single request, those of a redirect too.

    Args:
        client: The file's `client`, its templates resolved.
        limits: The file's `limits`.
        redact: Hides secrets in messages.
        meter: Counts requests and bytes.
        budget: Holds requests back.
        closed: Set when nobody wants an answer any more.
        sample: Read no more than the beginning of exports.
    """

    def __init__(
        self,
        client: Client,
        limits: Limits,
        redact: Redactor,
        meter: Meter,
        budget: Budget,
        closed: threading.Event,
        *,
        sample: bool = False,
    ) -> None:
        super().__init__(pool_maxsize=limits.concurrency)
        self._origins = Origins(client.base_url, client.allowed_hosts)
        self._budget = budget
        self._closed = closed
        self._max_bytes = client.max_response_bytes
        self._deadline = Deadline(client.max_response_time.total_seconds())
        self._max_pages = limits.pages
        self._redact = redact
        self._meter = meter
        self._sample = sample

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Answer:
        """Send one request and read its answer.

        `format` among the settings says what the body is, and that it goes to disk.

        Raises:
            ForbiddenOriginError: If it would go to a foreign origin.
            RefusedError: If the answer is packed in a way that was not asked for.
            TooLargeError: If the answer is larger than allowed, or too many pages were read before.
            TooSlowError: If it takes longer than allowed.
            requests.RequestException: If no whole answer comes.
        """
        how: Format | None = kwargs.pop("format", None)
        self._origins.check(request.url or "")
        if self._meter.pages >= self._max_pages:
            raise TooLargeError(
                f"this load has read {self._meter.pages:,} pages, which is limits.pages in the API file, and"
                " there is no end of them. Check the paginator, load smaller windows, or raise limits.pages"
            )
        with self._budget.request(self._meter.wait, self._closed):
            self._meter.add(requests=1)
            kwargs |= {"stream": True, "timeout": kwargs.get("timeout") or _TIMEOUT}
            answer = super().send(request, *args, **kwargs)
            assert isinstance(answer, Answer)
            self._check_encoding(answer)
            if how and answer.ok and not answer.is_redirect and answer.status_code != 204:
                answer.spool(how, self._max_bytes, sample=self._sample, tell=self._meter.wait)
                return answer  # whose documents are counted as they are decoded
            answer.read(self._max_bytes)
        self._meter.add(size=len(answer.content))
        return answer

    def close(self) -> None:
        """Give up all answers, and close all connections."""
        self._deadline.end()
        super().close()

    def _check_encoding(self, answer: Answer) -> None:
        sent = answer.headers.get("Content-Encoding", "")
        if {name.strip().lower() for name in sent.split(",")} <= {"", "identity", *ENCODINGS}:
            return
        answer.close()
        raise RefusedError(
            self._redact(
                f"{without_query(answer.url)} answered in the content encoding `{sent}`, and"
                f" {' or '.join(ENCODINGS)} was asked for. Remove an Accept-Encoding from the headers in the"
                " API file; if there is none, the API does not keep to HTTP: ask its makers."
            )
        )

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The connections that a request may use."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):  # a new one
            pool.ConnectionCls = self._deadline.keeping(pool.ConnectionCls)
        return pool

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Answer:
        """An `Answer` from what the wire brings."""
        answer = Answer()
        vars(answer).update(vars(super().build_response(req, resp)))
        answer.redact = self._redact
        # For `response_actions`, which look at the text: guessing would be slow and often wrong.
        answer.encoding = answer.charset
        return answer
