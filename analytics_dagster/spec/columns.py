"""dlt's column hints, which dlt itself would check only when it loads."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from analytics_dagster.spec.problems import nearest, one_of, shown

DATA_TYPES = (
    *("text", "double", "bool", "timestamp", "bigint", "binary", "json", "decimal", "wei", "date", "time"),
)
COLUMN_HINTS = (
    *("name", "data_type", "nullable", "precision", "scale", "timezone", "description", "partition"),
    *("cluster", "unique", "sort", "primary_key", "row_key", "parent_key", "root_key", "merge_key"),
    *("variant", "hard_delete", "dedup_sort", "incremental"),
)


def _known_hint(hint: str) -> str:
    if hint not in COLUMN_HINTS and not hint.startswith("x-"):
        remedy = nearest(hint, COLUMN_HINTS) or f"; expected one of {one_of(sorted(COLUMN_HINTS))}"
        raise ValueError(f"unknown column hint{remedy}")
    return hint


def _known_type(hints: dict[str, Any]) -> dict[str, Any]:
    data_type = hints.get("data_type")
    if data_type is not None and data_type not in DATA_TYPES:
        raise ValueError(
            f"expected {one_of(DATA_TYPES)} as data_type, not {shown(data_type)}"
            + nearest(data_type, DATA_TYPES)
        )
    return hints


Columns = dict[
    str, Annotated[dict[Annotated[str, AfterValidator(_known_hint)], Any], AfterValidator(_known_type)]
]
