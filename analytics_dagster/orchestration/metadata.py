"""What a materialization tells about itself in the UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.spec import Window

SCHEMA_CHANGES = "schema_changes"
_CELL = 60  # characters


def load_metadata(
    event: dg.AssetMaterialization | dg.MaterializeResult[Any], result: LoadResult
) -> dict[str, Any]:
    """The metadata of one load: counts, table, columns and a preview.

    Args:
        event: What Dagster's dlt integration says of the load; its table schemas are taken over.
        result: What we counted.
    """
    given: Mapping[str, Any] = cast("Any", event).metadata or {}
    return {
        **{
            key: value
            for key, value in given.items()
            if isinstance(value, dg.TableSchemaMetadataValue | dg.TableSchema)
        },
        "rows_loaded": dg.MetadataValue.int(result.rows),
        "rows_by_columns": dg.MetadataValue.int(result.columnar_rows),  # the others went one by one
        # What the API says there is, also of rows beyond the windows that coarse bounds let in.
        **({} if result.stated is None else {"rows_stated": dg.MetadataValue.int(result.stated)}),
        "requests": dg.MetadataValue.int(result.requests),
        "retries": dg.MetadataValue.int(result.retries),
        "pages": dg.MetadataValue.int(result.pages),
        "bytes": dg.MetadataValue.int(result.bytes),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        **changes_metadata(result.schema_changes),
        "preview": dg.MetadataValue.md(markdown_table(result.preview)),
        "dagster/table_name": result.table,
    }


def changes_metadata(changes: Sequence[str]) -> dict[str, Any]:
    """What loads added to the tables that were there; nothing if they added nothing."""
    return {SCHEMA_CHANGES: dg.MetadataValue.json(list(changes))} if changes else {}


def counted_metadata(windows: Sequence[Window]) -> dict[str, Any]:
    """Which partitions the counts and the preview are of, where these are several.

    Args:
        windows: Those of the partitions, in order.
    """
    if len(windows) < 2:
        return {}
    of = f"{len(windows)} partitions, {Window(windows[0].start, windows[-1].end)}"
    return {"counted_together": dg.MetadataValue.text(f"requests, pages, bytes, seconds, preview: of {of}")}


def window_metadata(window: Window, rows: int) -> dict[str, Any]:
    """The metadata of one window: its bounds and its own rows."""
    return {
        "window": dg.MetadataValue.text(str(window)),
        "rows_loaded": dg.MetadataValue.int(rows),
        "dagster/partition_row_count": dg.MetadataValue.int(rows),
    }


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; long values are cut."""
    if not rows:
        return "_no rows_"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([row.get(name) for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
