"""JMESPath in a file: what compiles, and the paths of plain fields among it."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

import jmespath
from jmespath.exceptions import JMESPathError, ParseError
from jmespath.functions import Functions
from pydantic import AfterValidator

from analytics_dagster.spec.problems import nearest, shown

ENVELOPE = re.compile(r"\$(\.|$)")
"""How an expression begins that looks at the whole answer."""

EACH = object()
"""The step of a field's path that stands for every entry of a list."""

_QUOTES = '; a name with other characters than letters, digits and _ needs double quotes: properties."$id"'


def field_path(text: str) -> list[Any]:
    """The steps of a path such as `visits[*].ip`: names, and `EACH` for `[*]`.

    Raises:
        ValueError: If it is anything else than fields and `[*]`.
    """
    return _steps(_parsed(text), text)


def _steps(node: dict[str, Any], text: str) -> list[Any]:
    match node["type"]:
        case "identity":
            return []
        case "field":
            return [node["value"]]
        case "subexpression":
            return [step for child in node["children"] for step in _steps(child, text)]
        case "projection":
            before, after = node["children"]
            return [*_steps(before, text), EACH, *_steps(after, text)]
        case _:
            raise ValueError(f"expected a field, or a path such as visits[*].ip, not {shown(text)}{_QUOTES}")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", jmespath.compile(text).parsed)
    except ParseError as error:
        place = min(error.lex_position, len(text))
        rest = f"from {shown(text[place:])} on" if text[place:].strip() else "for it breaks off"
        raise ValueError(f"{shown(text)} is not JMESPath, {rest}{_QUOTES}") from None
    except (JMESPathError, RecursionError):
        raise ValueError(
            f"expected a JMESPath expression such as properties.time, not {shown(text)}"
        ) from None


def _expression(text: str) -> str:
    pending = [_parsed(text)]
    while pending:
        node = pending.pop()
        pending += node["children"]
        known = cast("dict[str, Any]", Functions.FUNCTION_TABLE)
        if node["type"] == "function_expression" and node["value"] not in known:
            raise ValueError(f"JMESPath has no function {node['value']}{nearest(node['value'], known)}")
    return text


def _row_or_envelope(text: str) -> str:
    _expression(in_envelope(text))
    return text


def in_envelope(text: str) -> str:
    """An expression as the whole answer is searched with it: without the `$.` that it may begin with."""
    return ENVELOPE.sub("", text, count=1) or "@"


def _field_path(text: str) -> str:
    if not field_path(text) or field_path(text)[-1] is EACH:
        raise ValueError(f"expected the path of a field, such as visits[*].ip, not {shown(text)}")
    return text


Expression = Annotated[str, AfterValidator(_expression)]
EnvelopePath = Annotated[str, AfterValidator(_row_or_envelope)]
FieldPath = Annotated[str, AfterValidator(_field_path)]
