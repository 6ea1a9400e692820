"""The tables that dlt makes of rows with lists: the rows of each by columns, and which row is whose child."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from analytics_dagster.loading.columns import Columns, UnfitError, flat_columns


@dataclass(frozen=True)
class RowTable:
    """The rows of one table in a batch.

    Of a nested table, `parents` has the number of each row's parent among the rows of `parent`, and `places`
    which one in its list a row is.
    """

    name: str
    columns: Columns
    count: int
    parent: RowTable | None
    parents: Sequence[int]
    places: Sequence[int]


def row_tables(normalizer: Any, root: str, rows: list[dict[str, Any]]) -> list[RowTable]:
    """The tables of a batch of rows: that of the rows themselves, and nested ones after their parents.

    Args:
        normalizer: Of the schema; knows names, and which values are kept as JSON.
        root: The name of the rows' table.
        rows: The rows.

    Raises:
        UnfitError: If the rows cannot be told by columns alone.
    """
    made = _Tables(normalizer)
    made.add((root,), rows, normalizer._get_table_nesting_level(root, normalizer.max_nesting))
    return list(made.found.values())


class _Tables:
    """What `row_tables` finds; as a nested function, a cycle that would keep the batch until collected."""

    def __init__(self, normalizer: Any) -> None:
        self.found: dict[str, RowTable] = {}
        self._normalizer = normalizer

    def add(
        self,
        path: tuple[str, ...],
        rows: list[Any],
        level: int,
        parent: RowTable | None = None,
        parents: Sequence[int] = (),
        places: Sequence[int] = (),
    ) -> None:
        """Add the table of rows, and after it those nested in them."""
        normalizer = self._normalizer
        name: str = normalizer._shorten_fragments(*path)
        columns, lists = flat_columns(normalizer, name, rows, level)
        if name in self.found:
            raise UnfitError
        table = self.found[name] = RowTable(name, columns, len(rows), parent, parents, places)
        for fragments, given in lists.items():
            items: list[Any] = list(chain.from_iterable(given))
            shapes = {kind if kind in (dict, list) else None for kind in map(type, items)}
            if len(shapes) > 1:
                raise UnfitError
            [shape] = shapes
            if shape is not dict:
                key = "list" if shape is list else normalizer.c_value
                items = [{key: item} for item in items]
            self.add(
                (*path, *fragments),
                items,
                level - (2 if shape is list else 1),
                table,
                [number for number, one in enumerate(given) for _ in one],
                [place for one in given for place in range(len(cast("Sequence[Any]", one)))],
            )
