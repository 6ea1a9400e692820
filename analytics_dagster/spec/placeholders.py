"""dlt's `{…}` placeholders in an endpoint: finding them, and what dlt would refuse about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from string import Formatter
from typing import Any, Literal, NamedTuple, cast

from analytics_dagster.spec import templates
from analytics_dagster.spec.endpoint import Endpoint
from analytics_dagster.spec.paginators import KeysetPaginator
from analytics_dagster.spec.problems import closest, nearest, one_of, shown
from analytics_dagster.spec.yaml_source import KeyPath

PARTS = ("path", "params", "json", "form", "data", "headers")
"""The keys of an endpoint in which placeholders may stand."""

VALUE = re.compile("([\x02\x04])([^\x03]*)\x03")
"""A value in a path that is to be encoded, after `ONE_SEGMENT` its `/` too: no file and no URL has these."""

ONE_SEGMENT = "\x04"

FOR_EACH = "for_each"
"""Where a placeholder takes a value of a list from, in place of a resource."""

_KEPT = re.compile(r"(\$\{[^{}]*\}|\{(?:incremental|resources|for_each)\.[\w.-]+\}|\{page\.[\w.@$-]+\})")
_BARE = re.compile(r"[\w.-]+")
_DOUBLED = re.compile(r"\{\{\s*(\w+)(?:\.[\w.-]+)?\s*[^{}]*\}\}")
_BOUNDS = ("initial_value", "start_value", "last_value", "end_value")
_CONTEXTS = ("resources", "incremental", "page", FOR_EACH)
_RESOLVE_KEYS = ("type", "resource", "field")


class Source(NamedTuple):
    """What a request takes a value from: the field of a resource's row, or a list of `for_each`."""

    of: str
    field: str


class Mistake(NamedTuple):
    """What is wrong, and the key that says it, from wherever the search began."""

    path: KeyPath
    message: str


def escaped(value: str) -> str:
    """A text in which no brace begins or ends a placeholder."""
    return value.replace("{", "{{").replace("}", "}}")


def in_dlts_form(text: str) -> str:
    """A text as dlt formats it: its own braces, as JSON and GraphQL have them, doubled.

    A text stays as it is where its braces are those of placeholders, or doubled already, or have no partner,
    which is a mistake.
    """
    pieces = _KEPT.split(text)
    own = "".join(pieces[::2])
    if not ("{" in own and _is_balanced(own)) or "{{" in own or _is_in_dlts_form(text):
        return text
    return "".join(piece if index % 2 else escaped(piece) for index, piece in enumerate(pieces))


