"""The HTTP session of one load: what is tried again, what is refused, and how people are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, Protocol, TypeVar, cast

import requests
from dlt.common.configuration.container import Container
from requests.hooks import default_hooks, dispatch_hook  # pyright: ignore[reportUnknownVariableType]

from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.budget import budget_of
from analytics_dagster.reading.coming import Coming, take_coming
from analytics_dagster.reading.errors import (
    ForbiddenOriginError,
    LoadError,
    RefusedError,
    RequestError,
    TooLargeError,
    TooSlowError,
)
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.origins import origin
from analytics_dagster.reading.outcomes import Outcomes, QuotaUsed, TryAgain
from analytics_dagster.reading.rates import requests_left, retry_after
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.waiting import Waiting
from analytics_dagster.reading.wire import ENCODINGS, Answer, Wire
from analytics_dagster.spec import Client, Limits, Retry

T = TypeVar("T")

_BROKEN = (
    requests.Timeout,
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_TRANSIENT = (408, 425, 429)  # refusals that may be gone by the next run
_TOO_MUCH = (429, 503)  # say that the API has too much to do
_MARKS = {"actions", "format", "once"}  # of a paginator on a request, which stay on it when it is prepared
_HARMLESS = {"accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent"}


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
        meter: Counts requests, retries, bytes and pages.
        sleep: How to wait, in seconds; by default until `close`.
        sample: Read no more than the beginning of exports.
    """

    def __init__(
        self,
        client: Client,
        retry: Retry,
        limits: Limits,
        redact: Redactor,
        meter: Meter,
        sleep: Callable[[float], object] | None = None,
        *,
        sample: bool = False,
    ) -> None:
        super().__init__()
        self.auth = _unsigned
        self.params = cast("Any", None)  # an empty dict would be merged into the params of each request
        self.headers["Accept-Encoding"] = ", ".join(ENCODINGS)
        self.limits = limits
        self.meter = meter
        self.cert = (client.cert[0], client.cert[1]) if isinstance(client.cert, list) else client.cert
        self._retry = retry
        self._redact = redact
        self._outcomes = Outcomes(retry, redact)
        self._environment: dict[str, Any] = {}  # by origin
        self._closed = threading.Event()
        self._at_close = ExitStack()
        self._sleep = sleep or self._closed.wait
        self._longest = retry.max_wait.total_seconds()
        self.place = origin(client.base_url)
        self._budget = budget_of(self.place, limits.requests, limits.per, limits.concurrency)
        self._waiting = Waiting(retry, self._budget, meter, redact, self._sleep)
        # dlt knows by the name of a thread to which load it belongs.
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(
            limits.concurrency,
            f"{Container.thread_pool_prefix()}ahead",
            initializer=lambda: setattr(self._own, "is_here", True),
        )
        self._room = threading.Semaphore(limits.concurrency)
        self._wire = Wire(client, limits, redact, meter, self._budget, self._closed, sample=sample)
        self.mount("https://", self._wire)
        self.mount("http://", self._wire)

    def __deepcopy__(self, memo: dict[int, Any]) -> ApiSession:
        """Itself: dlt copies configurations, and a copy would have connections and a budget of its own."""
        return self

    def close(self) -> None:
        """Tidy up, end what is under way, and close all connections."""
        self._at_close.close()
        self._closed.set()
        self._budget.wake()
        self._wire.close()
        self._threads.shutdown(cancel_futures=True)

    def send_ahead(self, request: requests.Request) -> Coming:
        """Send a request in a thread of its own, before it is asked for.

        Args:
            request: The request. Its answer is the one that `send` returns for a request that carries this
                one as `coming`.
        """
        prepared = self.prepare_request(request)
        settings = self.merge_environment_settings(prepared.url, {}, None, None, None)
        return Coming(prepared, self._threads.submit(self._send, prepared, **settings))

    def ask(self, request: requests.Request) -> Answer:
        """Send a request that is none for a page.

        Raises:
            LoadError: As `send` does.
        """
        prepared = self.prepare_request(request)
        return self.send(prepared, **self.merge_environment_settings(prepared.url, {}, None, None, None))

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            RequestError: If the session was closed meanwhile.
        """
        self._sleep(seconds)
        if self._closed.is_set():
            raise RequestError("The load was ended while it waited.")

    def at_close(self, work: Callable[[], object]) -> None:
        """Do something when the session is closed, before its connections are."""
        self._at_close.callback(work)

    def start(self, work: Callable[[], T]) -> Future[T] | None:
        """Do something in a thread of its own; None where so many results wait already to be `taken`."""
        return self._threads.submit(work) if self._room.acquire(blocking=False) else None

    def run(self, work: Callable[[], None]) -> None:
        """Do something in a thread of its own, as soon as one is free."""
        self._threads.submit(work)

    @property
    def is_in_own_thread(self) -> bool:
        """Whether this is a thread of `send_ahead`, `start` or `run`, which must not wait for another one."""
        return getattr(self._own, "is_here", False)

    def taken(self) -> None:
        """A result of `start` waits no more."""
        self._room.release()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> Answer:
        """Send a request; try again as the file says.

        Raises:
            RequestError: If the last try failed too.
            RefusedError: If the API refuses the request in a way that no further try changes.
            QuotaError: If its quota is new later than the request may wait.
            ForbiddenOriginError: If the request or a redirect leads to a foreign origin.
            TooLargeError: If the body is larger than allowed.
        """
        if kwargs.get("allow_redirects") is False:  # a step of a redirect, inside the try that led to it
            return cast("Answer", super().send(request, **kwargs))
        coming = take_coming(request)
        return self._send(request, **kwargs) if coming is None else coming.answer.result()

    def _send(self, request: requests.PreparedRequest, **kwargs: Any) -> Answer:
        hooks, request.hooks = request.hooks, default_hooks()  # called when the answer is whole
        outcomes: list[str] = []
        waited = 0.0
        began = time.monotonic()
        while True:
            try:
                return self._try(request, hooks, kwargs)
            except TryAgain as error:
                failure = error
            except QuotaUsed as error:
                if waited + error.seconds > error.max_wait or self._closed.is_set():
                    raise self._outcomes.quota_used(request, error, waited) from None
                self._waiting.for_quota(error)
                waited += error.seconds
                continue
            if vars(request).get("once") and failure.may_have_worked:
                raise RequestError(self._outcomes.unclear(request, failure))
            outcomes.append(failure.outcome)
            allowed = self._retry.max_retries if failure.max_retries is None else failure.max_retries
            if len(outcomes) > allowed or self._closed.is_set():
                raise RequestError(
                    self._outcomes.given_up(request, failure, outcomes, time.monotonic() - began)
                )
            self._waiting.before_another_try(failure, len(outcomes), allowed)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Make a request ready to send, unless it was sent already.

        A paginator may have put `before_next` or `coming` on it; and `actions`, and its answer's `format`;
        and `once`, where it must not be sent again after its answer was lost.

        Raises:
            RefusedError: If it is none that HTTP knows.
        """
        if (before_next := vars(request).pop("before_next", None)) is not None:
            before_next()
        if (coming := take_coming(request)) is not None:
            vars(coming.prepared)["coming"] = coming
            return coming.prepared
        try:
            prepared = super().prepare_request(request)
        except (requests.RequestException, ValueError) as error:
            problem = self._outcomes.unsendable(request, error)
        else:
            vars(prepared).update({key: vars(request)[key] for key in _MARKS & vars(request).keys()})
            return prepared
        raise problem

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """The proxies and certificates that the environment names, looked up once for each origin."""
        if proxies or stream or verify is not None or cert:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        place = url[: url.find("/", len("https://"))]
        if place not in self._environment:
            self._environment[place] = super().merge_environment_settings(url, {}, None, None, None)
        return dict(self._environment[place])

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
        actions: Actions | None = vars(request).get("actions")
        if actions is not None and (rule := actions.first(answer)) is not None:
            if rule.action == "refresh_auth" and (auth := vars(request).pop("renewable_auth", None)):
                auth.renew(request)
                return self._try(request, hooks, kwargs)
            return rule.act(request, answer, self._outcomes)
        with suppress(requests.HTTPError):  # told better below
            dispatch_hook("response", hooks, answer, **kwargs)
        status = answer.status_code
        if status in self._retry.status_codes:
            raise self._outcomes.busy(answer, retry_after(answer.headers))
        if status >= 400:
            permanent = status < 500 and status not in _TRANSIENT
            raise (RefusedError if permanent else RequestError)(self._outcomes.refused(request, answer))
        self._check_body(request, answer)
        return answer

    def _once(self, request: requests.PreparedRequest, kwargs: Any) -> Answer:
        problem: LoadError
        began = time.monotonic()
        try:
            answer = super().send(request, **kwargs | {"stream": True, "format": vars(request).get("format")})
        except _BROKEN as error:
            untrusted = self._outcomes.untrusted(request, error)
            if untrusted is None:
                raise self._outcomes.broken(error) from None
            problem = untrusted
        except TooSlowError as error:
            raise TryAgain(str(error), advice=" Try smaller pages or windows, or raise it.") from None
        except requests.TooManyRedirects:
            problem = RefusedError(
                f"{self._outcomes.describe(request)} leads from one redirect to the next,"
                f" {self.max_redirects} times. Check base_url and path."
            )
        except TooLargeError as error:
            problem = TooLargeError(f"{self._outcomes.describe(request)}: {error}.")
        except ForbiddenOriginError as error:
            problem = ForbiddenOriginError(self._redact(str(error)))
        except (requests.RequestException, ValueError) as error:
            problem = self._outcomes.unsendable(request, error)
        except OSError as error:  # bare for a missing file of certificates (psf/requests#7564)
            problem = self._outcomes.without_certificates(request, error)
        else:
            assert isinstance(answer, Answer)
            self._learn(answer, began)
            return answer
        raise problem

    def _learn(self, answer: Answer, began: float) -> None:
        """See from an answer what the API bears, for all requests to it."""
        if (left := requests_left(answer.headers)) is not None:
            requests_, seconds = left
            self._budget.left(requests_, min(seconds, self._longest))
        if answer.status_code in _TOO_MUCH:
            self._budget.refused(began)
        else:
            self._budget.answered()

    def _check_body(self, request: requests.PreparedRequest, answer: Answer) -> None:
        problem: LoadError
        try:
            if answer.documents:
                answer.documents.begin()
            answer.json()
            self.meter.is_plain &= answer.is_plain
        except (ValueError, RecursionError) as error:
            raise self._outcomes.undecoded(answer, error) from None
        except TooLargeError as error:
            problem = TooLargeError(f"{self._outcomes.describe(request)}: {error}.")
        else:
            return
        raise problem


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The auth of requests that have none; without it, requests would take one from a ~/.netrc."""
    return request
