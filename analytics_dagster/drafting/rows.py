"""Where an answer holds its rows, and what of a row is a key or a time."""

from __future__ import annotations

from dataclasses import dataclass

from analytics_dagster.drafting.schemas import Schemas, Shape
from analytics_dagster.drafting.words import json_path, last_part, singular, snake, stem, words

_ENVELOPES = (
    *("data", "items", "results", "records", "rows", "entries", "value", "values", "entities", "objects"),
    *("content", "hits", "list", "result", "elements", "resources", "payload", "collection", "docs"),
)
_ABOUT_PAGES = {
    *("total", "count", "next", "previous", "prev", "page", "pages", "paging", "pagination", "meta", "links"),
    *("metadata", "cursor", "cursors", "offset", "limit", "more", "size", "info"),
}
_TIME_WORDS = {"at", "date", "time", "timestamp", "ts", "datetime", "on"}
CLOCKS = ("creat", "updat", "modif", "chang", "occur", "publi", "recei", "inser", "recor", "logge")
"""Stems of words that say of which time a field or a filter is."""


@dataclass(frozen=True)
class Rows:
    """The rows of an answer."""

    path: tuple[str, ...]
    shape: Shape
    fields: dict[str, Shape]
    why: str

    @property
    def selector(self) -> str:
        """The JSONPath of the list of rows."""
        return json_path(self.path)


def find_rows(schemas: Schemas, answer: Shape, path: str) -> Rows | None:
    """The list of rows in an answer; None where it holds one thing, or none that can be told.

    Args:
        schemas: Where the answer's schema is from.
        answer: What the answer is.
        path: That of the request: `/users` may answer with a list called `users`.
    """
    if answer.kind == "array":
        row = _row(schemas, answer)
        return row and Rows((), row, schemas.fields(row), "the answer is a list")
    if answer.kind != "object" or path.rstrip("/").endswith("}"):
        return None
    lists = [
        (place, row)
        for place, shape in schemas.inside(answer)
        if shape.kind == "array" and (row := _row(schemas, shape)) is not None
    ]
    noun = last_part(path)

    def named(place: tuple[str, ...]) -> bool:
        name = snake(place[-1])
        return name in _ENVELOPES or singular(name) == singular(noun) or place[0] == "_embedded"

    likely = [(place, row) for place, row in lists if named(place)]
    if not likely and len(lists) == 1 and _has_envelope(schemas, answer, lists[0][0]):
        likely = lists
    if not likely:
        return None
    place, row = min(likely, key=lambda one: (len(one[0]), _rank(snake(one[0][-1]), noun)))
    others = [json_path(other) for other, _ in lists if other != place]
    why = (
        "the only list of objects in the answer" if not others else f"by its name; there is also {others[0]}"
    )
    return Rows(place, row, schemas.fields(row), why)


def _rank(name: str, noun: str) -> int:
    return -1 if singular(name) == singular(noun) else _ENVELOPES.index(name) if name in _ENVELOPES else 99


def _row(schemas: Schemas, shape: Shape) -> Shape | None:
    row = schemas.shape(shape.items)
    return row if row.kind in ("object", "") else None


def _has_envelope(schemas: Schemas, answer: Shape, place: tuple[str, ...]) -> bool:
    """Whether all that is beside a list is about pages, so that the list is what was asked for.

    Of an answer that a person chose, it is so unless that is one thing with a key of its own.
    """
    others = [name for name in answer.fields if name != place[0]]
    if schemas.is_of_answer:
        return not {"id", "uuid", "guid", "key"} & set(answer.fields)
    return all(set(words(name)) & _ABOUT_PAGES for name in others)


def primary_key(rows: Rows, noun: str) -> tuple[str, str] | None:
    """The field that tells rows apart, and why that is thought.

    Args:
        rows: The rows.
        noun: What they are called, such as `users`.
    """
    names = {snake(name): name for name in reversed(rows.fields)}
    whole, last = singular(noun), singular(noun.rsplit("_", 1)[-1])
    own = [f"{one}_{word}" for one in dict.fromkeys((whole, last)) for word in ("id", "uuid", "key")]
    for known in ("id", "uuid", "guid", "gid", *own, "key"):
        if known in names and rows.fields[names[known]].kind in ("string", "integer", "number", ""):
            return names[known], "by its name"
    needed = [name for name in rows.fields if name in rows.shape.required]
    unique = [name for name in needed if rows.fields[name].format == "uuid"]
    unique = unique or [name for name in needed if "unique" in rows.fields[name].text.lower()]
    unique = unique or [name for name in needed if words(name)[-1:] in (["id"], ["uuid"])]
    return (unique[0], "required, and the only one that looks unique") if len(unique) == 1 else None


def time_fields(rows: Rows) -> dict[str, Shape]:
    """The fields of a row that are times."""
    return {name: shape for name, shape in rows.fields.items() if is_time(name, shape)}


def is_time(name: str, shape: Shape) -> bool:
    """Whether a field is a time, by its format or by its name."""
    if shape.format in ("date-time", "date"):
        return True
    parts = words(name)
    if shape.kind not in ("string", "integer", "number", "") or parts[-1:] == ["id"] or parts[-1:] == ["by"]:
        return False
    return parts[-1:] != [] and (parts[-1] in _TIME_WORDS or stem(parts[-1]) in CLOCKS)