def _is_balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall("[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _is_in_dlts_form(text: str) -> bool:
    plain = templates.substitute(text, lambda _: "")
    try:
        return all(
            field is None or _BARE.fullmatch(f"{field}{':' if spec else ''}")
            for _, field, spec, _ in Formatter().parse(plain)
        )
    except ValueError:
        return False


def path_for_dlt(path: str) -> str:
    """A path without braces but those of placeholders; for those of its text, `{{` and `}}`, `%7B` and `%7D`.

    dlt formats a path twice, so that a brace of its text would begin a placeholder after all. It does not
    encode what it puts there, so that is marked as a `VALUE`, except where it may be a whole URL. A `/` stays
    one, as with dlt, unless `!e` is written behind the name.
    """
    written = ""
    for text, field, _, conversion in Formatter().parse(path):
        written += text.replace("{", "%7B").replace("}", "%7D")
        if field is not None:
            mark = ONE_SEGMENT if conversion == "e" else "\x02"
            written += f"{mark}{{{field}}}\x03" if written else f"{{{field}}}"
    return written


def source_of(field: str) -> Source | None:
    """What the name of a placeholder takes its value from; None where that is no row and no list."""
    context, _, rest = field.partition(".")
    if context == FOR_EACH and rest:
        return Source(FOR_EACH, rest)
    of, dot, name = rest.partition(".")
    return Source(of, name) if context == "resources" and dot else None


def resolved(endpoint: Endpoint) -> dict[str, Source]:
    """What dlt's parameters of the type `resolve` take their values from, by the names that they have."""
    return {
        name: Source(str(value.get("resource")), str(value.get("field")))
        for name, value in _bound_params(endpoint)
        if value["type"] == "resolve"
    }


def sources(endpoint: Endpoint, parts: Container[str | int] = PARTS) -> list[Source]:
    """What an endpoint takes values from, each once.

    Args:
        endpoint: The endpoint.
        parts: The keys in which to look; dlt's parameters of the type `resolve` are those of the path.
    """
    found = [source for path, field in fields(endpoint) if path[0] in parts and (source := source_of(field))]
    return list(dict.fromkeys([*found, *(resolved(endpoint).values() if "path" in parts else ())]))


def parents(endpoint: Endpoint) -> list[str]:
    """The resources that an endpoint takes values from, each once."""
    return list(dict.fromkeys(source.of for source in sources(endpoint) if source.of != FOR_EACH))


def renamed(value: Any, name: Callable[[str], str]) -> Any:
    """A copy of a text, or of nested mappings and lists, with other names in its placeholders.

    Args:
        value: Anything; what is neither text nor mapping nor list comes back as it is.
        name: Gives the new name for one.
    """
    match value:
        case str():
            return "".join(
                escaped(text) + ("" if field is None else _placeholder(name(field), conversion, spec))
                for text, field, spec, conversion in Formatter().parse(value)
            )
        case dict():
            items = cast("dict[Any, Any]", value).items()
            return {renamed(key, name): renamed(item, name) for key, item in items}
        case list():
            return [renamed(item, name) for item in cast("list[Any]", value)]
        case _:
            return value


def _placeholder(name: str, conversion: str | None, spec: str | None) -> str:
    return f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"


def bounds_sent(endpoint: Endpoint) -> set[Literal["start", "end"]]:
    """Which bounds of the window a request tells the API."""
    cursor = endpoint.incremental
    found: set[Literal["start", "end"]] = set()
    if cursor and cursor.start_param:
        found.add("start")
    if cursor and cursor.end_param:
        found.add("end")
    for _, field in fields(endpoint):
        if field.startswith("incremental."):
            found.add("end" if field == "incremental.end_value" else "start")
    return found


def without_value(endpoint: Endpoint) -> Iterator[Mistake]:
    """Bounds that would be sent as `None` where there are no windows to give them a value."""
    cursor = endpoint.incremental
    for path, field in fields(endpoint):
        context, _, bound = field.partition(".")
        needed = "end_value" if bound == "end_value" else "initial_value"
        if cursor and context == "incremental" and bound in _BOUNDS and getattr(cursor, needed) is None:
            yield Mistake(
                path, f"{{{field}}} has no value at first; give endpoint.incremental.{needed}, or partitions"
            )


def mistakes(endpoint: Endpoint) -> Iterator[Mistake]:
    """What dlt would refuse, or fail with at its first request, as a key below the endpoint and a message."""
    for path, text in _texts(endpoint):
        try:
            fields = _parse(text)
        except ValueError:
            yield Mistake(
                path, "a { or } has no partner; for a brace that is part of the text, write {{ or }}"
            )
            continue
        for field in fields:
            if message := _mistake_in(field, path, endpoint):
                yield Mistake(path, message)
        for found in _DOUBLED.finditer(text):
            if found[1] in _BOUNDS or ("." in found[0] and closest(found[1], _CONTEXTS)):
                yield Mistake(
                    path,
                    f"{found[0][1:-1]} is sent as it stands; for a bound or a parent's value, write"
                    ' "{incremental.start_value}" or "{resources.PARENT.FIELD}", exactly',
                )
    yield from _mistakes_in_params(endpoint)


def _mistake_in(field: str, path: KeyPath, endpoint: Endpoint) -> str | None:
    context, _, rest = field.partition(".")
    if context in ("resources", FOR_EACH):
        expected = "{resources.PARENT.FIELD}" if context == "resources" else "{for_each.NAME}"
        source = source_of(field)
        return None if source and all(source) else f"expected {expected}, not {{{field}}}"
    if context == "incremental":
        if endpoint.incremental is None:
            return f"{{{field}}} needs endpoint.incremental, which this resource does not have"
        if rest not in _BOUNDS:
            known = one_of(f"{{incremental.{bound}}}" for bound in _BOUNDS)
            return f"expected {known}, not {{{field}}}{nearest(rest, _BOUNDS)}"
        return None
    if context == "page" or (path == ("path",) and field in endpoint.params):
        return None  # `pages` looks at the former
    remedy = "{resources.PARENT.FIELD} or {incremental.start_value}"
    if path == ("path",):
        remedy += ", or a name that endpoint.params gives a value"
    return (
        f"{{{field}}} is no placeholder that dlt knows: expected {remedy}; "
        "for a brace that is part of the text, write {{ or }}" + nearest(context, _CONTEXTS)
    )


def _mistakes_in_params(endpoint: Endpoint) -> Iterator[Mistake]:
    for name, value in endpoint.params.items():
        if isinstance(value, dict) and cast("dict[str, Any]", value).get("type") not in (
            "resolve",
            "incremental",
        ):
            yield Mistake(
                ("params", name),
                "expected a value, a list, or dlt's {type: resolve, …} or {type: incremental, …}; "
                'a placeholder needs quotes: "{incremental.start_value}"',
            )
    bound = list(_bound_params(endpoint))
    in_path = _parse_or_nothing(endpoint.path)
    for name, value in bound:
        path = ("params", name)
        if value["type"] == "incremental":
            yield Mistake(
                path, "an endpoint has one cursor, and this is a second; keep one endpoint.incremental"
            )
            continue
        for key in value:
            if key not in _RESOLVE_KEYS:
                yield Mistake(
                    (*path, key),
                    f"unknown key; expected {one_of(_RESOLVE_KEYS)}{nearest(key, _RESOLVE_KEYS)}",
                )
        for key in ("resource", "field"):
            if not isinstance(value.get(key), str):
                yield Mistake((*path, key), f"expected text, not {shown(value.get(key))}")
        if name not in in_path:
            yield Mistake(
                path,
                f"a resolve parameter fills {{{name}}} in the path, which has none; elsewhere write "
                '"{resources.PARENT.FIELD}"',
            )


def _bound_params(endpoint: Endpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in endpoint.params.items():
        if isinstance(value, dict):
            mapping = cast("dict[str, Any]", value)
            if mapping.get("type") in ("resolve", "incremental"):
                yield name, mapping


def fields(endpoint: Endpoint) -> Iterator[tuple[KeyPath, str]]:
    """What stands in braces in a request, and below which key."""
    for path, text in _texts(endpoint):
        for field in _parse_or_nothing(text):
            yield Mistake(path, field)


def _texts(endpoint: Endpoint) -> Iterator[tuple[KeyPath, str]]:
    for part in PARTS:
        yield from _texts_in(getattr(endpoint, "json_body" if part == "json" else part), (part,))
    if isinstance(endpoint.paginator, KeysetPaginator):
        for name, value in endpoint.paginator.start.items():
            yield from _texts_in(value, ("paginator", "start", name))


def _texts_in(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    match value:
        case str():
            yield Mistake(path, value)
        case dict():
            for key, item in cast("dict[str, Any]", value).items():
                yield Mistake((*path, key), key)
                yield from _texts_in(item, (*path, key))
        case list():
            for index, item in enumerate(cast("list[Any]", value)):
                yield from _texts_in(item, (*path, index))
        case _:
            pass


def _parse(text: str) -> list[str]:
    """The names in braces; a `${NAME}` template is none of them."""
    plain = templates.substitute(text, lambda _: "")
    return [field for _, field, _, _ in Formatter().parse(plain) if field is not None]


def _parse_or_nothing(text: str) -> list[str]:
    try:
        return _parse(text)
    except ValueError:
        return []
