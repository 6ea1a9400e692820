"""The ways a sandbox cuts a resource into pages, and how a request's parameters are read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.datastructures import URL

from analytics_dagster.sandbox.data import InvalidParameterError, SandboxData, View
from analytics_dagster.sandbox.settings import SandboxSettings

_FILTERS = ("created_after", "created_before", "updated_after", "updated_before")
_KEYSET = ("limit", "cursor")
_NAMES = {
    "offset": ("limit", "offset", "total"),
    "pages": ("page", "page_size", "total"),
    "cursor": _KEYSET,
    "links": _KEYSET,
    "relative-links": _KEYSET,
    "header-links": _KEYSET,
}
STYLES = tuple(_NAMES)


class Page(NamedTuple):
    """What an answer says."""

    body: dict[str, Any]
    headers: dict[str, str]


class _Parameters:
    """A request's parameters: text from a query string, or values from a JSON body."""

    def __init__(self, values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
        for name in values:
            if name not in allowed:
                raise InvalidParameterError(f"there is no parameter {name!r}, only {', '.join(allowed)}")
        self._values = values

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidParameterError(f"{name} is {value!r}, but must be text")
        return value

    def integer(self, name: str, default: int, least: int) -> int:
        text = str(self._values.get(name, default))
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) >= least):
            raise InvalidParameterError(f"{name} is {text!r}, but must be a whole number of at least {least}")
        return int(text)

    def flag(self, name: str) -> bool:
        """True unless the parameter is false."""
        text = str(self._values.get(name, "true")).lower()
        if text not in {"true", "false"}:
            raise InvalidParameterError(f"{name} is {text!r}, but must be true or false")
        return text == "true"


def page(
    style: str,
    data: SandboxData,
    resource: str,
    parameters: Mapping[str, Any],
    *,
    url: URL,
    settings: SandboxSettings,
) -> Page:
    """Answer a request for one page.

    Args:
        style: One of STYLES.
        data: Where the rows come from.
        resource: users, events, sessions or orders.
        parameters: The request's parameters, without its credentials.
        url: The request's URL, for links to the next page.
        settings: For the sizes of pages.

    Raises:
        InvalidParameterError: If a parameter is unknown or has a wrong value.
    """
    read = _Parameters(parameters, (*_NAMES[style], *_FILTERS))
    view = data.view(
        resource,
        created_after=read.text("created_after"),
        created_before=read.text("created_before"),
        updated_after=read.text("updated_after"),
        updated_before=read.text("updated_before"),
    )
    asked = read.integer("page_size" if style == "pages" else "limit", settings.default_page_size, 1)
    size = min(asked, settings.max_page_size)
    match style:
        case "offset":
            return _offset_page(view, read, size)
        case "pages":
            return _numbered_page(view, read, size)
        case _:
            return _keyset_page(style, view, read.text("cursor"), size, url)


def _offset_page(view: View, read: _Parameters, size: int) -> Page:
    offset = read.integer("offset", 0, 0)
    body: dict[str, Any] = {"data": view.rows(offset, size)}
    if read.flag("total"):
        body["total"] = len(view)
    return Page(body, {})


def _numbered_page(view: View, read: _Parameters, size: int) -> Page:
    number = read.integer("page", 1, 1)
    body: dict[str, Any] = {"data": view.rows((number - 1) * size, size), "page": number}
    if read.flag("total"):
        body["total_pages"] = -(-len(view) // size)
    return Page(body, {})


def _keyset_page(style: str, view: View, cursor: str | None, size: int, url: URL) -> Page:
    """A page after a given row: rows deleted between two pages shift nothing."""
    offset = view.place_after(_row_number(cursor)) if cursor else 0
    body: dict[str, Any] = {"data": view.rows(offset, size)}
    end = offset + size
    following = _cursor(view[end - 1]) if end < len(view) else None
    if style == "cursor":
        body["cursors"] = {"next": following}
        return Page(body, {})
    link = None
    if following:
        target = url.remove_query_params("api_key").include_query_params(cursor=following)
        link = f"{target.path}?{target.query}" if style == "relative-links" else str(target)
    if style == "header-links":
        return Page(body, {"Link": f'<{link}>; rel="next"'} if link else {})
    body["next"] = link
    return Page(body, {})


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(f"after:{number}".encode()).decode()


def _row_number(cursor: str) -> int:
    try:
        word, number = base64.b64decode(cursor, b"-_", validate=True).decode("ascii").split(":")
        if word == "after":
            return int(number)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise InvalidParameterError(f"cursor is {cursor!r}, which is not one that this API gave out")
