"""Arrow tables of rows, such that dlt makes the same of them as of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import dlt
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.json.helpers import normalize_table_identifier
from dlt.common.normalizers.utils import generate_dlt_id
from dlt.common.schema import Schema
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.utils import is_complete_column, is_nullable_column, normalize_table_identifiers
from dlt.common.storages.load_package import load_package_state
from dlt.common.time import UTC_NAME, get_context_timezone_name
from dlt.extract import DltResource
from dlt.normalize.items_normalizers import JsonLItemsNormalizer

from analytics_dagster.loading.columns import (
    Columns,
    UnfitError,
    arrow_column,
    flat_columns,
    random_ids,
)
from analytics_dagster.loading.normalizer import MOST_COLUMNS, kept_text

pa = cast("Any", pyarrow)

_DESTINATIONS = {"duckdb", "postgres"}


class ArrowTables:
    """Makes Arrow tables of the rows of one resource; to be made while dlt extracts them.

    Args:
        resource: dlt's resource that the rows come from.
    """

    def __init__(self, resource: DltResource) -> None:
        self._load_id = str(load_package_state().get("load_id"))
        self._caps = Container()[DestinationCapabilitiesContext]
        self._name = ""
        self._may_grow = True
        destination = dlt.current.pipeline().destination.destination_name
        self._works = (
            destination in _DESTINATIONS and get_context_timezone_name() == UTC_NAME and self._begin(resource)
        )

    def _begin(self, resource: DltResource) -> bool:
        """Have the table in dlt's schema as dlt has it before it writes the first rows.

        Returns:
            Whether dlt's schema contract lets a table be known before its rows are.
        """
        schema = dlt.current.source_schema()
        table: Any = resource.compute_table_schema()
        self._name = table["name"] = normalize_table_identifier(schema, schema.naming, table["name"])
        table = normalize_table_identifiers(table, schema.naming)
        if schema.resolve_contract_settings_for_table(self._name, table) != DEFAULT_SCHEMA_CONTRACT_MODE:
            return False
        schema.update_table(table, normalize_identifiers=False, merge_compound_props=False)
        return True

    def table(self, rows: list[Any]) -> Any:
        """Rows as an Arrow table; None if they have to go by rows."""
        if not self._works:
            return None
        try:
            return self._table(rows)
        except UnfitError:
            # What columns these rows add is known when dlt normalizes them, after all have been read.
            self._may_grow = False
            return None

    def _table(self, rows: list[Any]) -> Any:
        if set(map(type, rows)) != {dict}:
            raise UnfitError
        schema = dlt.current.source_schema()
        normalizer: Any = schema.data_item_normalizer
        values = flat_columns(normalizer, self._name, rows)
        if not normalizer.own_columns.isdisjoint(values):
            raise UnfitError
        if normalizer._get_root_row_id_type(self._name) != "random":
            raise UnfitError
        load_id, row_id = normalizer.c_dlt_load_id, normalizer.c_dlt_id
        new = self._new_columns(schema, values, {load_id: self._load_id, row_id: generate_dlt_id()})
        columns = {**schema.get_table_columns(self._name), **new.get("columns", {})}
        if len(columns) > MOST_COLUMNS:
            raise UnfitError
        known = _columns(schema, self._name)
        if any(not is_nullable_column(known[name]) for name in known.keys() - columns.keys()):
            raise UnfitError
        arrays: dict[str, Any] = {
            load_id: pa.repeat(self._load_id, len(rows)),
            row_id: random_ids(len(rows)),
        }
        for name, column in columns.items():
            if name in values:
                arrays[name] = arrow_column(values[name], column)
            if not is_nullable_column(column) and (name not in arrays or arrays[name].null_count):
                raise UnfitError
        if new:
            schema.update_table(new, normalize_identifiers=False)
        fields = [
            pa.field(name, arrays[name].type, nullable=is_nullable_column(column))
            for name, column in columns.items()
            if name in arrays
        ]
        return pa.Table.from_arrays([arrays[field.name] for field in fields], schema=pa.schema(fields))

    def _new_columns(self, schema: Schema, values: Columns, own: Mapping[str, str]) -> Any:
        """What dlt adds to the table for the first value of each column that has no type yet."""
        known = _columns(schema, self._name)
        firsts: dict[str, Any] = {}
        for name, column in values.items():
            if name not in known or not is_complete_column(known[name]):
                first = next((value for value in column if value is not None), None)
                if first is not None:
                    firsts[name] = kept_text(first, fits=True)
        firsts |= {name: value for name, value in own.items() if name not in known}
        if not firsts:
            return {}
        if not self._may_grow:
            raise UnfitError
        nowhere = cast("Any", None)
        config: Any = SimpleNamespace(destination_capabilities=self._caps)
        rows: Any = JsonLItemsNormalizer(nowhere, nowhere, nowhere, schema, self._load_id, config)
        row, new = rows._coerce_row(self._name, None, firsts)
        if row.keys() != firsts.keys():
            raise UnfitError  # one would go into a variant column
        return new


def _columns(schema: Schema, table: str) -> dict[str, Any]:
    return cast("Any", schema.tables[table])["columns"]
