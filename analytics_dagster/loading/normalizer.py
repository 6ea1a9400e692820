"""dlt's normalizer of rows, made exact: no value is rounded or read otherwise, and no field hides another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from dlt.common.data_types.typing import TDataType
from dlt.common.json import custom_pua_decode
from dlt.common.normalizers.json import TNormalizedRowIterator
from dlt.common.normalizers.json.relational import DataItemNormalizer as RelationalNormalizer
from dlt.common.normalizers.typing import TJSONNormalizer
from dlt.common.schema import Schema
from dlt.common.schema.normalizers import configured_normalizers
from dlt.common.schema.typing import DLT_NAME_PREFIX
from dlt.common.time import parse_iso_like_datetime

from analytics_dagster.loading.values import fits_decimal, named_row
from analytics_dagster.reading.errors import ContractError

DECLARED = "x-declared"
"""A column's hint that a person chose its type, so that values may be read as that type."""

MOST_COLUMNS = 5_000
MOST_TABLES = 500
_CONTAINERS = {dict, list}
_DAY_AND_TIME = re.compile(r"\d{4}[-\dW]*[T ]\d")
# More digits than microseconds, and days on which a time zone can lead out of the calendar.
_FINER = re.compile(r".*\d\d[.,]\d{6}\d*[1-9]")
_BEYOND = re.compile(r"\d{4}[-\dW]*[T ]\d[\d:]*[.,]\d{6}\d*[1-9]|0001-?01-?01|9999-?12-?31")


def exact_schema(name: str) -> Schema:
    """A new schema with this normalizer, which dlt stores by the name of this module."""
    normalizer: TJSONNormalizer = {"module": __name__}
    return Schema(name, {**configured_normalizers(schema_name=name), "json": normalizer})


@dataclass(frozen=True)
class _Verbatim:
    """A text that stays one; dlt asks a value that is no `str` for its `value`.

    Others become times where they look like one, without their last digits, and that also in a column beside,
    such as `n__v_text`, which then takes no other text.
    """

    value: str


@dataclass(frozen=True)
class _Columns:
    """What a table has.

    `declared` are the columns that a person chose a type for, but text; `texts` those of text, which hold any
    value; `textless` those that no text fits; `keys` those of the primary key, with their types.
    """

    declared: list[tuple[str, Any]]
    texts: set[str]
    textless: set[str]
    names: set[str]
    keys: dict[str, TDataType | None]


