"""What a paginator needs of the request whose pages it finds, and where a keyset goes in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from analytics_dagster.spec.endpoint import Endpoint
from analytics_dagster.spec.paginators import KeysetPaginator
from analytics_dagster.spec.placeholders import PARTS, Mistake, fields
from analytics_dagster.spec.problems import nearest, one_of

PLACE = re.compile("\x11([^\x12\x13]*)(?:\x12([^\x13]*))?\x13")
"""Where a key goes, and with which text at first: between characters that no file and no URL has."""

_FIELD = re.compile(r"(?<!\{)((?:\{\{)*)\{page\.([^{}]+)\}")


def with_places(endpoint: Endpoint) -> Endpoint:
    """An endpoint in whose request each `{page.FIELD}` is a `PLACE`, which dlt leaves alone.

    A text of `start` is in it as well, so that dlt fills in its placeholders.

    Args:
        endpoint: The file's.
    """
    if not isinstance(paginator := endpoint.paginator, KeysetPaginator):
        return endpoint

    def place(found: re.Match[str]) -> str:
        start = paginator.start.get(found[2])
        return f"{found[1]}\x11{found[2]}" + (f"\x12{start}\x13" if isinstance(start, str) else "\x13")

    names = ["json_body" if part == "json" else part for part in PARTS]
    return endpoint.model_copy(update={name: _replaced(getattr(endpoint, name), place) for name in names})


def _replaced(value: Any, place: Any) -> Any:
    match value:
        case str():
            return _FIELD.sub(place, value)
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {_FIELD.sub(place, name): _replaced(item, place) for name, item in items}
        case list():
            return [_replaced(item, place) for item in cast("list[Any]", value)]
        case _:
            return value


def mistakes(endpoint: Endpoint) -> Iterator[Mistake]:
    """What would not arrive as it is meant, as a key below the endpoint and a message."""
    yield from _in_forms(endpoint)
    used = [
        (path, field.removeprefix("page.")) for path, field in fields(endpoint) if field.startswith("page.")
    ]
    paginator = endpoint.paginator
    if not isinstance(paginator, KeysetPaginator):
        for path, name in used:
            yield Mistake(
                path,
                f"{{page.{name}}} is the last row's `{name}`, which needs paginator: {{type: keyset, keys:"
                f" [{name}]}} in this endpoint",
            )
        return
    if endpoint.response is not None:
        yield Mistake(
            ("response",),
            "a keyset knows the rows of an answer again that is one JSON document; leave it out",
        )
    keys, cursor = paginator.fields, endpoint.incremental
    for path, name in used:
        if name not in keys:
            known = one_of(f"{{page.{key}}}" for key in keys)
            yield Mistake(path, f"expected {known}, not {{page.{name}}}{nearest(name, keys)}")
        elif name not in paginator.start and not _can_be_left_out(endpoint, path, name):
            yield Mistake(
                path,
                f"{{page.{name}}} has no value in the first request; give paginator.start.{name}, or make it"
                " the whole value of a parameter or field, which is then left out",
            )
        elif cursor and path[0] == "params" and path[1] in (cursor.start_param, cursor.end_param):
            yield Mistake(
                path,
                f"incremental would overwrite it; leave start_param out, and write paginator.start.{name}:"
                ' "{incremental.start_value}"',
            )
    for key in keys:
        if key not in [name for _, name in used]:
            yield Mistake(
                ("paginator", "keys"),
                f"no request would have `{key}`; write {{page.{key}}} in path, params, json, form, data or"
                " headers, where the API expects it",
            )


def _can_be_left_out(endpoint: Endpoint, path: tuple[str | int, ...], name: str) -> bool:
    """Whether a placeholder is a value of its own in a mapping."""
    value: Any = getattr(endpoint, "json_body" if path[0] == "json" else str(path[0]))
    if len(path) == 1 or not isinstance(path[-1], str):
        return False
    for key in path[1:]:
        value = cast("Mapping[Any, Any]", value)[key]
    return value == f"{{page.{name}}}"


def _in_forms(endpoint: Endpoint) -> Iterator[Mistake]:
    given = {} if endpoint.paginator is None else endpoint.paginator.model_dump(exclude_none=True)
    for key in (key for key in given if key.endswith("_form")):
        value = key.removesuffix("_form")
        if endpoint.json_body is not None:
            yield Mistake(
                ("paginator", key),
                f"the body of this request is JSON, and has no form; write {value}_body_path",
            )
        elif endpoint.data is not None and not isinstance(endpoint.data, dict):
            yield Mistake(
                ("paginator", key), "the body of this request is one text; give it as fields and values"
            )
        elif endpoint.method == "GET":
            yield Mistake(
                ("paginator", key),
                f"a GET request has no form body; write method: POST, or {value}_param for the query",
            )
