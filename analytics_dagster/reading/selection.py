"""Where an answer holds its rows, and whether it holds them there at all."""

from __future__ import annotations

import re
from typing import Any, cast

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client.detector import find_response_page_data

from analytics_dagster.reading.errors import SelectorError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.wire import Answer

# The leading fields of a JSONPath: in `$.result.orders[*].items`, that is `$.result.orders`.
_FIELDS = re.compile(r"""\$?(?:\.?(?:[A-Za-z_][\w-]*|"[^"]*"|'[^']*'|\['[^']*'\]|\["[^"]*"\]|\[\d+\]))*""")


class RowSelection:
    """Finds the rows of each page of one endpoint.

    Args:
        data_selector: The file's; None to look for them in the first answer, as dlt does.
    """

    def __init__(self, data_selector: str | None) -> None:
        self._set(data_selector)

    @property
    def is_one_list(self) -> bool:
        """Whether rows come out of one list an answer, so that its length is the length of the page."""
        return self._has_list

    def rows(self, answer: Answer, selected: list[Any] | None) -> list[Any]:
        """The list that a page has at the selector, before a filter or a further `[*]` picks from it.

        Args:
            answer: The page.
            selected: What dlt found with the whole selector.

        Raises:
            SelectorError: If the selector matches nothing. An empty list and null are no rows, and fine.
        """
        document = answer.json()
        if self._selector is None:
            path, _ = find_response_page_data(document)
            self._set(".".join(path))
        if answer.status_code == 204:
            return []
        found = jsonpath.find_values(self._list, document)
        empty = not selected and not (found and found[0] in ([], None))
        if not found or (empty and self._whole and not jsonpath.find_values(self._whole, document)):
            raise SelectorError(
                f"data_selector `{self._selector}` matches nothing in an answer of"
                f" {without_query(answer.url)}. Correct data_selector if the rows are elsewhere, or see"
                f" whether the API tells of an error. {answer.beginning()}"
            )
        if self._has_list and isinstance(found[0], list):
            return cast("list[Any]", found[0])
        return selected or []

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
