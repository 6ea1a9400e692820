"""What an answer to a page after the first may say that one to the first may not: there are no more pages."""

from __future__ import annotations

from analytics_dagster.reading.actions import Actions, Rule
from analytics_dagster.reading.wire import Answer
from analytics_dagster.spec import PastEnd, ResponseAction

_MAY_BE_THE_END = (400, 404, 410, 416, 422)


class LaterActions(Actions):
    """The rules for pages after the first: that of the paginator's `past_end`, and those of the endpoint.

    Args:
        others: Those of the endpoint.
        past_end: How the API says that there are no more pages.
        asks_on: Whether pages are asked for without being told that there are any.
    """

    def __init__(self, others: Actions | None, past_end: PastEnd | None, *, asks_on: bool) -> None:
        super().__init__([])
        self._others = others
        self._past_end = past_end
        self._asks_on = asks_on
        conditions = (
            past_end.model_dump(include={"status_code", "content"}, exclude_none=True) if past_end else {}
        )
        ends = ResponseAction.model_validate({**conditions, "action": "ignore"}) if conditions else None
        self._end = Rule(ends, "past_end") if ends else None

    def first(self, answer: Answer) -> Rule | None:
        """The first rule that an answer fits. One with rows is no end, whatever stands in them."""
        if self._end is None or self._end.fits(answer):
            if not answer.ok and self._end:
                return self._end
            answer.past_end = self._past_end
        code = answer.status_code
        if self._past_end is None and self._asks_on and code in _MAY_BE_THE_END:
            answer.hint = (
                " The pages before were answered. If this is how the API says that there are no more, write"
                f" `past_end: {{status_code: {code}}}` in the paginator; if not, rows would be lost."
            )
        return self._others.first(answer) if self._others else None
