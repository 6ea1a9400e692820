"""Makes objects with named fields of rows in other shapes: positions beside names, entries, plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, cast

from analytics_dagster.reading.expressions import Search
from analytics_dagster.spec.expressions import ENVELOPE, in_envelope
from analytics_dagster.spec.records import Positions, Rows

Row = dict[str, Any]

_NUMBERS = dict.fromkeys((int, float, Decimal), "a number")
_KINDS: dict[type[Any], str] = {
    type(None): "null",
    bool: "true or false",
    str: "a text",
    dict: "an object",
    **_NUMBERS,
}


class UnfitError(Exception):
    """A row or an answer does not fit; the message shows no value of it."""


def kind(value: Any) -> str:
    """What a value is, without the value."""
    if isinstance(value, list):
        return f"a list of {len(cast('list[Any]', value))}"
    return "an empty text" if value == "" else _KINDS.get(cast("type[Any]", type(value)), "a value")


def only_objects(row: Any) -> list[Row]:
    """A row that has its shape already.

    Raises:
        UnfitError: If it is no object.
    """
    if not isinstance(row, dict):
        raise UnfitError(
            f"it is {kind(row)}, which has no fields; write rows: zip, columns, entries or scalar"
        )
    return [cast("Row", row)]


class RowShape:
    """Makes rows of one shape.

    Args:
        rows: What the file says.
    """

    def __init__(self, rows: Rows) -> None:
        parts = list(rows.zip or [])
        if rows.columns:
            parts.append(Positions(values="@", names=f"$.{in_envelope(rows.columns)}"))
        self._each = rows.each
        self._parts = [_Part(part, "columns" if rows.columns else "zip") for part in parts]
        self._entries = [rows.entries] if isinstance(rows.entries, str) else rows.entries or []
        self._without = frozenset(rows.without)
        self._scalar = rows.scalar

    def of_answer(self, envelope: Any) -> Callable[[Any], Iterable[Row]]:
        """What makes the rows of one answer.

        Args:
            envelope: The whole answer.

        Raises:
            UnfitError: If it has not the names that it should have; or later, if a row does not fit.
        """
        parts = [part.of_answer(envelope) for part in self._parts]

        def shape(row: Any) -> Iterable[Row]:
            if self._each:
                return (_named(one, parts) if parts else one for one in self._of_each(row))
            if parts:
                row = _named(row, parts)
            return self._rows({}, row, 0) if self._entries or self._scalar else [row]

        return shape

    def _of_each(self, row: Any) -> Iterator[Row]:
        if not isinstance(row, dict):
            raise UnfitError(f"each expects an object with a list `{self._each}`, and here is {kind(row)}")
        fields, name = cast("Row", row), cast("str", self._each)
        if name not in fields:
            known = f"{', '.join(fields):.200}" or "nothing"
            raise UnfitError(f"each expects a list `{name}`, and here is none; there is {known}")
        items = fields[name]
        if items is not None and not isinstance(items, list):
            raise UnfitError(f"each expects a list at `{name}`, and finds {kind(items)}")
        for item in cast("list[Any]", items or []):
            yield {**fields, name: item}

    def _rows(self, keys: Row, value: Any, depth: int) -> Iterator[Row]:
        if depth < len(self._entries):
            yield from self._of_entries(keys, value, depth)
        elif isinstance(value, list) and self._entries:
            for item in cast("list[Any]", value):
                yield self._row(keys, item)
        else:
            yield self._row(keys, value)

    def _of_entries(self, keys: Row, value: Any, depth: int) -> Iterator[Row]:
        name = self._entries[depth]
        if value in (None, []):  # as some write an object without entries
            return
        if not isinstance(value, dict):
            raise UnfitError(
                f"entries expects an object whose keys become `{name}`, and here is {kind(value)}"
            )
        for key, inner in cast("Row", value).items():
            if key not in self._without:
                yield from self._rows({**keys, name: key}, inner, depth + 1)

    def _row(self, keys: Row, value: Any) -> Row:
        if self._scalar:
            if isinstance(value, dict | list):
                raise UnfitError(f"scalar expects plain values, and here is {kind(value)}")
            return {**keys, self._scalar: value}
        if value is None:
            return keys
        if not isinstance(value, dict):
            raise UnfitError(
                f"an entry is {kind(value)}, which has no fields; say by scalar: NAME what to call it"
            )
        fields = cast("Row", value)
        for name, key in keys.items():
            if fields.get(name, key) != key:
                raise UnfitError(f"an entry has a field `{name}` of its own; give entries another name")
        return {**keys, **fields}


class _Part:
    """Values and their names."""

    def __init__(self, part: Positions, key: str) -> None:
        self._key = key
        self._shown = f"`{part.values}`" if key == "zip" else "the row"
        self._values = Search(in_envelope(part.values))
        self._values_are_common = bool(ENVELOPE.match(part.values))
        self._names = Search(in_envelope(part.names)) if isinstance(part.names, str) else None
        self._fixed = part.names
        self._names_are_common = not isinstance(part.names, str) or bool(ENVELOPE.match(part.names))

    def of_answer(self, envelope: Any) -> Callable[[Any], Iterator[tuple[str, Any]]]:
        """What gives the pairs of a row of one answer."""
        common = self._list_of_names(envelope) if self._names_are_common else None

        def pairs(row: Any) -> Iterator[tuple[str, Any]]:
            names = self._list_of_names(row) if common is None else common
            values = self._search(self._values, envelope if self._values_are_common else row)
            if not isinstance(values, list):
                raise UnfitError(
                    f"{self._key} expects a list of values at {self._shown}, and finds {kind(values)}"
                )
            found = cast("list[Any]", values)
            if len(found) != len(names):
                nulls = (
                    "; JMESPath's [*] leaves out nulls, map(&NAME, LIST) keeps them"
                    if self._key == "zip"
                    else ""
                )
                raise UnfitError(
                    f"{self._key} finds {len(found)} values at {self._shown} and {len(names)} names"
                    f" ({', '.join(names):.200}){nulls}"
                )
            return zip(names, found, strict=True)

        return pairs

    def _list_of_names(self, value: Any) -> list[str]:
        found = self._fixed if self._names is None else self._search(self._names, value)
        names = cast("list[Any]", found) if isinstance(found, list) else None
        if names is None or not all(isinstance(name, str) and name for name in names):
            raise UnfitError(
                f"{self._key} expects a list of names at `{self._fixed}`, and finds"
                f" {kind(found) if names is None else 'something else in it'}"
            )
        return names

    def _search(self, search: Search, value: Any) -> Any:
        try:
            return search(value)
        except ValueError as error:
            raise UnfitError(f"{self._key}: {error}") from None


def _named(row: Any, parts: Iterable[Callable[[Any], Iterator[tuple[str, Any]]]]) -> Row:
    named: Row = {}
    for pairs in parts:
        for name, value in pairs(row):
            if name in named:
                raise UnfitError(f"the name `{name}` comes twice, so one of its values would be lost")
            named[name] = value
    return named
