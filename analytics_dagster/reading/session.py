"""The HTTP session of one load: what is tried again, what is refused, and how people are told."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import requests
from requests.hooks import default_hooks, dispatch_hook  # pyright: ignore[reportUnknownVariableType]

from analytics_dagster.reading.errors import (
    ForbiddenOriginError,
    LoadError,
    RefusedError,
    RequestError,
    TooLargeError,
    TooSlowError,
)
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.origins import origin, without_query
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.wire import Answer, Wire
from analytics_dagster.spec import Client, Limits, Retry

_BROKEN = (
    requests.Timeout,
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_CAUSE = 200  # characters of what the operating system says of a broken connection
_TRANSIENT = (408, 425, 429)  # refusals that may be gone by the next run
_HARMLESS = {"accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent"}
_HINTS = {
    401: " Check the credentials.",
    403: " Check what the credentials may read.",
    404: " Check base_url and path.",
    429: " Lower `limits` in the API file to what the API allows.",
}


class _TryAgain(Exception):  # noqa: N818 - a request to the retry loop, never seen by people
    """One try failed in a way that another may not."""

    def __init__(self, outcome: str, *, advice: str, retry_after: float | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.advice = advice
        self.retry_after = retry_after


class RenewableAuth(Protocol):
    """An authentication whose token can be fetched anew; it marks the requests that it signs."""

    def renew(self, request: requests.PreparedRequest) -> None:
        """Replace the token that `request` was refused with, and sign the request again."""
        ...


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
        self.auth = _unsigned
        self._retry = retry
        self._redact = redact
        self._meter = meter
        self._sleep = sleep
        wire = Wire(client, limits, redact, meter)
        self.mount("https://", wire)
        self.mount("http://", wire)

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
        if kwargs.get("allow_redirects") is False:  # a step of a redirect, inside the try that led to it
            return super().send(request, **kwargs)
        hooks, request.hooks = request.hooks, default_hooks()  # called when the answer is whole
        outcomes: list[str] = []
        began = time.monotonic()
        while True:
            try:
                return self._try(request, hooks, kwargs)
            except _TryAgain as error:
                failure = error
            outcomes.append(failure.outcome)
            if len(outcomes) > self._retry.max_retries:
                raise RequestError(self._given_up(request, failure, outcomes, time.monotonic() - began))
            self._wait(failure, len(outcomes))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Make a request ready to send.

        Raises:
            RefusedError: If it is none that HTTP knows.
        """
        try:
            return super().prepare_request(request)
        except (requests.RequestException, ValueError) as error:
            problem = self._unsendable(request, error)
        raise problem

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Called by requests for each redirect: what may be a credential stays within its origin."""
        if origin(response.url) != origin(prepared_request.url or ""):
            for name in list(prepared_request.headers):
                if name.lower() not in _HARMLESS:
                    del prepared_request.headers[name]

    def _try(self, request: requests.PreparedRequest, hooks: Any, kwargs: dict[str, Any]) -> Answer:
        answer = self._once(request, kwargs)
        if answer.status_code == 401:
            auth: RenewableAuth | None = vars(request).pop("renewable_auth", None)
            if auth is not None:
                auth.renew(request)
                answer = self._once(request, kwargs)
        with contextlib.suppress(requests.HTTPError):  # told better below
            dispatch_hook("response", hooks, answer, **kwargs)
        status = answer.status_code
        if status in self._retry.status_codes:
            advice = f"{_HINTS.get(status, '')}\n{answer.beginning()}"
            raise _TryAgain(_status(answer), advice=advice, retry_after=_retry_after(answer))
        if status >= 400:
            permanent = status < 500 and status not in _TRANSIENT
            raise (RefusedError if permanent else RequestError)(self._refused(request, answer))
        self._check_json(answer)
        return answer

    def _once(self, request: requests.PreparedRequest, kwargs: Any) -> Answer:
        problem: LoadError
        try:
            answer = super().send(request, **kwargs | {"stream": True})
        except _BROKEN as error:
            raise self._broken(error) from None
        except TooSlowError as error:
            raise _TryAgain(str(error), advice=" Try smaller pages or windows, or raise it.") from None
        except requests.TooManyRedirects:
            problem = RefusedError(
                f"{self._describe(request)} leads from one redirect to the next, {self.max_redirects} times."
                " Check base_url and path."
            )
        except TooLargeError as error:
            problem = TooLargeError(f"{self._describe(request)}: {error}.")
        except ForbiddenOriginError as error:
            problem = ForbiddenOriginError(self._redact(str(error)))
        except (requests.RequestException, ValueError) as error:
            problem = self._unsendable(request, error)
        else:
            assert isinstance(answer, Answer)
            return answer
        raise problem

    def _unsendable(
        self, request: requests.Request | requests.PreparedRequest, error: Exception
    ) -> RefusedError:
        return RefusedError(
            self._redact(
                f"{request.method} {request.url} cannot be sent: {error}. Check base_url, the headers and the"
                " credentials, which may hold a line break or characters that HTTP forbids."
            )
        )

    def _broken(self, error: requests.RequestException) -> _TryAgain:
        cause = self._redact(" ".join(str(_root(error)).split()))[:_CAUSE]
        if isinstance(error, requests.ConnectTimeout):
            return _TryAgain("no connection in time", advice=_UNREACHED)
        if isinstance(error, requests.Timeout) or isinstance(_root(error), TimeoutError):
            return _TryAgain("no answer in time", advice=" Try smaller pages or windows.")
        if isinstance(error, requests.ConnectionError):
            return _TryAgain(f"the connection failed ({cause})", advice=_UNREACHED)
        return _TryAgain(f"the body was cut or damaged ({cause})", advice=" Try smaller pages or windows.")

    def _check_json(self, answer: Answer) -> None:
        try:
            answer.json()
        except (ValueError, RecursionError) as error:
            kind = answer.headers.get("Content-Type", "no content type")
            why = "nested too deeply" if isinstance(error, RecursionError) else self._redact(str(error))
            raise _TryAgain(
                f"{_status(answer)} with a body that is not JSON ({self._redact(kind)}; {why})",
                advice=f" Check base_url and path.\n{answer.beginning()}",
            ) from None

    def _wait(self, failure: _TryAgain, tried: int) -> None:
        pause = failure.retry_after
        if pause is None:
            pause = self._retry.backoff_factor * 2.0 ** min(tried - 1, 100)
            pause *= random.uniform(1, 1.25)  # noqa: S311 - spreads requests, hides nothing
        pause = min(pause, self._retry.max_wait.total_seconds())
        self._meter.add(retries=1)
        again = f"trying again in {pause:.1f} s ({tried} of {self._retry.max_retries})"
        self._meter.wait(self._redact(f"{failure.outcome}; {again}"))
        self._sleep(pause)
        self._meter.wait(None)

    def _given_up(
        self, request: requests.PreparedRequest, failure: _TryAgain, outcomes: list[str], seconds: float
    ) -> str:
        times = f"{len(outcomes)} times" if len(outcomes) > 1 else "once"
        seen = f": {', then '.join(outcomes)}" if len(set(outcomes)) > 1 else ""
        longest = self._retry.max_wait.total_seconds()
        asked = ""
        if (failure.retry_after or 0) > longest:
            asked = (
                f" The API asked to wait {failure.retry_after:.0f} s, and retry.max_wait is {longest:.0f} s."
            )
        return self._redact(
            f"{self._describe(request)} failed: {failure.outcome}."
            f" It was tried {times} in {seconds:.0f} s{seen}.{asked}{failure.advice}"
        )

    def _refused(self, request: requests.PreparedRequest, answer: Answer) -> str:
        led = ""
        if answer.history:
            led = (
                f" A redirect led to {without_query(answer.url)}; to another origin credentials do not go"
                " along, so write the new address in base_url."
            )
        return self._redact(
            f"{self._describe(request)} was refused: {_status(answer)}."
            f"{_HINTS.get(answer.status_code, '')}{led}\n{answer.beginning()}"
        )

    def _describe(self, request: requests.PreparedRequest) -> str:
        return self._redact(f"{request.method} {request.url}")


_UNREACHED = " Check base_url, and whether the API can be reached from here."


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The auth of requests that have none; without it, requests would take one from a ~/.netrc."""
    return request


def _status(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason or ''}".strip()


def _root(error: BaseException) -> BaseException:
    """What went wrong on the wire, without the URL that requests puts into its messages."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    return seen[-1]


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, section 10.2.3); fractions are common too."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
