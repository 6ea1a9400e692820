"""Where an answer holds its rows, and whether it holds them there at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client.detector import find_response_page_data
from jsonpath_ng import Child

from analytics_dagster.reading.decode import decode_json
from analytics_dagster.reading.errors import SelectorError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.wire import Answer

# The leading fields of a JSONPath: in `$.result.orders[*].items`, that is `$.result.orders`.
_FIELDS = re.compile(r"""\$?(?:\.?(?:[A-Za-z_][\w-]*|"[^"]*"|'[^']*'|\['[^']*'\]|\["[^"]*"\]|\[\d+\]))*""")


@dataclass(frozen=True)
class Page:
    """What an answer holds.

    `rows` is the list at the selector, before a filter or a further `[*]` picks from it; `around` are the
    objects that the list is in, by their paths (`""` for the outermost); None where the rows do not come
    out of one list. `made` are the rows as the file's `records` makes them. `is_past_end` says that the
    answer is what the file expects to a page that is not there.
    """

    answer: Answer
    rows: list[Any]
    around: Mapping[str, dict[str, Any]] | None
    made: Sequence[Any] = ()
    is_past_end: bool = False


class RowSelection:
    """Finds the rows of each page of one endpoint.

    Args:
        data_selector: The file's; None to look for them in the first answer, as dlt does.
        required: Whether an answer without anything at the selector is an error.
        entries: Whether rows may be the entries of an object.
    """

    def __init__(self, data_selector: str | None, *, required: bool = True, entries: bool = False) -> None:
        self._required = required
        self._entries = entries
        self._set(data_selector)

    @property
    def is_one_list(self) -> bool:
        """Whether rows come out of one list an answer, so that its length is the length of the page."""
        return self._has_list

    def page(self, answer: Answer, selected: list[Any] | None) -> Page:
        """What an answer holds.

        Args:
            answer: The answer.
            selected: What dlt found with the whole selector.

        Raises:
            SelectorError: If the selector matches nothing, or there are no rows and the answer tells of an
                error. Apart from that an empty list and null are no rows, and fine.
        """
        document = answer.json()
        if self._selector is None:
            path, _ = find_response_page_data(document)
            self._set(".".join(path))
        if answer.status_code == 204 or answer.has_no_rows:
            return Page(answer, [], {})
        matches = self._list.find(document)
        value: Any = matches[0].value if matches else None
        if self._entries and isinstance(value, dict):
            value = list(cast("dict[str, Any]", value).items())
            selected = selected if value else []
        if self._has_list and isinstance(value, str | int | float | Decimal):
            raise SelectorError(
                f"data_selector `{self._selector or '$'}` leads to {value!r:.80} in an answer of"
                f" {without_query(answer.url)}, where rows should be. {answer.beginning()}"
            )
        is_empty = not selected and value in (None, [])
        around = _around(document, matches)
        self._check(answer, document, around, is_there=bool(matches), is_empty=is_empty, selected=selected)
        if not matches and answer.past_end:
            return Page(answer, [], {}, is_past_end=True)
        if not self._has_list or not (isinstance(value, list) or is_empty):
            return Page(answer, selected or [], None)
        return Page(answer, cast("list[Any]", value or []), around)

    def rows_again(self, body: bytes, charset: str) -> list[Any]:
        """The rows of an earlier page as they came; those that were given out may be changed by now.

        None of a page that was no single JSON document.
        """
        try:
            found = self._list.find(decode_json(body, charset))
        except ValueError:
            return []
        return cast("list[Any]", found[0].value) if found and isinstance(found[0].value, list) else []

    def _check(
        self,
        answer: Answer,
        document: Any,
        around: Mapping[str, dict[str, Any]],
        *,
        is_there: bool,
        is_empty: bool,
        selected: list[Any] | None,
    ) -> None:
        lacks = not is_there
        if not lacks and not selected and not is_empty and self._whole:
            lacks = not self._whole.find(document)
        if lacks:
            around = {**around, **_on_the_way(document, self._whole or self._list)}
        error = _error_in(around) if lacks or is_empty else None
        if lacks and (past_end := answer.past_end) and (past_end.content or not error):
            return
        if lacks and (self._required or error):
            remedy = (
                "Correct data_selector if the rows are elsewhere, or see whether the API tells of an error;"
                " if an answer may lack it, write `data_selector_required: false`."
                if self._required
                else f"There is {error}; if that is no error, write response_actions with action: no_data."
            )
            raise SelectorError(
                f"data_selector `{self._selector}` matches nothing in an answer of"
                f" {without_query(answer.url)}. {remedy} {answer.beginning()}"
            )
        if is_empty and error and self._required:
            raise SelectorError(
                f"An answer of {without_query(answer.url)} has no rows, and {error}. If that"
                f" is no error, write `data_selector_required: false`. {answer.beginning()}"
            )

    def _set(self, selector: str | None) -> None:
        self._selector = selector
        text = selector or "$"
        # `data[*]` finds nothing in an empty list, so the list itself is what must be there.
        whole = re.sub(r"\.?\[\*\]$", "", text) or "$"
        fields = _FIELDS.match(text)
        assert fields is not None
        rest = text[fields.end() :]
        self._has_list = rest in {"", ".*"} or rest.startswith(("[", ".["))
        self._list = jsonpath.compile_path(fields[0] or "$" if self._has_list else whole)
        # A filter may well let nothing through.
        self._whole = None if "?" in text else jsonpath.compile_path(whole)


def _around(document: Any, matches: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """The objects that what was found is in."""
    around: dict[str, dict[str, Any]] = {"": document} if isinstance(document, dict) else {}
    inside = matches[0].context if matches else None
    while inside is not None and inside.context is not None:
        if isinstance(inside.value, dict):
            around[f"{inside.full_path}.".removeprefix("$.")] = inside.value
        inside = inside.context
    return around


def _on_the_way(document: Any, path: Any) -> dict[str, dict[str, Any]]:
    """The objects that a path leads through before it finds nothing, one of which may tell why."""
    while isinstance(path, Child):
        path = cast("Any", path).left
        if found := path.find(document):
            ends: dict[str, dict[str, Any]] = {
                f"{one.full_path}.": one.value for one in found if isinstance(one.value, dict)
            }
            return {**_around(document, found), **ends}
    return {}


def _error_in(around: Mapping[str, dict[str, Any]]) -> str | None:
    """How an answer tells of an error, as GraphQL, Slack, JSend and many others do."""
    for path, fields in around.items():
        for key in ("error", "errors"):
            if fields.get(key):
                return f"something in `{path}{key}`"
        for key in ("success", "ok"):
            if fields.get(key) is False:
                return f"`{path}{key}` is false"
        if fields.get("status") in ("error", "fail"):
            return f"`{path}status` is `{fields['status']}`"
    return None
