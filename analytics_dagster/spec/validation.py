"""Values against the models, and pydantic's errors in words for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import Problem, closest, nearest, one_of, shown
from analytics_dagster.spec.yaml_source import KeyPath, Node, dotted

M = TypeVar("M", bound=Model)

_PYTHON_ONLY = {
    "processing_steps": "it takes Python functions; `records` lifts, casts, drops and hashes fields",
    "session": "it takes a Python object; retries and budget are set with retry and limits",
    "convert": "it takes a Python function; write format: iso, date, epoch, epoch_ms or a strftime pattern",
    "transform": "it takes a Python function; write format: iso, date, epoch, epoch_ms or a strftime pattern",
}
_CHOSEN_HERE = {
    "file_format": "it is chosen for the destination and cannot be set in a file",
    "table_format": "it is not supported",
    "parent_table_name": "it is not supported",
    "references": "it is not supported",
    "nested_hints": "it is not supported; nested values stay JSON columns with max_table_nesting: 0",
}
_ELSEWHERE = {
    "verify": "TLS is always verified; for a CA of your own, set REQUESTS_CA_BUNDLE to its file",
    "proxies": "set HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
}
_PAGE_SIZE = "page numbers come without one; write how long pages are into params, such as {per_page: 100}"
_NOT_OF = {  # by the model and the key
    ("EndpointDefaults", "path"): "as in dlt, a resource that says no path has its name as path, so this"
    " would never be used; write path in each resource's endpoint",
    ("PageNumberPaginator", "limit"): _PAGE_SIZE,
    ("PageNumberPaginator", "limit_param"): _PAGE_SIZE,
}
_HOLDERS = {"endpoint", "incremental", "client"}  # keys that others are often written beside, not below
_COMPLETE = {"missing": "this key is missing", "too_short": "expected at least one entry"}
_EXPECTED = {
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "union_tag_not_found": "a mapping with the key type",
}
_LIMITS = {
    "greater_than": "greater than",
    "greater_than_equal": "of at least",
    "less_than_equal": "of at most",
}
_SHOWN_IN_AUTH = {
    "type",
    "location",
    "client_authentication",
    "algorithm",
    "access_token_request_format",
    "login_format",
    "lifetime",
}
_SECRET = re.compile(r"key|token|secret|salt|passw|credential|auth|header|username|client_id", re.IGNORECASE)


def validate(model: type[M], node: Node, file: str, data: Any = None) -> tuple[M | None, list[Problem]]:
    """Make a model of a part of a file.

    Args:
        model: What the part should be.
        node: The part, for the places of problems.
        file: The name that problems give.
        data: The part's values where they are not the node's own.

    Returns:
        The model, None where there are problems; and the problems.
    """
    try:
        return model.model_validate(node.plain() if data is None else data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistyped = {_meant(model, detail["loc"]) for detail in details if detail["type"] == "extra_forbidden"}
        return None, [
            _problem(model, node, file, detail)
            for detail in details
            if not (detail["type"] == "missing" and detail["loc"] in mistyped)
        ]


def _meant(model: type[Model], loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where the key that an unknown one most resembles would stand."""
    return (*loc[:-1], closest(loc[-1], _fields(_follow(model, loc)[1])) or "")


def _problem(model: type[Model], node: Node, file: str, error: ErrorDetails) -> Problem:
    path, kind = _follow(model, error["loc"])
    if error["type"].startswith("union_tag") and "type" in node.locate(path)[0].items:
        path = (*path, "type")
    found, written = node.locate(path)
    return Problem(file, found.line, dotted(written), _message(error, path, kind))