class DataItemNormalizer(RelationalNormalizer):
    """dlt looks for a class of this name.

    A value that its column cannot hold exactly is refused here, so dlt does with it what the schema
    contract says: puts it into a variant column, such as `n__v_double`, or fails.

    Raises:
        ContractError: For fields that would hide one another, numbers that a declared column would round, and
            rows without their primary key.
    """

    def py_type_to_sc_type(self, t: type[Any]) -> TDataType:
        return "text" if t is _Verbatim else super().py_type_to_sc_type(t)

    def coerce_type(self, to_type: TDataType, from_type: TDataType, value: Any) -> Any:
        if to_type != from_type and not _is_exact(to_type, value):
            raise ValueError(value)
        if to_type == "text" and from_type == "bool":
            return str(value).lower()  # as in JSON
        return super().coerce_type(to_type, from_type, value)

    def _columns(self, table: str) -> _Columns:
        if (found := self._known.get(table)) is None:
            tables = self.schema.tables
            if table not in tables and len(tables) >= MOST_TABLES:
                raise ContractError(
                    "a row has lists under so many names that they would be stored in more than"
                    f" {MOST_TABLES:,} tables, `{table}` being the next. Write `max_table_nesting: 0`, which"
                    " keeps lists in JSON columns."
                )
            columns = dict[str, Any](tables.get(table, {}).get("columns", {}))
            texts = {name for name, column in columns.items() if column.get("data_type") == "text"}
            declared = [
                (name, column)
                for name, column in columns.items()
                if column.get(DECLARED) and name not in texts
            ]
            found = self._known[table] = _Columns(
                declared,
                texts,
                textless={
                    name
                    for name, column in columns.items()
                    if column.get("data_type") not in {None, "text", "timestamp"}
                },
                names=set(columns),
                keys={name: columns.get(name, {}).get("data_type") for name in self._get_primary_key(table)},
            )
        return found

    def _reset(self) -> None:
        super()._reset()
        self.own_columns = {self.c_dlt_id, self.c_dlt_load_id, self.c_dlt_root_id, self.c_dlt_parent_id}
        self.own_columns.add(self.c_dlt_list_idx)
        self._known: dict[str, _Columns] = {}

    def _clear_schema_caches(self) -> None:
        super()._clear_schema_caches()
        self._known.clear()

    def _read_as_declared(self, table: str, row: dict[str, Any], name: str, column: Any) -> None:
        value: Any = custom_pua_decode(row[name])
        try:
            read = super().coerce_type(
                column["data_type"], super().py_type_to_sc_type(cast("type[Any]", type(value))), value
            )
            if not _is_faithful(read, value):
                return  # a variant column takes it
        except (ValueError, SyntaxError, InvalidOperation):
            return
        row[name] = read
        if isinstance(read, Decimal):
            sizes = {size: column[size] for size in ("precision", "scale") if column.get(size) is not None}
            if not fits_decimal(read, **sizes):
                raise ContractError(
                    f"{named_row(row, self._get_primary_key(table), f'a row of `{table}`')}: the field"
                    f" `{name}` is {value}, which its column would round or refuse. Give the column more"
                    f" `precision` and `scale`, or write `columns: {{{name}: {{data_type: text}}}}`."
                )

    def _flatten(
        self, table: str, dict_row: Any, _r_lvl: int
    ) -> tuple[Any, dict[tuple[str, ...], Sequence[Any]]]:
        row, lists = super()._flatten(table, dict_row, _r_lvl)
        simple = _CONTAINERS.isdisjoint(map(type, dict_row.values()))
        fine = simple and len(row) == len(dict_row) and self.own_columns.isdisjoint(row)
        if not fine and not table.lower().startswith(DLT_NAME_PREFIX):
            seen = dict.fromkeys(map(str, self.own_columns), "one of dlt's own")
            for name, field in self._names(table, dict_row, _r_lvl, (), ""):
                if name in seen:
                    named = named_row(row, self._get_primary_key(table), f"a row of `{table}`")
                    raise ContractError(
                        f"{named}: the field `{field}` and {seen[name]} would both be stored as"
                        f" `{name}`, and one would be lost. Have the API leave one out, or set"
                        " SCHEMA__NAMING to one of dlt's naming conventions that keeps them apart."
                    )
                seen[name] = f"`{field}`"
        columns = self._columns(table)
        if len(columns.names) + len(row) > MOST_COLUMNS:
            names = columns.names | row.keys()
            if len(names) > MOST_COLUMNS:
                raise ContractError(
                    f"`{table}` would get {len(names):,} columns, more than {MOST_COLUMNS:,}. The API seems"
                    " to write values as names of fields. Keep such an object in one column (`columns: {<its"
                    " name>: {data_type: json}}`), or all of them (`max_table_nesting: 0`)."
                )
        for name, column in columns.declared:
            if row.get(name) is not None:
                self._read_as_declared(table, row, name, column)
        for name in row.keys() - columns.texts:
            value = row[name]
            if type(value) is str:
                row[name] = kept_text(value, fits=name not in columns.textless)
        for name, kind in columns.keys.items() if row else ():  # dlt has a row of nothing for an empty table
            if row.get(name) is None:
                raise ContractError(_without_key(table, name, row))
            self._check_key(table, name, kind, custom_pua_decode(row[name]))
        return row, lists

    def _check_key(self, table: str, name: str, kind: TDataType | None, value: Any) -> None:
        """A value that goes beside its column would leave the row without a key."""
        found = self.py_type_to_sc_type(cast("type[Any]", type(value)))
        if kind in {None, found}:
            return
        try:
            self.coerce_type(cast("TDataType", kind), found, value)
        except (ValueError, SyntaxError, InvalidOperation):
            shown = value.value if isinstance(value, _Verbatim) else value
            raise ContractError(
                f"{named_row({name: shown}, [name], '')}: the field `{name}`, which is in the primary key, is"
                f" no {kind}, as in the rows before. Write `columns: {{{name}: {{data_type: text}}}}`; if"
                f" `{table}` has rows already, reset the resource and load all of it again."
            ) from None

    def _normalize_list(
        self,
        seq: Sequence[Any],
        extend: Any,
        ident_path: Any,
        parent_path: Any,
        parent_row_id: str | None = None,
        _r_lvl: int = 0,
    ) -> TNormalizedRowIterator:
        table = self._shorten_fragments(*parent_path, *ident_path)

        def kept() -> Iterator[Any]:  # one by one: each may be the first, which the column is made for
            for item in seq:
                yield kept_text(item, fits=self.c_value not in self._columns(table).textless)

        items = cast("Any", kept())
        yield from super()._normalize_list(items, extend, ident_path, parent_path, parent_row_id, _r_lvl)

    def _names(
        self, table: str, fields: dict[str, Any], level: int, path: tuple[str, ...], sent: str
    ) -> Iterator[tuple[str, str]]:
        """The name of each column and nested table that dlt makes of a row, and the field that it is for."""
        for key, value in fields.items():
            name = self._normalize_identifier(key) if key and not key.isspace() else self.EMPTY_KEY_IDENTIFIER
            full = self._shorten_fragments(*path, name) if path else name
            nested = type(value) in _CONTAINERS and not self._is_nested_type(table, full, level)
            if not nested:
                yield full, sent + key
            elif isinstance(value, dict):
                inner = cast("dict[str, Any]", value)
                yield from self._names(table, inner, level - 1, (*path, name), f"{sent}{key}.")
            else:
                normalized = self._normalize_table_identifier(key)
                yield f"{table}__{self._shorten_fragments(*path, normalized)}", sent + key


