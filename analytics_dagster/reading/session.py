"""The HTTP session of one load: every request of dlt's REST client goes through it and comes back whole."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks, dispatch_hook
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from analytics_dagster.reading.budget import Budget
from analytics_dagster.reading.decode import decode_json
from analytics_dagster.reading.errors import (
    ForbiddenOriginError,
    RefusedError,
    RequestError,
    TooLargeError,
)
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Client, Limits, Retry

_TIMEOUT = (15, 120)  # seconds to connect, and between two pieces of an answer
_BODY_SHOWN = 500  # characters of a body in a message
_CHUNK = 1 << 16


class _TryAgain(Exception):  # noqa: N818 - a request to the retry loop, never seen by people
    """One try failed in a way that another may not."""

    def __init__(self, outcome: str, *, body: str = "", retry_after: float | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.body = body
        self.retry_after = retry_after


class RenewableAuth(Protocol):
    """An authentication whose token can be fetched anew; it marks the requests that it signs."""

    def renew(self, request: requests.PreparedRequest) -> None:
        """Replace the token that `request` was refused with, and sign the request again."""
        ...


class Answer(requests.Response):
    """A response whose body is read once, within a limit, and decoded once."""

    _document: Any = None
    _decoded = False

    def read(self, limit: int) -> None:
        """Read the whole body.

        Args:
            limit: The most bytes the decoded body may have.

        Raises:
            TooLargeError: If it has more.
        """
        body = bytearray()
        for chunk in self.iter_content(_CHUNK):
            body += chunk
            if len(body) > limit:
                self.close()
                raise TooLargeError(f"the answer is larger than client.max_response_bytes ({limit:,} bytes)")
        self._content = bytes(body)

    def json(self, **_: Any) -> Any:
        """The decoded body; dlt's client asks for it several times a page."""
        if not self._decoded:
            self._document = decode_json(self.content)
            self._decoded = True
        return self._document