def _follow(kind: Any, loc: tuple[str | int, ...]) -> tuple[KeyPath, Any]:
    """The path of keys in a location of pydantic, without its names of union members, and the type there."""
    path: list[str | int] = []
    inside: Any = None  # the type that holds the last key
    for part in loc:
        kind = _bare(kind)
        if get_origin(kind) in (Union, UnionType):
            kind = next(option for option in get_args(kind) if part in get_args(_fields(option)["type"]))
            continue
        if part == "[key]":
            continue
        path.append(part)
        inside = kind
        container = get_origin(kind) in (list, dict)
        kind = get_args(kind)[-1] if container else _fields(kind).get(str(part))
    return tuple(path), inside


def _bare(kind: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        if len(options) == 1:
            return _bare(options[0])
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        return {}
    return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}


def _message(error: ErrorDetails, path: KeyPath, inside: Any) -> str:
    context = error.get("ctx") or {}
    value = error["input"]
    unlike = "" if _may_be_secret(path, value) else f", not {shown(value)}"
    match error["type"]:
        case "extra_forbidden":
            message = _unknown(str(path[-1]), inside)
        case "value_error":
            message = str(context["error"])
        case "literal_error":
            known = [str(word) for word in _literals(inside, path)]
            message = f"expected {one_of(known)}{unlike}" + (nearest(value, known) if unlike else "")
        case "union_tag_invalid":
            known = re.findall(r"'([^']*)'", context["expected_tags"])
            message = f"expected one of the types {one_of(known)}, not {shown(context['tag'])}" + nearest(
                context["tag"], known
            )
        case "string_type":
            quotes = " (quotes make it text)" if isinstance(value, bool | int | float) else ""
            message = f"expected text{unlike}{quotes}"
        case "int_type":
            bare = " (without quotes)" if isinstance(value, str) and re.fullmatch(r"-?\d+", value) else ""
            message = f"expected a whole number{unlike}{bare}"
        case "list_type" if isinstance(value, dict):
            message = "expected a list, not a mapping; each entry begins with `- `"
        case kind if kind in _LIMITS:
            message = f"expected a number {_LIMITS[kind]} {next(iter(context.values()))}{unlike}"
        case kind:
            message = _COMPLETE.get(kind) or (
                f"expected {_EXPECTED[kind]}{unlike}" if kind in _EXPECTED else error["msg"]
            )
    return message


def _unknown(key: str, inside: Any) -> str:
    if key in _PYTHON_ONLY:
        return f"dlt's {key} cannot stand in a YAML file: {_PYTHON_ONLY[key]}"
    if key in _CHOSEN_HERE:
        return f"dlt's {key} cannot be given here: {_CHOSEN_HERE[key]}"
    if key in _ELSEWHERE:
        return f"unknown key: {_ELSEWHERE[key]}"
    if remedy := _NOT_OF.get((getattr(inside, "__name__", ""), key)):
        return f"unknown key: {remedy}"
    known = list(_fields(inside))
    for place in _HOLDERS & set(known):
        if key in _fields(_bare(_fields(inside)[place])):
            return f"unknown key; it belongs below `{place}`, indented by two more"
    return "unknown key" + (nearest(key, known) or f"; expected one of {one_of(sorted(known))}")


def _literals(inside: Any, path: KeyPath) -> list[Any]:
    """What a key may say, from the type that holds it."""
    kind = _fields(inside).get(str(path[-1]))
    return [value for option in _flat(kind) if get_origin(option) is Literal for value in get_args(option)]


def _flat(kind: Any) -> Iterator[Any]:
    kind = _bare(kind)
    if get_origin(kind) in (Union, UnionType):
        for option in get_args(kind):
            yield from _flat(option)
    else:
        yield kind


def _may_be_secret(path: KeyPath, value: Any) -> bool:
    """Whether a value must not be repeated in a message."""
    names = [part for part in path if isinstance(part, str)]
    in_auth = "auth" in names and names[-1] not in _SHOWN_IN_AUTH
    return not isinstance(value, bool) and bool(
        in_auth
        or any(map(_SECRET.search, [name for name in names[-1:] if name not in _SHOWN_IN_AUTH]))
        or "headers" in names
    )
