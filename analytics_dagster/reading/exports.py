"""Exports that an API makes while one waits: created once, looked after, read, and deleted in the end."""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

from dlt.common import jsonpath
from requests import Request, Response

from analytics_dagster.reading.coming import Coming
from analytics_dagster.reading.errors import ExportError, LoadError, PageError
from analytics_dagster.reading.origins import origin, without_query
from analytics_dagster.reading.outcomes import in_words
from analytics_dagster.reading.rates import retry_after
from analytics_dagster.reading.unpacked import UnpackedPages
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec.export import TAKEN, Export, ExportDownload, ExportPoll, ExportRequest

_LONG = 12  # characters of a value in a signed URL that may be a secret
_log = logging.getLogger(__name__)


class ExportPages(UnpackedPages):
    """Has an export made before its first page is asked for, and reads all of its files.

    Args:
        export: The file's `export`.
        base_url: What its paths are behind.
        unpacked: What `UnpackedPages` takes.
        further: The same.
    """

    def __init__(self, export: Export, base_url: str, *unpacked: Any, **further: Any) -> None:
        super().__init__(*unpacked, **further)
        self._export = export
        self._base_url = base_url
        self._files: deque[Request] = deque()
        self._reads_file = False

    @property
    def has_next_page(self) -> bool:
        """Whether there is a further document, page or file."""
        return self._reads_file or bool(self._files) or super().has_next_page

    def init_request(self, request: Request) -> None:
        """Prepare the first request, which the making of the export comes before."""
        super().init_request(request)
        self._files.clear()
        self._reads_file = True
        vars(request)["before_next"] = partial(self._make, request)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Look at a document, page or file."""
        super().update_state(response, data)
        self._reads_file = self._document_follows

    def update_request(self, request: Request) -> None:
        """Turn the request into the one for the next page, or else for the next file."""
        if self._reads_file or super().has_next_page or not self._files:
            # The last document is read after this, and the paginator may have been at its end before it.
            super().update_request(request)
            return
        vars(request).update(vars(self._files.popleft()))
        self._reads_file = True

    def _make(self, request: Request) -> None:
        """Have the export made, and turn the request into the one for its first file."""
        create = copy.copy(request)
        vars(create).pop("format")
        if request.method != "GET" and not self._export.idempotent:
            vars(create)["once"] = True
        made = self._session.ask(create)
        if made.has_no_rows:
            _answer_with(request, made)
            return
        answers = {"create": made}
        if self._export.delete:
            delete = self._request(self._export.delete, request, answers)[0]
            self._session.at_close(partial(_delete, self._session.ask, delete))
        if self._export.poll:
            answers["poll"] = self._wait(self._export.poll, request, answers)
        files = self._request(self._export.download, request, answers)
        if not files:
            last = answers.get("poll", made)
            last.empty(is_last=False)
            _answer_with(request, last)
            return
        for file in files:
            vars(file)["format"] = vars(request)["format"]
        vars(request).update(vars(files[0]))
        self._files.extend(files[1:])

    def _wait(self, poll: ExportPoll, request: Request, answers: Mapping[str, Answer]) -> Answer:
        """Ask until the export is done."""
        waited, limit = 0.0, poll.timeout.total_seconds()
        while True:
            answer = self._session.ask(self._request(poll, request, answers)[0])
            status = self._status(poll, answer)
            if status is None:
                return answer
            if waited >= limit:
                raise ExportError(
                    f"The export of {without_query(answer.url)} was not done after {in_words(waited)}: it is"
                    f" `{status}`. Raise export.poll.timeout, load smaller windows, or see whether `{status}`"
                    " belongs in done or failed."
                )
            pause = min(max(poll.every.total_seconds(), retry_after(answer.headers) or 0), limit - waited)
            self._session.meter.wait(
                answer.redact(
                    f"the export is `{status}` after {in_words(waited)}; asking again in {in_words(pause)}"
                )
            )
            self._session.pause(pause)
            self._session.meter.wait(None)
            waited += pause

    def _status(self, poll: ExportPoll, answer: Answer) -> str | None:
        """What the export is while one has to wait for it; None when it is done."""
        if poll.status_path is None:
            return "202" if answer.status_code == 202 else None
        found = jsonpath.find_values(poll.status_path, answer.json())
        if not found or found[0] is None:
            raise PageError(
                f"export.poll.status_path `{poll.status_path}` finds nothing in an answer of"
                f" {without_query(answer.url)}. {answer.beginning()}"
            )
        status = _as_text(found[0])
        if status in poll.words_for_failed:
            raise ExportError(
                f"The API gave up the export: {without_query(answer.url)} says `{answer.redact(status)}`."
                f" {answer.beginning()}"
            )
        return None if status in poll.words_for_done else status

    def _request(self, wanted: ExportRequest, like: Request, answers: Mapping[str, Answer]) -> list[Request]:
        """The requests that a part of `export` describes: one for each URL that its path finds."""
        whole = TAKEN.fullmatch(wanted.path)
        if whole:
            answer = answers[whole[1]]
            found = [value for value in _find(whole[2], answer) if value is not None]
            if not found and (not isinstance(wanted, ExportDownload) or wanted.required):
                hint = "; where that means no rows, write `required: false`"
                raise PageError(
                    f"{{{whole[1]}.{whole[2]}}} is null in an answer of {without_query(answer.url)}"
                    f"{hint if isinstance(wanted, ExportDownload) else ''}. {answer.beginning()}"
                )
            urls = [urljoin(answer.url, _as_text(value)) for value in found]
        else:
            path = TAKEN.sub(lambda part: quote(_value(part[1], part[2], answers), safe=""), wanted.path)
            urls = [path if "://" in path else f"{self._base_url.rstrip('/')}/{path.lstrip('/')}"]
        return [self._to(url, wanted, like, answers) for url in urls]

    def _to(self, url: str, wanted: ExportRequest, like: Request, answers: Mapping[str, Answer]) -> Request:
        is_own = origin(url) == self._session.place
        if not is_own:
            for _, value in parse_qsl(urlsplit(url).query):
                if len(value) >= _LONG:  # a signature
                    answers["create"].redact.hide(value)
        return Request(
            wanted.method,
            url,
            # Credentials stay at home; a signed URL needs none.
            headers=dict(like.headers or {}) if is_own else {},
            auth=like.auth if is_own else None,
            params=_filled(wanted.params, answers),
            json=_filled(wanted.json_body, answers),
            hooks=copy.copy(like.hooks),
        )


def _delete(ask: Any, request: Request) -> None:
    try:
        ask(request)
    except LoadError as error:
        _log.warning("An export was not deleted; delete it by hand. %s", error)


def _answer_with(request: Request, answer: Answer) -> None:
    served: Future[Answer] = Future()
    served.set_result(answer)
    vars(request)["coming"] = Coming(answer.request, served)


def _find(path: str, answer: Answer) -> list[Any]:
    """What is at a path, one by one where it is a list."""
    found = jsonpath.find_values(path, answer.json())
    if not found:
        raise PageError(
            f"`{path}` finds nothing in an answer of {without_query(answer.url)}. {answer.beginning()}"
        )
    return [
        one for value in found for one in (cast("list[Any]", value) if isinstance(value, list) else [value])
    ]


def _value(whose: str, path: str, answers: Mapping[str, Answer]) -> str:
    found = _find(path, answers[whose])
    if len(found) != 1 or found[0] is None or isinstance(found[0], dict):
        answer = answers[whose]
        raise PageError(
            f"{{{whose}.{path}}} finds no single value in an answer of {without_query(answer.url)}."
            f" {answer.beginning()}"
        )
    return _as_text(found[0])


def _filled(value: Any, answers: Mapping[str, Answer]) -> Any:
    match value:
        case str():
            return TAKEN.sub(lambda part: _value(part[1], part[2], answers), value)
        case dict():
            return {name: _filled(one, answers) for name, one in cast("dict[str, Any]", value).items()}
        case list():
            return [_filled(one, answers) for one in cast("list[Any]", value)]
        case _:
            return value


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
