"""What became of a request, told to people without secrets, and whether another try may help."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import requests

from analytics_dagster.reading.errors import QuotaError, RefusedError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import Retry

_NOT_DONE = (429, 503)  # say that nothing was done
_CAUSE = 200  # characters of what the operating system says of a broken connection
_UNREACHED = " Check base_url, and whether the API can be reached from here."
_HINTS = {
    401: " Check the credentials.",
    403: " Check what the credentials may read.",
    404: " Check base_url and path.",
    405: " Check endpoint.method; where a next link wants GET, write `next_method: GET` in the paginator.",
    429: " Lower `limits` in the API file to what the API allows.",
}


class TryAgain(Exception):  # noqa: N818 - a request to the retry loop, never seen by people
    """One try failed in a way that another may not.

    Args:
        outcome: What happened.
        advice: What to do if no further try helps.
        retry_after: How long the API asks to wait, in seconds.
        max_retries: How many further tries there are; None for the file's `retry`.
        waits: The wait before each further try, in seconds; empty for the file's `retry`.
        may_have_worked: Whether the API may have done what it was asked to.
    """

    def __init__(
        self,
        outcome: str,
        *,
        advice: str,
        retry_after: float | None = None,
        max_retries: int | None = None,
        waits: Sequence[float] = (),
        may_have_worked: bool = True,
    ) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.advice = advice
        self.retry_after = retry_after
        self.max_retries = max_retries
        self.waits = waits
        self.may_have_worked = may_have_worked


class QuotaUsed(Exception):  # noqa: N818 - a request to the retry loop, never seen by people
    """The API takes no more requests for some time.

    Args:
        outcome: What happened.
        advice: What the API said.
        seconds: How long.
        max_wait: How long a request may wait in all, in seconds.
    """

    def __init__(self, outcome: str, *, advice: str, seconds: float, max_wait: float) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.advice = advice
        self.seconds = seconds
        self.max_wait = max_wait


class Outcomes:
    """Puts into words how requests ended.

    Args:
        retry: The file's `retry`.
        redact: Hides secrets.
    """

    def __init__(self, retry: Retry, redact: Redactor) -> None:
        self._retry = retry
        self._redact = redact

    def describe(self, request: requests.PreparedRequest) -> str:
        """Method and URL."""
        return self._redact(f"{request.method} {request.url}")

    def unsendable(
        self, request: requests.Request | requests.PreparedRequest, error: Exception
    ) -> RefusedError:
        """The request is none that HTTP knows."""
        return RefusedError(
            self._redact(
                f"{request.method} {request.url} cannot be sent: {error}. Check base_url, the headers and the"
                " credentials, which may hold a line break or characters that HTTP forbids."
            )
        )

    def without_certificates(self, request: requests.PreparedRequest, error: OSError) -> RefusedError:
        """A file of certificates cannot be read."""
        return RefusedError(
            f"{self.describe(request)} cannot be sent: {self._redact(str(error))}. Check client.cert in the"
            " API file, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE."
        )

    def untrusted(
        self, request: requests.PreparedRequest, error: requests.RequestException
    ) -> RefusedError | None:
        """The server's certificate is not trusted; None if something else went wrong."""
        cause = _root(error)
        if not isinstance(cause, ssl.SSLCertVerificationError):
            return None
        return RefusedError(
            f"{self.describe(request)} was not sent, because the server's certificate is not trusted"
            f" ({cause}). Check base_url. For a CA of your own, set REQUESTS_CA_BUNDLE to its file."
        )

    def broken(self, error: requests.RequestException) -> TryAgain:
        """No whole answer came."""
        cause = self._redact(" ".join(str(_root(error)).split()))[:_CAUSE]
        if isinstance(error, requests.ConnectTimeout):
            return TryAgain("no connection in time", advice=_UNREACHED, may_have_worked=False)
        if isinstance(error, requests.Timeout) or isinstance(_root(error), TimeoutError):
            return TryAgain("no answer in time", advice=" Try smaller pages or windows.")
        if isinstance(error, requests.exceptions.SSLError):
            return TryAgain(
                f"no trusted connection ({cause})",
                advice=" Check base_url; where the API asks for a client certificate, client.cert.",
            )
        if isinstance(error, requests.ConnectionError):
            unsent = isinstance(_root(error), ConnectionRefusedError | socket.gaierror)
            return TryAgain(f"the connection failed ({cause})", advice=_UNREACHED, may_have_worked=not unsent)
        return TryAgain(f"the body was cut or damaged ({cause})", advice=" Try smaller pages or windows.")

    def undecoded(self, answer: Answer, error: Exception) -> TryAgain:
        """The body is not JSON, or what the file says that it is."""
        kind = answer.headers.get("Content-Type", "no content type")
        expected = answer.documents.how if answer.documents else "JSON"
        why = "nested too deeply" if isinstance(error, RecursionError) else self._redact(str(error))
        return TryAgain(
            f"{status_line(answer)} with a body that is not {expected} ({self._redact(kind)}; {why})",
            advice=f" Check base_url and path.\n{answer.beginning()}",
        )

    def busy(self, answer: Answer, retry_after: float | None) -> TryAgain:
        """The status is one that may pass."""
        advice = f"{_HINTS.get(answer.status_code, '')}\n{answer.beginning()}"
        return TryAgain(
            status_line(answer),
            advice=advice,
            retry_after=retry_after,
            may_have_worked=answer.status_code not in _NOT_DONE,
        )

    def refused(self, request: requests.PreparedRequest, answer: Answer) -> str:
        """The status is one that no further try changes."""
        led = ""
        if answer.history:
            led = (
                f" A redirect led to {without_query(answer.url)}; to another origin credentials do not go"
                " along, so write the new address in base_url."
            )
        return self._redact(
            f"{self.describe(request)} was refused: {status_line(answer)}."
            f"{answer.hint or _HINTS.get(answer.status_code, '')}{led}\n{answer.beginning()}"
        )

    def unclear(self, request: requests.PreparedRequest, failure: TryAgain) -> str:
        """What was to be done once may have been done."""
        return self._redact(
            f"{self.describe(request)} failed: {failure.outcome}. It was not sent again, since the API may"
            " have made an export already. If a second request makes no second export, write"
            f" `idempotent: true` in endpoint.export.{failure.advice}"
        )

    def given_up(
        self, request: requests.PreparedRequest, failure: TryAgain, outcomes: list[str], seconds: float
    ) -> str:
        """No try helped."""
        times = f"{len(outcomes)} times" if len(outcomes) > 1 else "once"
        seen = f": {', then '.join(outcomes)}" if len(set(outcomes)) > 1 else ""
        longest = self._retry.max_wait.total_seconds()
        asked = ""
        if (failure.retry_after or 0) > longest:
            asked = (
                f" The API asked to wait {in_words(failure.retry_after or 0)}, and retry.max_wait is"
                f" {in_words(longest)}."
            )
        return self._redact(
            f"{self.describe(request)} failed: {failure.outcome}."
            f" It was tried {times} in {seconds:.0f} s{seen}.{asked}{failure.advice}"
        )

    def quota_used(self, request: requests.PreparedRequest, quota: QuotaUsed, waited: float) -> QuotaError:
        """The API takes no more requests for longer than a request may wait."""
        renewed = datetime.now(UTC) + timedelta(seconds=quota.seconds)
        before = f", of which {in_words(waited)} are over" if waited else ""
        return QuotaError(
            f"{self.describe(request)} was refused, as the API's quota is used up: {quota.outcome}. It is new"
            f" at {renewed:%Y-%m-%d %H:%M:%S} UTC, in {in_words(quota.seconds)}, and max_wait is"
            f" {in_words(quota.max_wait)}{before}. What is committed stays; the rerun sensor loads the rest"
            f" then. Without it, load again yourself.{quota.advice}",
            renewed,
        )


def in_words(seconds: float) -> str:
    """A time to wait, for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def status_line(answer: requests.Response) -> str:
    """Status and reason."""
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
