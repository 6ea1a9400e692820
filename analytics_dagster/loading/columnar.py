"""A step that makes Arrow tables of rows, where these say exactly what dlt's way by rows would store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import dlt
from dlt.extract.extractors import MaterializedEmptyList

from analytics_dagster.loading.cursor import PageStep

if TYPE_CHECKING:
    from analytics_dagster.loading.arrow import ArrowTables


class Columnar(PageStep):
    """Last of all steps: make Arrow tables of each batch of rows, one of them and one of each nested table.

    dlt infers the type of a new column from its first value, and coerces values that are not plainly of their
    column's type; it is asked for both here. A batch that Arrow cannot tell dlt exactly goes its way by rows,
    and so does one of which the schema contract may have something to say.
    """

    placement_affinity: ClassVar[float] = 5

    def __init__(self) -> None:
        super().__init__(self._batch)
        self._tables: ArrowTables | None = None
        self.rows = 0
        """How many went by columns."""

    def _batch(self, rows: list[Any]) -> Any:
        if not rows:
            # Given an empty list of another kind, dlt 1.31 forgets that a table with `max_table_nesting` has
            # rows (`seen-data`), and fails to load what else there is, such as a state.
            return rows if isinstance(rows, MaterializedEmptyList) else None
        if self._tables is None:
            from analytics_dagster.loading.arrow import ArrowTables  # noqa: PLC0415 - pyarrow is slow to import

            self._tables = ArrowTables(dlt.current.resource())
        tables = self._tables.tables(rows)
        if tables is None:
            return rows
        self.rows += len(rows)
        return tables.popitem()[1] if len(tables) == 1 else _one_by_one(tables)


def _one_by_one(tables: dict[str, Any]) -> Iterator[Any]:
    for name in list(tables):
        yield dlt.mark.with_table_name(tables.pop(name), name)
