"""Arrow tables of rows, such that dlt makes the same of them as of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import dlt
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.json.helpers import get_propagation_mapping, normalize_table_identifier
from dlt.common.schema import Schema
from dlt.common.schema.exceptions import CannotCoerceColumnException
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.utils import (
    is_complete_column,
    is_nullable_column,
    new_table,
    normalize_table_identifiers,
)
from dlt.common.storages.load_package import load_package_state
from dlt.common.time import UTC_NAME, get_context_timezone_name
from dlt.extract import DltResource
from dlt.extract.items import TableNameMeta
from dlt.normalize.items_normalizers import JsonLItemsNormalizer

from analytics_dagster.loading.columns import Cells, UnfitError, arrow_column, is_plain, random_ids
from analytics_dagster.loading.nested import RowTable, row_tables
from analytics_dagster.loading.normalizer import DECLARED, MOST_COLUMNS, MOST_TABLES, kept_text
from analytics_dagster.loading.values import destination_name

pa = cast("Any", pyarrow)

_DESTINATIONS = {"duckdb", "postgres"}


class ArrowTables:
    """Makes Arrow tables of the rows of one resource; to be made while dlt extracts them.

    Args:
        resource: dlt's resource that is extracted.
    """

    def __init__(self, resource: DltResource) -> None:
        self._load_id = str(load_package_state().get("load_id"))
        self._caps = Container()[DestinationCapabilitiesContext]
        self._schema = dlt.current.source_schema()
        self._resource = resource.name
        self._name = ""
        self._may_grow = True
        nowhere = cast("Any", None)
        config: Any = SimpleNamespace(destination_capabilities=self._caps)
        self._rows: Any = JsonLItemsNormalizer(nowhere, nowhere, nowhere, self._schema, self._load_id, config)
        self._works = (
            destination_name() in _DESTINATIONS
            and get_context_timezone_name() == UTC_NAME
            and self._begin(resource)
        )

    def _begin(self, resource: DltResource) -> bool:
        """Have the table in dlt's schema as dlt has it before it writes the first rows.

        Returns:
            Whether dlt's schema contract lets a table be known before its rows are.
        """
        schema = self._schema
        table: Any = resource.compute_table_schema()
        self._name = table["name"] = normalize_table_identifier(schema, schema.naming, table["name"])
        table = normalize_table_identifiers(table, schema.naming)
        if schema.resolve_contract_settings_for_table(self._name, table) != DEFAULT_SCHEMA_CONTRACT_MODE:
            return False
        schema.update_table(table, normalize_identifiers=False, merge_compound_props=False)
        _keep_known(resource, schema, self._name)
        return True

    def tables(self, rows: list[Any]) -> dict[str, Any] | None:
        """Rows as Arrow tables, by their names; nested ones come last. None if they have to go by rows."""
        if not self._works:
            return None
        try:
            return self._tables(rows)
        except UnfitError:
            # What columns these rows add is known when dlt normalizes them, after all have been read.
            self._may_grow = False
            return None

    def _tables(self, rows: list[Any]) -> dict[str, Any]:
        if set(map(type, rows)) != {dict}:
            raise UnfitError
        normalizer: Any = self._schema.data_item_normalizer
        if normalizer._get_root_row_id_type(self._name) != "random":
            raise UnfitError
        tables = row_tables(normalizer, self._name, rows)
        if len(self._schema.tables.keys() | {table.name for table in tables}) > MOST_TABLES:
            raise UnfitError
        own: dict[str, dict[str, Any]] = {}
        made: dict[str, Any] = {}
        new: list[Any] = []
        for table in tables:
            own[table.name] = self._own_columns(normalizer, table, own)
            partial, made[table.name] = self._table(normalizer, table, own[table.name])
            if partial["columns"]:
                new.append(partial)
        for partial in new:
            self._schema.update_table(partial, normalize_identifiers=False)
        for name in made.keys() - {self._name}:
            self._schema.tables[name] = cast("Any", _Nested(self._schema.tables[name], self._resource))
        return made

    def _own_columns(
        self, normalizer: Any, table: RowTable, own: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The columns that dlt adds: ids, and those of a nested row's parent and of the row that has all."""
        ids = {normalizer.c_dlt_id: random_ids(table.count)}
        if table.parent is None:
            return {normalizer.c_dlt_load_id: pa.repeat(self._load_id, table.count), **ids}
        parents, number = own[table.parent.name], pa.array(table.parents)
        linked = {
            normalizer.c_dlt_parent_id: parents[normalizer.c_dlt_id].take(number),
            normalizer.c_dlt_list_idx: pa.array(table.places),
            **ids,
        }
        config: Any = normalizer.get_normalizer_config(self._schema).get("propagation") or {}
        given = get_propagation_mapping(config, self._name, is_root=True)
        if not given:
            return linked
        if given != {normalizer.c_dlt_id: normalizer.c_dlt_root_id}:
            raise UnfitError
        inherited = normalizer.c_dlt_id if table.parent.parent is None else normalizer.c_dlt_root_id
        return {normalizer.c_dlt_root_id: parents[inherited].take(number), **linked}

    def _table(self, normalizer: Any, table: RowTable, own: Mapping[str, Any]) -> tuple[Any, Any]:
        """What is new of a table for dlt's schema, and its rows as Arrow's table."""
        schema = self._schema
        if not normalizer.own_columns.isdisjoint(table.columns):
            raise UnfitError
        parent = cast("Any", table.parent and table.parent.name)
        known: Any = schema.tables.get(table.name)
        if known is None:
            if normalize_table_identifier(schema, schema.naming, table.name) != table.name:
                raise UnfitError
            known = new_table(table.name, parent)
        elif known.get("parent") != parent:
            raise UnfitError
        before = cast("dict[str, Any]", known["columns"])
        columns = {name: column for name, column in before.items() if is_complete_column(column)}
        new = self._new_columns(table, before, columns, own)
        if any(not is_nullable_column(before[name]) for name in before.keys() - columns.keys()):
            raise UnfitError
        arrays = dict(own) | self._arrays(normalizer, table, columns, new)
        if len(columns) > MOST_COLUMNS:
            raise UnfitError
        for name, column in columns.items():
            if not is_nullable_column(column) and (name not in arrays or arrays[name].null_count):
                raise UnfitError
        fields = [
            pa.field(name, arrays[name].type, nullable=is_nullable_column(column))
            for name, column in columns.items()
            if name in arrays
        ]
        made = pa.Table.from_arrays([arrays[field.name] for field in fields], schema=pa.schema(fields))
        return {**known, "columns": new}, made

    def _new_columns(
        self, table: RowTable, before: Mapping[str, Any], columns: dict[str, Any], own: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What dlt adds for the first value of each column that has no type yet, added to `columns` too."""
        firsts: dict[str, Any] = {}
        for name, cells in table.columns.items():
            if name not in columns:
                first = next((value for value in cells.values if value is not None), None)
                if first is not None:
                    firsts[name] = kept_text(first, fits=True)
        firsts |= {name: array[0].as_py() for name, array in own.items() if name not in columns}
        if not firsts:
            return {}
        if not self._may_grow:
            raise UnfitError
        new: dict[str, Any] = {}
        for name, first in firsts.items():
            stored, new[name], _ = self._rows._coerce_non_null_value(before, table.name, name, first)
            if stored != name:
                raise UnfitError  # it would go into a variant column
        columns |= new
        return new

    def _arrays(
        self, normalizer: Any, table: RowTable, columns: dict[str, Any], new: dict[str, Any]
    ) -> dict[str, Any]:
        """The values of each column; and of those beside, which are added to `columns` and `new`."""
        arrays: dict[str, Any] = {}
        keys = normalizer._get_primary_key(table.name)
        for name in [name for name in table.columns if name in columns]:
            arrays[name] = arrow_column(table.columns[name], columns[name])
            if arrays[name] is not None:
                continue
            if name in keys or columns[name].get(DECLARED):
                raise UnfitError
            coerced = self._coerced(table, name, columns, new)
            if not (coerced.keys() - {name}).isdisjoint(arrays.keys() | table.columns.keys()):
                raise UnfitError
            for stored, values in coerced.items():
                arrays[stored] = arrow_column(Cells.of(values), columns[stored])
                if arrays[stored] is None:
                    raise UnfitError
        return arrays

    def _coerced(
        self, table: RowTable, name: str, columns: dict[str, Any], new: dict[str, Any]
    ) -> dict[str, list[Any]]:
        """The values of a column as dlt coerces them one by one, by the column that it stores each in.

        What does not fit goes into a column beside, such as `n__v_double`.
        """
        data_type: str = columns[name]["data_type"]
        values = table.columns[name].values
        coerced = {name: list(values)}
        for number, value in enumerate(values):
            if value is None or is_plain(value, data_type):
                continue
            text_or_not = kept_text(value, fits=data_type in {"text", "timestamp"})
            try:
                stored, added, made = self._rows._coerce_non_null_value(
                    columns, table.name, name, text_or_not
                )
            except CannotCoerceColumnException:
                raise UnfitError from None
            if added:
                if not self._may_grow:
                    raise UnfitError
                columns[stored] = new[stored] = added
            coerced[name][number] = None
            coerced.setdefault(stored, [None] * table.count)[number] = made
        return coerced


class _Nested(dict[str, Any]):
    """A nested table's schema.

    dlt 1.31 has "resource" for root tables alone, and yet asks for it where it counts what was extracted
    (`Extract._compute_metrics`), as if it never were nested tables.
    """

    def __init__(self, table: Any, resource: str) -> None:
        super().__init__(table)
        self._resource = resource

    def __missing__(self, key: str) -> Any:
        if key == "resource":
            return self._resource
        raise KeyError(key)


def _keep_known(resource: DltResource, schema: Schema, root: str) -> None:
    """Have dlt's extractor of Arrow tables leave dlt's schema as it is.

    It would take a nested table for another root table, and a column of JSON for one of text.
    """
    compute = resource.compute_table_schema

    def compute_table_schema(item: Any = None, meta: Any = None) -> Any:
        if not isinstance(item, pa.Table):
            return compute(item, meta)
        name = meta.table_name if isinstance(meta, TableNameMeta) else root
        known: Any = schema.tables[name]
        if name == root:
            table: Any = normalize_table_identifiers(compute(), schema.naming)
        else:
            table = new_table(name, known["parent"])
        for name, column in known["columns"].items():
            if column.get("data_type") == "json":
                table["columns"].setdefault(name, {"name": name})["data_type"] = "json"
        return table

    resource.compute_table_schema = compute_table_schema
