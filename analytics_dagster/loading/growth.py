"""What a load added to tables that were there before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from dlt.common.schema.typing import C_DLT_ID, DLT_NAME_PREFIX
from dlt.pipeline.pipeline import Pipeline


def schema_changes(pipeline: Pipeline, table: str) -> list[str]:
    """New tables and columns, in words; none after a first load, whose tables are all new.

    These are the changes that dlt made in the destination, as its load packages have them. The pipeline's own
    schema is of no use for that: dagster-dlt takes names and types out of it (dagster#34052).

    Args:
        pipeline: The load's, after it was run.
        table: The resource's table.
    """
    info = pipeline.last_trace.last_load_info if pipeline.last_trace else None
    updates: list[dict[str, Any]] = [
        cast("dict[str, Any]", package.schema_update) for package in (info.load_packages if info else ())
    ]
    if any(_is_new(update[table]) for update in updates if table in update):
        return []
    return [text for update in updates for name in update for text in _changes(name, update[name])]


def _is_new(update: Any) -> bool:
    return C_DLT_ID in update["columns"]  # which each table has from its first day


def _changes(table: str, update: Any) -> Iterator[str]:
    if table.startswith(DLT_NAME_PREFIX):
        return
    if _is_new(update):
        yield f"new table `{table}`"
        return
    for name, column in update["columns"].items():
        why = ", for values that do not fit the column beside it" if column.get("variant") else ""
        yield f"new column `{table}.{name}` ({column['data_type']}{why})"
