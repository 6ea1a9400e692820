"""The columns of many rows: flattened and named as dlt does it row by row, and turned into those of Arrow."""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain, compress
from operator import methodcaller
from os import urandom
from types import NoneType
from typing import Any, NamedTuple, cast

import orjson
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.compute as compute_functions  # pyright: ignore[reportMissingTypeStubs]
from dlt.common.json import custom_encode
from dlt.common.schema.typing import TColumnSchema

pa, pc = cast("Any", pyarrow), cast("Any", compute_functions)

Values = Sequence[Any]
Lists = dict[tuple[str, ...], list[list[Any]]]

_OWN_SIZES = ("precision", "scale", "timezone")
_EXACT_IN_DOUBLE = 2**53
_MANY_CELLS = 1_000_000
_MOST_EMPTY = 4  # cells for each value
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT, _LOCAL = pa.timestamp("us", "UTC"), pa.timestamp("us")
_PLAIN: dict[str, tuple[Any, set[type]]] = {
    "text": (pa.string(), {str}),
    "bigint": (pa.int64(), {int}),
    "double": (pa.float64(), {float, int}),
    "bool": (pa.bool_(), {bool}),
    "timestamp": (_INSTANT, {datetime}),
    "json": (pa.string(), {dict, list}),
}
# Those that Arrow reads as dlt does; in other years a time zone may lead out of the calendar.
_TIME = r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_WITH_OFFSET = _TIME + r"(Z|[+-](0\d|1[0-4]):[0-5]\d)$"
_WITHOUT_OFFSET = _TIME + "$"


class UnfitError(Exception):
    """The rows cannot be told by columns alone, so they go dlt's way by rows."""


class Cells(NamedTuple):
    """The values of a column, and of which types they are; None is of no type."""

    values: Values
    types: set[type]

    @classmethod
    def of(cls, values: Values) -> Cells:
        """Find out of which types values are."""
        return cls(values, set(map(type, values)) - {NoneType})


Columns = dict[str, Cells]


def flat_columns(
    normalizer: Any, table: str, rows: list[dict[str, Any]], level: int
) -> tuple[Columns, Lists]:
    """The columns of rows of a table, by the names that dlt gives them, and the lists that are nested rows.

    Args:
        normalizer: Of the schema; knows names, and which values are kept as JSON.
        table: The table's name.
        rows: All of one table.
        level: How many levels below these rows dlt makes tables and columns of.

    Returns:
        The columns; and the lists of each row, an empty one where it has none, by the parts that the name of
        their table has after that of `table`.

    Raises:
        UnfitError: If two fields have one name.
    """
    flat = _Flat(normalizer, table)
    flat.add(rows, (), level)
    return flat.columns, flat.lists


class _Flat:
    """What `flat_columns` finds; as nested functions, a cycle that would keep the batch until collected."""

    def __init__(self, normalizer: Any, table: str) -> None:
        self.columns: Columns = {}
        self.lists: Lists = {}
        self._normalizer = normalizer
        self._table = table
        self._names: set[str] = set()

    def add(self, rows: list[dict[str, Any]], path: tuple[str, ...], level: int) -> None:
        """Add the columns of rows, or of the objects that rows have at a path."""
        normalizer = self._normalizer
        shapes = dict.fromkeys(map(tuple, rows))
        keys = next(iter(shapes)) if len(shapes) == 1 else tuple(dict.fromkeys(chain.from_iterable(shapes)))
        size = len(keys) * len(rows)
        if size > _MANY_CELLS and size > _MOST_EMPTY * sum(map(len, rows)):
            raise UnfitError  # nearly all of the columns would be empty
        # All values of all rows, one row after another, where each row has the same fields in the same order.
        cells: list[Any] = (
            list(chain.from_iterable(map(methodcaller("values"), rows))) if len(shapes) == 1 else []
        )
        for number, key in enumerate(keys):
            if not key or key.isspace():
                name: str = normalizer.EMPTY_KEY_IDENTIFIER
            else:
                name = normalizer._normalize_identifier(key)
            full = normalizer._shorten_fragments(*path, name) if path else name
            values: Values = cells[number :: len(keys)] if cells else [row.get(key) for row in rows]
            types = set(map(type, values))
            nested = not types.isdisjoint((dict, list))
            if nested and not normalizer._is_nested_type(self._table, full, level):
                if list in types:
                    self._take_lists((*path, normalizer._normalize_table_identifier(key)), values)
                if dict in types:
                    self.add(
                        [value if type(value) is dict else {} for value in values], (*path, name), level - 1
                    )
                if types <= {dict, list}:
                    continue
                values = [None if type(value) in (dict, list) else value for value in values]
                types -= {dict, list}
                if types == {NoneType}:
                    self._take(full)
                    continue
            self._take(full)
            if normalizer.naming.normalize_path(full) != full:
                raise UnfitError
            self.columns[full] = Cells(values, types - {NoneType})

    def _take(self, name: str) -> None:
        if name in self._names or name in self._normalizer.own_columns:
            raise UnfitError
        self._names.add(name)

    def _take_lists(self, fragments: tuple[str, ...], values: Values) -> None:
        self._take(f"{self._table}__{self._normalizer._shorten_fragments(*fragments)}")
        given: list[list[Any]] = [value if type(value) is list else [] for value in values]
        if any(given):
            self.lists[fragments] = given


