"""One request over the wire: to allowed origins only, within the budget, answered whole and not too large."""

from __future__ import annotations

import codecs
import re
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from analytics_dagster.reading.budget import Budget
from analytics_dagster.reading.decode import decode_json
from analytics_dagster.reading.errors import TooLargeError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.origins import Origins
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Client, Limits

_TIMEOUT = (15, 120)  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 16  # bytes
_SHOWN = 500  # characters of a body in a message
_SEARCHED = 1 << 20  # bytes of a body in which secrets are hidden before it is cut for a message


class Answer(requests.Response):
    """A response whose body was read once, within a limit, and is decoded once."""

    redact: Redactor
    _document: Any = None
    _decoded = False

    def read(self, limit: int) -> None:
        """Read the whole body.

        Args:
            limit: The most bytes the body may have once it is unpacked.

        Raises:
            TooLargeError: If it has more.
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
        self._content = bytes(body)

    def json(self, **_: Any) -> Any:
        """The decoded body, which dlt's client asks for several times a page; an empty list for a 204.

        Raises:
            ValueError: If the body is not JSON.
        """
        if not self._decoded:
            self._document = [] if self.status_code == 204 else decode_json(self.content, self.charset)
            self._decoded = True
        return self._document

    def beginning(self) -> str:
        """The first part of the body, without secrets, as a line of a message."""
        text = self.redact(self.content[:_SEARCHED].decode(self.charset, "replace"))
        text = re.sub(r"\s+", " ", text).strip()
        more = "…" if len(text) > _SHOWN else ""
        return f"The body began: {text[:_SHOWN]}{more}" if text else "The body was empty."

    @property
    def charset(self) -> str:
        """The encoding that the answer names, if it is a known one; else UTF-8, as JSON is by rule."""
        named = re.search(r"charset=[\"']?([\w.:-]+)", self.headers.get("Content-Type", ""), re.IGNORECASE)
        try:
            return codecs.lookup(named[1]).name if named else "utf-8"
        except LookupError:
            return "utf-8"


class Wire(HTTPAdapter):
    """Sends each single request, those of a redirect too.

    Args:
        client: The file's `client`, its templates resolved.
        limits: The file's `limits`.
        redact: Hides secrets in messages.
        meter: Counts requests and bytes.
    """

    def __init__(self, client: Client, limits: Limits, redact: Redactor, meter: Meter) -> None:
        super().__init__(pool_maxsize=limits.concurrency)
        self._origins = Origins(client.base_url, client.allowed_hosts)
        self._budget = Budget(limits, meter.wait)
        self._max_bytes = client.max_response_bytes
        self._redact = redact
        self._meter = meter

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Answer:
        """Send one request and read its answer.

        Raises:
            ForbiddenOriginError: If it would go to a foreign origin.
            TooLargeError: If the answer is larger than allowed.
            requests.RequestException: If no whole answer comes.
        """
        self._origins.check(request.url or "")
        with self._budget.request():
            self._meter.add(requests=1)
            kwargs |= {"stream": True, "timeout": kwargs.get("timeout") or _TIMEOUT}
            answer = super().send(request, *args, **kwargs)
            assert isinstance(answer, Answer)
            answer.read(self._max_bytes)
        self._meter.add(size=len(answer.content))
        return answer

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Answer:
        """An `Answer` from what the wire brings."""
        answer = Answer()
        vars(answer).update(vars(super().build_response(req, resp)))
        answer.redact = self._redact
        # For `response_actions`, which look at the text: guessing would be slow and often wrong.
        answer.encoding = answer.charset
        return answer
