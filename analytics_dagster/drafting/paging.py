"""How pages are asked for, by the names of parameters and of what is around the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analytics_dagster.drafting.document import mapping
from analytics_dagster.drafting.operations import Operation, Parameter
from analytics_dagster.drafting.rows import Rows
from analytics_dagster.drafting.schemas import Schemas, Shape
from analytics_dagster.drafting.words import json_path, snake

_LIMITS = {
    *(
        "limit",
        "page_limit",
        "page_size",
        "pagesize",
        "per_page",
        "perpage",
        "size",
        "page_per_page",
        "count",
    ),
    *("top", "max_results", "maxresults", "max_items", "results_per_page", "items_per_page", "take", "max"),
    *("num_results", "page_length", "first", "hits_per_page", "record_count", "filter_limit", "rows"),
}
_OFFSETS = {
    *("offset", "page_offset", "skip", "start", "start_index", "startindex", "start_at", "first_result"),
    *("from", "start_row", "row_offset", "filter_offset"),
}
_SPAN_STARTS = {"from", "start", "start_at"}
_SPAN_ENDS = {"to", "end", "until", "end_at"}
_PAGES = {
    *("page", "page_number", "pagenumber", "page_no", "page_num", "page_index", "pageno", "pg", "p"),
    *("current_page", "page_page"),
}
_TOKENS = {
    *("cursor", "page_cursor", "page_token", "pagetoken", "next_token", "next_cursor", "next_page_token"),
    *("continuation_token", "continuation", "pagination_token", "scroll_id", "marker", "after", "page_after"),
    *("start_cursor", "next", "bookmark", "start_token", "after_cursor", "cursor_after", "starting_after"),
    *("next_page", "page", "pagination_key", "next_page_id"),
}
_NEXT_TOKENS = (
    *("next_cursor", "next_page_token", "nextpagetoken", "next_token", "next_page_cursor", "cursor_next"),
    *("cursors_next", "next_continuation_token", "continuation_token", "next_marker", "next_page_id"),
    *("cursors_after", "cursor_after", "next_after", "end_cursor", "pagination_token", "next_page", "next"),
    *("scroll_id", "bookmark", "continuation", "after", "cursor", "page_token", "marker"),
)
_NEXT_LINKS = {
    *("next", "next_url", "next_link", "next_page_url", "next_page_link", "next_href", "odata_next_link"),
    *("next_page", "next_uri", "next_page_uri"),
}
_TOTALS = {
    *("total", "total_count", "totalcount", "total_results", "total_items", "total_records", "total_rows"),
    *(
        "total_elements",
        "total_hits",
        "record_count",
        "row_count",
        "num_found",
        "total_size",
        "total_entries",
    ),
    *("count_total", "total_number"),
}
_TOTAL_PAGES = {
    *("total_pages", "totalpages", "page_count", "pagecount", "pages", "last_page", "num_pages"),
    *("pages_total", "total_page_count"),
}
_HAS_MORE = {
    *("has_more", "hasmore", "more", "has_next", "has_next_page", "has_more_items", "more_results"),
    *("has_more_results", "has_more_pages"),
}
_PAGE_SIZE = 100
_LARGEST_PAGE = 1_000
_MAXIMUM = re.compile(r"(?:max(?:imum)?|up to|at most|between 1 and|<=|≤)\D{0,25}?(\d[\d,]*)", re.IGNORECASE)
_AROUND = re.compile(
    r"^(?:page_info|pagination|paging|page|meta|metadata|response_metadata|result_info|info|links?)_"
)


@dataclass(frozen=True)
class Paging:
    """How pages are asked for. `used` are the names of the parameters that are spoken for by it."""

    paginator: dict[str, Any] | None
    why: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    used: frozenset[str] = frozenset()


def find_paging(schemas: Schemas, operation: Operation, rows: Rows) -> Paging:
    """Guess how an operation's pages are asked for.

    Args:
        schemas: Where the answer's schema is from.
        operation: What is asked.
        rows: Where the rows are.
    """
    asked = [one for one in operation.parameters if one.place in ("query", "body")]
    around = {
        path: shape for path, shape in schemas.inside(operation.answer) if path[: len(rows.path)] != rows.path
    }
    if not rows.path:
        around = {}
    limit = _first(asked, _LIMITS, _may_be_number)
    found = (
        _by_token(asked, around, limit)
        or _by_link(operation, around, limit)
        or _by_header(operation, limit)
        or _by_offset(asked, around, limit)
        or _by_number(asked, around, limit)
    )
    if found:
        return found
    return Paging(
        None,
        "no parameter asks for a further page: if there are several, say how in `paginator`",
        _size(limit),
        _names(limit),
    )


def repeated_parameters(answer: Any) -> list[str]:
    """The parameters that an answer seems to repeat, such as `offset` and `limit` beside its rows.

    Args:
        answer: The decoded body.
    """
    top = mapping(answer)
    for around in (top, *(mapping(value) for value in top.values())):
        numbers = {snake(name): name for name, value in around.items() if type(value) is int}
        size = next((name for word, name in numbers.items() if word in _LIMITS - {"count", "size"}), None)
        place = next((name for word, name in numbers.items() if word in _OFFSETS | _PAGES), None)
        if size and place:
            return [place, size]
    return []


def _by_token(
    asked: Sequence[Parameter], around: Mapping[tuple[str, ...], Shape], limit: Parameter | None
) -> Paging | None:
    token = _first(asked, _TOKENS, lambda one: one.shape.kind in ("string", "") and not _is_time(one))
    place = _best(
        around, _NEXT_TOKENS, lambda shape: shape.kind in ("string", "integer", "") and not _is_link(shape)
    )
    if token is None or place is None:
        return None
    where = "cursor_body_path" if token.place == "body" else "cursor_param"
    paginator = {"type": "cursor", "cursor_path": json_path(place), where: token.name}
    more = _place(around, _HAS_MORE, "boolean")
    if more:
        paginator["has_more_path"] = json_path(more)
    why = f"parameter `{token.name}`, and `{'.'.join(place)}` in the answer"
    # Airflow answers with a token only where it is asked for the first page with an empty one.
    first = {token.name: ""} if "empty string" in token.text.lower() else {}
    return Paging(paginator, why, first | _size(limit), _names(token, limit))


def _by_link(
    operation: Operation, around: Mapping[tuple[str, ...], Shape], limit: Parameter | None
) -> Paging | None:
    for path, shape in around.items():
        last = _name(path) if snake(path[-1]) not in ("href", "url") else _name(path[:-1])
        if shape.kind in ("string", "") and last in _NEXT_LINKS and "prev" not in last:
            why = f"`{'.'.join(path)}` in the answer"
            paginator = {"type": "json_link", "next_url_path": json_path(path)}
            if operation.method == "POST":
                paginator["next_method"] = "GET"
                why += "; that links want GET is not stated"
            return Paging(paginator, why, _size(limit), _names(limit))
    return None


def _by_header(operation: Operation, limit: Parameter | None) -> Paging | None:
    if "link" not in operation.headers:
        return None
    return Paging({"type": "header_link"}, "the `Link` header of the answer", _size(limit), _names(limit))


def _by_offset(
    asked: Sequence[Parameter], around: Mapping[tuple[str, ...], Shape], limit: Parameter | None
) -> Paging | None:
    spans = _first(asked, _SPAN_ENDS, lambda _: True) is not None  # `from` and `to` are no offset
    names = _OFFSETS - _SPAN_STARTS if spans else _OFFSETS
    offset = _first(asked, names, lambda one: _may_be_number(one) and not _is_time(one))
    if offset is None or limit is None:
        return None
    paginator: dict[str, Any] = {"type": "offset", "limit": _page_size(limit)}
    for part, one in (("offset", offset), ("limit", limit)):
        if one.place == "body":
            paginator[f"{part}_body_path"] = one.name
        elif one.name != part:
            paginator[f"{part}_param"] = one.name
    first = offset.number("minimum") or 0
    if first:
        paginator["offset"] = first
    _add_ends(paginator, around, _TOTALS)
    return Paging(paginator, f"parameters `{offset.name}` and `{limit.name}`", {}, _names(offset, limit))


def _by_number(
    asked: Sequence[Parameter], around: Mapping[tuple[str, ...], Shape], limit: Parameter | None
) -> Paging | None:
    page = _first(asked, _PAGES, _may_be_number)
    if page is None:
        return None
    stated = page.number("default")
    if stated is None and str(page.default).isdecimal():  # as a person wrote it into a URL
        stated = int(str(page.default))
    base = stated if stated is not None else page.number("minimum")
    paginator: dict[str, Any] = {"type": "page_number", "base_page": base if base in (0, 1) else 1}
    if page.place == "body":
        paginator["page_body_path"] = page.name
    elif page.name != "page":
        paginator["page_param"] = page.name
    _add_ends(paginator, around, _TOTAL_PAGES)
    if "total_path" not in paginator and (rows := _place(around, _TOTALS - {"total"}, "integer")):
        paginator |= {"total_path": json_path(rows), "total_is": "set"}
    why = f"parameter `{page.name}`" + ("" if base in (0, 1) else "; that pages begin with 1 is not stated")
    return Paging(paginator, why, _size(limit), _names(page, limit))


def _add_ends(
    paginator: dict[str, Any], around: Mapping[tuple[str, ...], Shape], totals: Iterable[str]
) -> None:
    total = _place(around, totals, "integer")
    if total and total != ("total",):
        paginator["total_path"] = json_path(total)
    if more := _place(around, _HAS_MORE, "boolean"):
        paginator["has_more_path"] = json_path(more)


def _place(
    around: Mapping[tuple[str, ...], Shape], names: Iterable[str], kind: str
) -> tuple[str, ...] | None:
    kinds = {kind, "number"} if kind == "integer" else {kind}
    return next(
        (path for path, shape in around.items() if {*_called(path)} & {*names} and shape.kind in kinds), None
    )


def _best(
    around: Mapping[tuple[str, ...], Shape], names: Sequence[str], fits: Callable[[Shape], bool]
) -> tuple[str, ...] | None:
    ranks = {
        path: min((names.index(name) for name in _called(path) if name in names), default=None)
        for path, shape in around.items()
        if fits(shape)
    }
    found = {path: rank for path, rank in ranks.items() if rank is not None}
    return min(found, key=lambda path: found[path], default=None)


def _name(path: tuple[str, ...]) -> str:
    """What a field is called, without the words for the object around it that say nothing."""
    return _called(path)[-1]


def _called(path: tuple[str, ...]) -> list[str]:
    """What a field may be called: its whole path, and that without ever more words that say nothing."""
    names = [snake("_".join(path).replace("@", ""))]
    while (shorter := _AROUND.sub("", names[-1])) != names[-1]:
        names.append(shorter)
    return names


def _first(
    asked: Sequence[Parameter], names: Iterable[str], fits: Callable[[Parameter], bool]
) -> Parameter | None:
    return next((one for one in asked if snake(one.name) in names and fits(one)), None)


def _may_be_number(one: Parameter) -> bool:
    return one.shape.kind in ("integer", "number", "") or (
        one.shape.kind == "string" and str(one.shape.raw.get("default", "")).isdecimal()
    )


def _is_time(one: Parameter) -> bool:
    return one.shape.format in ("date", "date-time")


def _is_link(shape: Shape) -> bool:
    return shape.format in ("uri", "url", "uri-reference") or "url" in shape.text.lower().split()


def _page_size(limit: Parameter) -> int:
    found = _MAXIMUM.search(limit.text)
    most = limit.number("maximum") or (int(found[1].replace(",", "")) if found else None)
    if most is None or most < 1:
        return max(_PAGE_SIZE, min(limit.number("default") or 0, _LARGEST_PAGE))
    return min(most, _LARGEST_PAGE)


def _size(limit: Parameter | None) -> dict[str, Any]:
    return {limit.name: _page_size(limit)} if limit else {}


def _names(*parameters: Parameter | None) -> frozenset[str]:
    return frozenset(one.name for one in parameters if one)