class _Adapter(HTTPAdapter):
    """Builds an `Answer` from what the wire brings."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        answer = Answer()
        answer.__dict__.update(super().build_response(req, resp).__dict__)
        return answer


class ApiSession(requests.Session):
    """Sends requests within the budget, tries again what may get better, and says what did not.

    Args:
        client: The file's `client`, its templates resolved.
        retry: The file's `retry`.
        limits: The file's `limits`.
        redact: Hides secrets in messages.
        meter: Counts requests, retries and bytes.
        sleep: How to wait, in seconds.
    """

    def __init__(
        self,
        client: Client,
        retry: Retry,
        limits: Limits,
        redact: Redactor,
        meter: Meter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._retry = retry
        self._max_bytes = client.max_response_bytes
        self._redact = redact
        self._meter = meter
        self._sleep = sleep
        self._budget = Budget(limits)
        self._origins = {origin(client.base_url)}
        self._allowed = {entry.lower() for entry in client.allowed_hosts}
        adapter = _Adapter(pool_maxsize=limits.concurrency)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def __deepcopy__(self, memo: dict[int, Any]) -> ApiSession:
        """Itself: dlt copies configurations, and a copy would have connections and a budget of its own."""
        return self

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request; try again as the file says.

        Raises:
            RequestError: If the last try failed too.
            RefusedError: If the API refuses the request in a way that no further try changes.
            ForbiddenOriginError: If the request or a redirect leads to a foreign origin.
            TooLargeError: If the body is larger than allowed.
        """
        self._check_origin(request.url or "")
        if (
            kwargs.get("allow_redirects") is False
        ):  # a hop of a redirect; its first request is what is retried
            return super().send(request, **kwargs)
        kwargs = {**kwargs, "stream": True, "timeout": kwargs.get("timeout") or _TIMEOUT}
        hooks, request.hooks = request.hooks, default_hooks()
        outcomes: list[str] = []
        started = time.monotonic()
        retrying = Retrying(
            stop=stop_after_attempt(self._retry.max_retries + 1),
            retry=retry_if_exception_type(_TryAgain),
            wait=self._pause,
            before_sleep=self._announce,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._try, request, hooks, kwargs, outcomes)
        except _TryAgain as failure:
            tries = (
                f"It was tried {len(outcomes)} time{'s' * (len(outcomes) != 1)}"
                f" in {time.monotonic() - started:.0f} s: {', '.join(outcomes)}."
            )
            message = f"{self._describe(request)} failed: {failure.outcome}.\n{tries}{failure.body}"
            raise RequestError(self._redact(message)) from None
        except TooLargeError as failure:
            raise TooLargeError(f"{self._describe(request)}: {failure}") from None

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """The URL that a response redirects to, if it may be followed."""
        target = super().get_redirect_target(resp)
        if target:
            self._check_origin(requests.compat.urljoin(resp.url, target))
        return target

    def _try(
        self, request: requests.PreparedRequest, hooks: Any, kwargs: dict[str, Any], outcomes: list[str]
    ) -> requests.Response:
        try:
            answer = self._once(request, kwargs)
            auth: RenewableAuth | None = getattr(request, "renewable_auth", None)
            if answer.status_code == 401 and auth is not None:
                auth.renew(request)
                answer = self._once(request, kwargs)
            if answer.status_code in self._retry.status_codes:
                raise _TryAgain(_status(answer), body=self._excerpt(answer), retry_after=_retry_after(answer))
            with contextlib.suppress(requests.HTTPError):  # told better below
                dispatch_hook("response", hooks, answer, **kwargs)
            if answer.status_code >= 400:
                error = RefusedError if answer.status_code < 500 else RequestError
                raise error(self._refusal(request, answer))
            self._check_json(answer)
        except _TryAgain as failure:
            outcomes.append(failure.outcome)
            raise
        return answer

    def _once(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> Answer:
        self._meter.add(requests=1)
        try:
            with self._budget.request():
                answer = super().send(request, **kwargs)
                assert isinstance(answer, Answer)
                answer.read(self._max_bytes)
        except requests.Timeout:
            raise _TryAgain("no answer in time") from None
        except requests.TooManyRedirects as error:
            raise RefusedError(self._redact(f"{self._describe(request)} failed: {error}")) from None
        except requests.RequestException as error:
            raise _TryAgain(_connection_problem(error)) from None
        self._meter.add(size=len(answer.content))
        return answer

    def _check_json(self, answer: Answer) -> None:
        try:
            answer.json()
        except (ValueError, RecursionError) as error:
            kind = answer.headers.get("Content-Type", "no content type")
            raise _TryAgain(
                f"{answer.status_code} with a body that is not JSON ({kind}: {error})",
                body=self._excerpt(answer),
            ) from None

    def _pause(self, state: RetryCallState) -> float:
        assert state.outcome is not None
        failure = state.outcome.exception()
        if isinstance(failure, _TryAgain) and failure.retry_after is not None:
            return min(failure.retry_after, self._retry.max_wait.total_seconds())
        pause = self._retry.backoff_factor * 2 ** (state.attempt_number - 1)
        return pause * random.uniform(1, 1.25)  # noqa: S311 - spreads requests, hides nothing

    def _announce(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        self._meter.add(retries=1)
        self._meter.wait(
            f"{state.outcome.exception()}; trying again in {state.next_action.sleep:.1f} s"
            f" ({state.attempt_number} of {self._retry.max_retries})"
        )

    def _check_origin(self, url: str) -> None:
        parts = urlsplit(url)
        if (
            origin(url) in self._origins
            or {origin(url), parts.netloc.lower(), parts.hostname} & self._allowed
        ):
            return
        raise ForbiddenOriginError(
            self._redact(
                f"The API leads to {_without_query(url)}, which is not of its own origin"
                f" ({', '.join(sorted(self._origins))}); its credentials were not sent there."
                f" If this is meant, add `{origin(url)}` to client.allowed_hosts."
            )
        )

    def _refusal(self, request: requests.PreparedRequest, answer: Answer) -> str:
        hints = {
            401: " Check the credentials.",
            403: " Check what the credentials may read.",
            404: " Check base_url and path.",
        }
        return self._redact(
            f"{self._describe(request)} was refused: {_status(answer)}."
            f"{hints.get(answer.status_code, '')}{self._excerpt(answer)}"
        )

    def _describe(self, request: requests.PreparedRequest) -> str:
        return self._redact(f"{request.method} {request.url}")

    def _excerpt(self, answer: requests.Response) -> str:
        text = self._redact(answer.content[: 8 * _BODY_SHOWN].decode(answer.encoding or "utf-8", "replace"))
        text = re.sub(r"\s+", " ", text).strip()
        more = "…" if len(text) > _BODY_SHOWN else ""
        return f"\nThe body began: {text[:_BODY_SHOWN]}{more}" if text else "\nThe body was empty."


def origin(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454, section 4)."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())
    return f"{parts.scheme.lower()}://{parts.hostname}:{port}"


def error_document(document: Any) -> str:
    """A short form of a document, for a message about it."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    return text if len(text) <= _BODY_SHOWN else text[:_BODY_SHOWN] + "…"


def _without_query(url: str) -> str:
    return url.split("?", 1)[0]


def _status(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason or ''}".strip()


def _connection_problem(error: requests.RequestException) -> str:
    """What went wrong on the wire, without the URL that requests puts into its messages."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__ or _reason(cause)) is not None:
        cause = inner
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the body ended early ({cause})"
    return f"no connection ({cause})"


def _reason(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return reason if isinstance(reason, BaseException) else None


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, section 10.2.3); fractions are common too."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
