"""The file's `response_actions`: which rule an answer fits, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import requests

from analytics_dagster.reading.errors import RefusedError, RequestError, WindowTooLargeError
from analytics_dagster.reading.expressions import Search
from analytics_dagster.reading.outcomes import Outcomes, QuotaUsed, TryAgain, status_line
from analytics_dagster.reading.quotas import seconds_until_new
from analytics_dagster.reading.rates import retry_after
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import ResponseAction
from analytics_dagster.spec.actions import Action, statuses

_SAID = 500  # characters of what an API says

Condition = Callable[[Answer], bool]


class Rule:
    """One rule.

    Args:
        described: The file's.
        place: Where it stands there.
    """

    def __init__(self, described: ResponseAction, place: str) -> None:
        self.action: Action = described.action
        self._described = described
        self._place = place
        self._conditions = list(_conditions(described))
        self._message = Search(described.message_path) if described.message_path else None

    def fits(self, answer: Answer) -> bool:
        """Whether all of its conditions hold."""
        return all(holds(answer) for holds in self._conditions)

    def act(self, request: requests.PreparedRequest, answer: Answer, outcomes: Outcomes) -> Answer:
        """What comes of an answer.

        Args:
            request: The request.
            answer: Its answer, which fits.
            outcomes: Puts into words how a request ended.

        Returns:
            The answer, where it has no rows.

        Raises:
            RefusedError: If the rule says that it failed for good.
            RequestError: If it says that it failed.
            TryAgain: If the request is to be sent again.
            QuotaUsed: If it is to be sent again when the quota is new.
            WindowTooLargeError: If its window is to be halved.
        """
        described = self._described
        match described.action:
            case "ignore" | "no_data":
                answer.empty(is_last=described.action == "ignore")
                return answer
            case "retry":
                raise TryAgain(
                    f"{status_line(answer)} ({self._place})",
                    advice=f"\n{answer.beginning()}",
                    retry_after=retry_after(answer.headers),
                    max_retries=described.max_retries,
                    waits=[wait.total_seconds() for wait in described.wait or ()],
                    may_have_worked=False,  # the file says so
                )
            case "fail":
                raise (RefusedError if described.permanent else RequestError)(
                    f"{self._said(answer)}{outcomes.describe(request)} failed: {status_line(answer)}, by"
                    f" {self._place}.\n{answer.beginning()}"
                )
            case "wait_quota":
                reset, timezone = described.reset, described.timezone
                raise QuotaUsed(
                    f"{status_line(answer)} ({self._place})",
                    advice=f"\n{answer.beginning()}",
                    seconds=seconds_until_new(answer.headers, reset, timezone, datetime.now(UTC)),
                    max_wait=described.max_wait.total_seconds(),
                )
            case "halve":
                raise WindowTooLargeError(
                    f"{outcomes.describe(request)} was refused, as the window is too large:"
                    f" {status_line(answer)}, by {self._place}.\n{answer.beginning()}"
                )
            case "refresh_auth":
                raise RefusedError(
                    f"{outcomes.describe(request)} was refused with a token that was fetched just before:"
                    f" {status_line(answer)}, by {self._place}. Check the credentials.\n{answer.beginning()}"
                )

    def _said(self, answer: Answer) -> str:
        """What to tell people, in sentences."""
        found = [self._described.message] if self._described.message else []
        if self._message is not None and not answer.redact.hides_bodies:
            value = _found(self._message, answer)
            if value is not None:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                found.append(f"{answer.redact(' '.join(text.split())):.{_SAID}}")
        return "".join(
            f"{text} " if text.endswith((".", "!", "?")) else f"{text}. " for text in found if text
        )


class Actions:
    """The rules of one endpoint.

    Args:
        described: The file's, in order.
    """

    def __init__(self, described: Sequence[ResponseAction]) -> None:
        self._rules = [Rule(rule, f"response_actions[{index}]") for index, rule in enumerate(described)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Actions:
        """Itself: dlt copies paginators, which hold it, for each parent's row."""
        return self

    def first(self, answer: Answer) -> Rule | None:
        """The first rule that an answer fits."""
        return next((rule for rule in self._rules if rule.fits(answer)), None)


def _conditions(described: ResponseAction) -> list[Condition]:
    """The cheapest first."""
    found: list[Condition] = []
    if described.status_code is not None:
        wanted = statuses(described.status_code)
        found.append(lambda answer: answer.status_code in wanted)
    if described.header is not None:
        given = described.header
        headers = cast("dict[str, Any]", given) if isinstance(given, dict) else {cast("str", given): None}
        found.append(lambda answer: all(_has(answer, name, value) for name, value in headers.items()))
    if described.content is not None:
        content = described.content
        found.append(lambda answer: _holds(answer, content))
    if described.when is not None:
        search = Search(described.when)
        found.append(lambda answer: _is_true(_found(search, answer)))
    return found


def _has(answer: Answer, name: str, value: str | int | None) -> bool:
    found = answer.headers.get(name)
    return found is not None and (value is None or found.strip() == str(value))


def _holds(answer: Answer, content: str) -> bool:
    try:
        return content.encode(answer.charset) in answer.content
    except UnicodeEncodeError:
        return False


def _is_true(value: Any) -> bool:
    """As JMESPath sees it, for which zero is true."""
    return value is not None and value is not False and value not in ("", [], {})


def _found(search: Search, answer: Answer) -> Any:
    """What an expression finds; null where the answer is of another kind than it is for, or not JSON."""
    try:
        return search(answer.json())
    except (ValueError, RecursionError):
        return None