def _without_key(table: str, name: str, row: dict[str, Any]) -> str:
    fields = ", ".join(f"{field}: {_shown(value):.80}" for field, value in list(row.items())[:5])
    what = "is null" if name in row else "is missing"
    nested = next((field for field in row if "__" in field and field.replace("__", "_") == name), None)
    remedy = f"write `{nested}`, as its column is called" if nested else "correct it"
    return (
        f"a row of `{table}` ({fields or 'without fields'}): the field `{name}`, which is in the primary key,"
        f" {what}. In `primary_key` {remedy}, or correct `data_selector` if these are no rows."
    )


def _shown(value: Any) -> str:
    value = custom_pua_decode(value)  # dlt writes times as texts with a mark of its own
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def _is_exact(to_type: TDataType, value: Any) -> bool:
    """Whether a column of a type that nobody declared holds a value of another type exactly."""
    if to_type == "text":
        return True
    if to_type == "timestamp":
        return isinstance(value, str) and _DAY_AND_TIME.match(value) is not None
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        return False
    if to_type == "bigint":
        return -(2**63) <= value < 2**63 and value % 1 == 0
    if to_type == "double":
        return Decimal(repr(float(value))) == value
    return to_type == "decimal" and fits_decimal(Decimal(str(value)))


def _is_faithful(read: Any, sent: Any) -> bool:
    """Whether what was read from a value, because its column says so, says all that was sent."""
    if isinstance(read, bool):
        return isinstance(sent, str) or sent in {0, 1}
    if isinstance(read, int) and not -(2**63) <= read < 2**63:
        return False
    if isinstance(read, int | float | Decimal):
        exact = Decimal(str(sent).strip())  # a text may well say NaN or Infinity, which not all columns hold
        return exact.is_finite() and Decimal(str(read)) == exact
    if isinstance(read, date) and not isinstance(read, datetime):
        return isinstance(sent, date) or (isinstance(sent, str) and len(sent) <= len("2024-01-01"))
    if isinstance(read, datetime | time) and isinstance(sent, str):
        return not _FINER.match(sent)
    return True


def kept_text(value: Any, *, fits: bool) -> Any:
    """A text that would be shortened as a time, or goes beside its column, stays a text.

    Args:
        value: Any value; what is no text is left as it is.
        fits: Whether its column may hold it.
    """
    if type(value) is not str:
        return value
    becomes_time = fits and not (_BEYOND.match(value) and not _fits_timestamp(value))
    return value if becomes_time or not _DAY_AND_TIME.match(value) else _Verbatim(value)


def _fits_timestamp(text: str) -> bool:
    if _FINER.match(text):
        return False
    try:
        parsed = parse_iso_like_datetime(text)
        return not isinstance(parsed, datetime) or bool(parsed.astimezone(UTC))
    except (ValueError, OverflowError):
        return False
