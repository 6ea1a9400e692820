"""JSON schemas as plainly as guesses need them: one type, all fields. Circles do no harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from analytics_dagster.drafting.document import Document, listing, mapping, text_of
from analytics_dagster.drafting.words import is_plain

_MOST_PARTS = 200  # of allOf, anyOf and oneOf together; circles end there
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d$")
_LINK = re.compile(r"https?://")
_KINDS = {bool: "boolean", int: "integer", float: "number"}


@dataclass(frozen=True)
class Shape:
    """What a value is. `kind` is JSON Schema's type, empty where that is not said."""

    kind: str = ""
    format: str = ""
    text: str = ""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    required: frozenset[str] = frozenset()
    items: Any = None
    raw: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def may_be_null(self) -> bool:
        """Whether null is among its values, however the document says that."""
        alternatives = [*listing(self.raw.get("oneOf")), *listing(self.raw.get("anyOf"))]
        return (
            self.raw.get("nullable") is True  # OpenAPI 3.0
            or isinstance(self.raw.get("type"), list)
            or any(mapping(one).get("type") == "null" for one in alternatives)
        )


class Schemas:
    """Reads the schemas of a document.

    Args:
        document: Where `$ref`s lead.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.is_of_answer = document.is_answer

    def shape(self, schema: Any) -> Shape:
        """What a schema says, with its `allOf` put together, and the first object or list of alternatives.

        Raises:
            DraftError: If a `$ref` leads nowhere.
        """
        fields: dict[str, Any] = {}
        required: set[str] = set()
        raw: dict[str, Any] = {}
        for part in self._parts(schema):
            fields |= mapping(part.get("properties"))
            required |= {name for name in listing(part.get("required")) if isinstance(name, str)}
            raw = {**part, **raw}
        kind = _kind(raw, is_object=bool(fields))
        return Shape(
            kind=kind,
            format=text_of(raw.get("format")),
            text=text_of(raw.get("description")) or text_of(raw.get("title")),
            fields={name: value for name, value in fields.items() if is_plain(name)},
            required=frozenset(required),
            items=raw.get("items"),
            raw=raw,
        )

    def fields(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of an object's fields."""
        return {name: self.shape(schema) for name, schema in shape.fields.items()}

    def inside(self, shape: Shape, depth: int = 3) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """The fields of an object and those of objects in it, the outer ones first, with their paths."""
        level: list[tuple[tuple[str, ...], Shape]] = [((), shape)]
        for _ in range(depth):
            level = [
                ((*path, name), found)
                for path, outer in level
                if outer.kind == "object"
                for name, found in self.fields(outer).items()
            ]
            yield from level

    def _parts(self, schema: Any) -> Iterator[dict[str, Any]]:
        waiting, seen = [schema], 0
        while waiting and seen < _MOST_PARTS:
            seen += 1
            part = self._document.follow(waiting.pop(0))
            yield part
            waiting += listing(part.get("allOf"))
            alternatives = [*listing(part.get("oneOf")), *listing(part.get("anyOf"))]
            followed = [self._document.follow(one) for one in alternatives]
            real = [one for one in followed if one.get("type") != "null"]
            whole = [one for one in real if _kind(one, is_object="properties" in one) in ("object", "array")]
            waiting += (whole or real)[:1]


def _kind(raw: dict[str, Any], *, is_object: bool) -> str:
    kind = raw.get("type")
    if isinstance(kind, list):  # OpenAPI 3.1: ["string", "null"]
        kind = next((one for one in cast("list[Any]", kind) if one != "null"), None)
    if isinstance(kind, str):
        return kind
    if is_object or "allOf" in raw or raw.get("additionalProperties"):
        return "object"
    return "array" if "items" in raw else ""


def schema_of(value: Any) -> dict[str, Any]:
    """The schema of an example or of an answer.

    Args:
        value: Decoded JSON.
    """
    match value:
        case dict():
            fields = cast("dict[str, Any]", value)
            return {
                "type": "object",
                "properties": {name: schema_of(item) for name, item in fields.items()},
                "required": [name for name, item in fields.items() if item is not None],
            }
        case list():
            return {"type": "array", "items": schema_of(next(iter(cast("list[Any]", value)), None))}
        case str():
            return {"type": "string", **_format(value)}
        case _:
            return {"type": _KINDS[type(value)]} if type(value) in _KINDS else {}


def _format(text: str) -> dict[str, str]:
    for name, pattern in (("date-time", _TIME), ("date", _DATE), ("uri", _LINK)):
        if pattern.match(text):
            return {"format": name}
    return {}