def arrow_column(cells: Cells, column: TColumnSchema) -> Any:
    """Values as Arrow's, of the type that dlt's column has.

    Args:
        cells: None or what JSON has, or instants.
        column: dlt's column.

    Returns:
        The array; None if a value is not plainly of that type.

    Raises:
        UnfitError: If the column has a type that Arrow would tell dlt otherwise.
    """
    data_type = column.get("data_type") or ""
    if data_type not in _PLAIN or any(column.get(size) is not None for size in _OWN_SIZES):
        raise UnfitError
    values, types = cells
    plain, takes = _PLAIN[data_type]
    if types <= takes or (data_type == "timestamp" and all(issubclass(one, datetime) for one in types)):
        if data_type == "json":
            values = [None if value is None else orjson.dumps(value, custom_encode) for value in values]
        if not (int in types and data_type == "double") or _are_exact(values):
            return pa.array(values, plain)
    if data_type == "timestamp" and types == {str}:
        texts = pa.array(values, pa.string())
        for times in (_cast(texts, _WITH_OFFSET, _INSTANT), _cast(texts, _WITHOUT_OFFSET, _LOCAL)):
            if times is not None:
                return times.cast(pa.int64()).cast(_INSTANT)  # dlt takes those without an offset to be in UTC
    return None


def is_plain(value: Any, data_type: str) -> bool:
    """Whether a value is plainly of one of dlt's types, so that nothing has to be made of it."""
    return type(value) in _PLAIN[data_type][1] and (data_type != "double" or _are_exact([value]))


def _are_exact(numbers: Values) -> bool:
    return all(abs(number) <= _EXACT_IN_DOUBLE for number in numbers if type(number) is int)


def instants(values: Values) -> Any:
    """Cursors as Arrow's instants; None if some are texts that do not say plainly which instant they mean.

    Args:
        values: Texts, or aware times; or None.
    """
    types = Cells.of(values).types
    if types <= {datetime}:
        return pa.array(values, _INSTANT)
    return _cast(pa.array(values, pa.string()), _WITH_OFFSET, _INSTANT) if types == {str} else None


def inside(rows: list[Any], times: Any, start: datetime, end: datetime) -> list[Any]:
    """The rows of a window.

    Args:
        rows: All rows.
        times: The instant of each.
        start: The window's first instant.
        end: The first one after it.
    """
    is_inside = pc.and_(
        pc.greater_equal(times, pa.scalar(start, _INSTANT)), pc.less(times, pa.scalar(end, _INSTANT))
    )
    return rows if pc.all(is_inside).as_py() else list(compress(rows, is_inside.to_pylist()))


def not_before(rows: list[Any], times: Any, start: datetime | None) -> tuple[list[Any], Any]:
    """The rows from a start on, and the instants of these.

    Args:
        rows: All rows.
        times: The instant of each.
        start: None for all rows.
    """
    if start is None:
        return rows, times
    is_new = pc.greater_equal(times, pa.scalar(start, _INSTANT))
    if pc.all(is_new).as_py():
        return rows, times
    return list(compress(rows, is_new.to_pylist())), times.filter(is_new)


def at_either_end(times: Any, start: datetime | None) -> dict[int, datetime]:
    """The instants that are the start or the last of all, by their places.

    Args:
        times: The instants.
        start: None where there is none.
    """
    is_asked = pc.equal(times, pc.max(times))
    if start is not None:
        is_asked = pc.or_(is_asked, pc.equal(times, pa.scalar(start, _INSTANT)))
    places = pc.indices_nonzero(is_asked)
    return dict(zip(places.to_pylist(), datetimes(times.take(places)), strict=True))


def datetimes(times: Any) -> list[datetime]:
    """Arrow's instants as Python's.

    Arrow itself would import pandas for it, where that is installed, which takes longer than a small load.
    """
    return [_EPOCH + timedelta(microseconds=count) for count in times.cast(pa.int64()).to_pylist()]


def first_and_last(times: Any) -> tuple[datetime, datetime]:
    """The least and the greatest of some instants."""
    first, last = datetimes(pa.array([pc.min(times), pc.max(times)]))
    return first, last


def counts_from(times: Any, starts: Sequence[datetime]) -> list[int]:
    """How many instants there are from each start to the next one.

    Args:
        times: The instants, none before the first start; or None.
        starts: In order.
    """
    later = [pc.sum(pc.greater_equal(times, pa.scalar(start, _INSTANT))).as_py() or 0 for start in starts]
    return [count - next_one for count, next_one in zip(later, [*later[1:], 0], strict=True)]


def random_ids(count: int) -> Any:
    """Ids as dlt draws them: 80 bits or more, in Base64."""
    texts = b64encode(urandom(21 * (count // 2 + 1)))  # 28 characters
    ends = array("i", range(0, 14 * count + 1, 14))
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(texts))


def _cast(texts: Any, pattern: str, data_type: Any) -> Any:
    if pc.all(pc.match_substring_regex(texts, pattern)).as_py():
        with suppress(pa.ArrowInvalid):  # the 30th of February
            return texts.cast(data_type)
    return None
