"""Pages that begin where the last row of the one before is: its keys go into the next request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, cast
from urllib.parse import quote

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from requests import Request, Response

from analytics_dagster.reading.errors import PageError
from analytics_dagster.spec import KeysetPaginator
from analytics_dagster.spec.pages import PLACE

_LEFT_OUT: Any = object()
_QUOTES = re.compile(r"""['"\\\x00-\x1f]""")
_USUAL_CAP = 50  # APIs cap their pages at multiples of it


class Keyset(dlt_paginators.BasePaginator):
    """Asks for the rows that follow the last one, until none do.

    Rows at the edge of two pages may come twice, where the API sends those with the very keys again: they
    are told by what they hold, and left out once each.

    Args:
        paginator: The file's.
    """

    def __init__(self, paginator: KeysetPaginator) -> None:
        super().__init__()
        self._keys = paginator.fields
        self._paths = [key.split(".") for key in self._keys]
        self._limit = paginator.limit
        self._start = paginator.start

    def init_request(self, request: Request) -> None:
        """Prepare the first request, in which `spec.pages.with_places` has marked where keys go."""
        self._has_next_page = True
        self._template = (request.url, request.params, request.json, request.data, request.headers)
        self._position: tuple[Any, ...] | None = None
        self._seen: set[tuple[Any, ...]] = set()
        self._at_edge = Counter[str]()
        self._length = self._longest = 0
        self._leads_on = self._has_ties = False
        self.update_request(request)

    def new_rows(self, rows: Sequence[Any], where: str) -> list[int]:
        """Look at the rows of a page, and say which ones did not come with the page before.

        Args:
            rows: As the file's `records` makes them.
            where: The URL, for messages.

        Raises:
            PageError: If rows may have been skipped, or the next page cannot be asked for.
        """
        keys = [self._key(row, where) for row in rows]
        before, last = self._position, keys[-1] if keys else None
        if before is not None:
            self._refuse_skipped(keys, before, where)
        known, new = self._at_edge, list[int]()
        for index, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if key == before and known[mark := repr(row)]:
                known[mark] -= 1
            else:
                new.append(index)
        self._leads_on = self._leads_on or (before is not None and bool(new))
        if last is None or last == before:
            self._refuse_stuck(keys, where)
            self._has_next_page = False
        elif None in last:
            missing = self._keys[last.index(None)]
            raise PageError(
                f"The last row of a page of {where} has no `{missing}`, so the next page cannot be asked for."
                " Correct keys in the paginator, or ask for rows that have it."
            )
        if self._has_next_page:
            self._at_edge = Counter(repr(row) for key, row in zip(keys, rows, strict=True) if key == last)
            self._position, self._seen = last, set(keys)
            self._has_ties = self._has_ties or len(self._seen) < len(keys)
            self._length, self._longest = len(keys), max(self._longest, len(keys))
        return new

    def stays_at_start(self, where: str) -> bool:
        """Whether all rows of the first page are those that it was asked from, so that it is the last one.

        To be asked where the request for the next page is that for the first one again.

        Args:
            where: The URL, for messages.

        Raises:
            PageError: If there may be more rows of these keys than a page has.
        """
        if self._seen != {self._position}:
            return False
        self._refuse_stuck([cast("tuple[Any, ...]", self._position)] * self._length, where)
        return True

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Nothing: `new_rows` has seen the page."""

    def update_request(self, request: Request) -> None:
        """Put the keys of the last row into the request."""
        url, params, json, data, headers = self._template
        request.url = PLACE.sub(self._in_url, url)
        request.params, request.json = self._filled(params), self._filled(json)
        request.data = self._filled(data)
        request.headers = {name: str(value) for name, value in self._filled(headers).items()}

    def _refuse_skipped(self, keys: list[tuple[Any, ...]], before: tuple[Any, ...], where: str) -> None:
        names = ", ".join(self._keys)
        again = sum(key != before and key in self._seen for key in keys)
        if again or (keys and keys[-1] == before and set(keys) != {before}):
            raise PageError(
                f"{again or len(keys)} rows of a page of {where} do not follow the last one of the page"
                f" before: the API seems not to know what `{names}` is sent as, or not to sort by it. Correct"
                " the request; where the API sorts otherwise, ask for rows sorted by the keys."
            )
        was_full = bool(self._limit or self._leads_on) and self._is_full(self._length)
        if self._has_ties and before not in keys and (keys or was_full):
            raise PageError(
                f"Several rows of {where} have the same `{names}`, and a page begins behind all that have"
                " those of the page before, so that some may be skipped. Give keys a further field that tells"
                " such rows apart, and send it too; or ask for the rows with the same keys again, if the API"
                " can: those that came already are left out."
            )

    def _refuse_stuck(self, keys: list[tuple[Any, ...]], where: str) -> None:
        """Refuse to end at a page of one key, behind which there may be more rows of it."""
        length = len(keys)
        may_be_capped = not self._leads_on and bool(length) and length % _USUAL_CAP == 0
        if not (may_be_capped or (keys and self._is_full(length))):
            return
        remedy = f" If a page may have more than {length} rows, say how many by `limit`."
        raise PageError(
            f"All {length} rows of a page of {where} have the same `{', '.join(self._keys)}`, so that the"
            " next page would be the same, and further rows of that value would be skipped. Give keys a"
            " further field that tells rows apart, and send it too; or ask for more rows a page."
            + ("" if self._limit or self._leads_on else remedy)
        )

    def _is_full(self, length: int) -> bool:
        """Whether a page of this length may have been cut there."""
        if length < self._longest:
            return False
        if self._leads_on:  # so that a page was seen that was full
            return True
        return length > 1 if self._limit is None else length >= self._limit

    def _key(self, row: Any, where: str) -> tuple[Any, ...]:
        found: list[Any] = []
        for path in self._paths:
            value = row
            for name in path:
                value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
            if isinstance(value, Mapping | list):
                raise PageError(
                    f"`{'.'.join(path)}` of a row of {where} is no plain value; correct the paginator's keys."
                )
            found.append(value)
        return tuple(found)

    def _value(self, place: re.Match[str]) -> Any:
        if self._position is None:
            return self._start.get(place[1], _LEFT_OUT) if place[2] is None else place[2]
        value = self._position[self._keys.index(place[1])]
        return value.isoformat() if isinstance(value, date) else value

    def _filled(self, part: Any) -> Any:
        match part:
            case str():
                place = PLACE.fullmatch(part)
                return self._value(place) if place else PLACE.sub(self._in_text, part)
            case dict():
                items = cast("dict[str, Any]", part).items()
                filled = {self._filled(name): self._filled(value) for name, value in items}
                return {name: value for name, value in filled.items() if value is not _LEFT_OUT}
            case list():
                return [self._filled(value) for value in cast("list[Any]", part)]
            case _:
                return part

    def _in_text(self, place: re.Match[str]) -> str:
        text = str(self._value(place))
        if self._position is not None and _QUOTES.search(text):
            raise PageError(
                f"The last row's `{place[1]}` has a quote or a backslash, which could change the meaning of"
                f" the text that it goes into. Let {{page.{place[1]}}} be a whole value, or take other keys."
            )
        return text

    def _in_url(self, place: re.Match[str]) -> str:
        return quote(str(self._value(place)), safe="%" if self._position is None else "")
