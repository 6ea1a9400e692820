"""What a destination holds, read by its own driver, and compared value by value with what the API sent."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb
import psycopg2

from analytics_dagster.loading.destination import Destination
from analytics_dagster_tests.faults.history import Version
from analytics_dagster_tests.faults.values import from_json
from analytics_dagster_tests.loading.helpers import same

Query = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Stored:
    """A row of a table and those of its nested tables, by field."""

    fields: dict[str, Any]
    nested: dict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))

    @property
    def name(self) -> Version:
        """Which version of which row it says it is."""
        return Version(self.fields.get("number") or 0, self.fields.get("version") or 0)


@contextmanager
def asking(destination: Destination) -> Generator[Query]:
    """A way to ask a destination; nothing is written to it."""
    assert destination.credentials is not None
    if destination.type == "duckdb":
        with duckdb.connect(destination.credentials, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield lambda sql: connection.execute(sql).fetchall()
        return
    server = psycopg2.connect(destination.credentials, options="-c timezone=UTC")
    server.autocommit = True
    try:
        with server.cursor() as cursor:

            def ask(sql: str) -> list[tuple[Any, ...]]:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

            yield ask
    finally:
        server.close()


def stored_rows(ask: Query, dataset: str, table: str) -> tuple[list[Stored], list[str]]:
    """All rows of a table with those of its nested tables; and what these hold that belongs to no row."""
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, column, kind in ask(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        f" WHERE table_schema = '{dataset}' ORDER BY table_name, ordinal_position"
    ):
        if name == table or name.startswith(f"{table}__"):
            columns[name].append((column, kind.lower()))
    found: list[Stored] = []
    lost: list[str] = []
    by_id: dict[str, Stored] = {}
    for name in sorted(columns, key=lambda name: (name.count("__"), name)):
        listed = [column for column, _ in columns[name]]
        texts = ", ".join(
            f'CAST("{column}" AS VARCHAR)' if kind.startswith("json") else f'"{column}"'
            for column, kind in columns[name]
        )
        order = ' ORDER BY "_dlt_list_idx"' if "_dlt_list_idx" in listed else ""
        for values in ask(f'SELECT {texts} FROM "{dataset}"."{name}"{order}'):
            fields = dict(zip(listed, values, strict=True))
            row = Stored(dict(_without_variants(fields)))
            by_id[fields["_dlt_id"]] = row
            if name == table:
                found.append(row)
                continue
            parent = by_id.get(fields["_dlt_parent_id"])
            if parent is None:
                lost.append(f"a row of `{name}` belongs to no row: {row.fields}")
                continue
            parent.nested[name].append(row)
    return found, lost


def _without_variants(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a field has in its column or in one of those beside it, such as `n__v_text`."""
    seen: set[str] = set()
    for column, value in fields.items():
        if value is None or column.startswith("_dlt_"):
            continue
        name = re.sub("__v_.*", "", column)
        yield (f"{column} (a second value)" if name in seen else name), value
        seen.add(name)


def differences(sent: dict[str, Any], stored: Stored, table: str, nesting: int | None) -> list[str]:
    """How a stored row differs from what was sent, field by field.

    Args:
        sent: The row as the API sent it.
        stored: The row as it is stored.
        table: The name of its table.
        nesting: The file's `max_table_nesting`.
    """
    leaves: dict[str, tuple[Any, bool]] = {}  # with whether it is stored as JSON
    lists: dict[str, list[Any]] = {}
    level = 1000 if nesting is None else nesting
    _flatten(sent, "", level, table, leaves, lists)
    found: list[str] = []
    for name in sorted(leaves.keys() | stored.fields.keys()):
        value = leaves.get(name, _Nothing)
        held = stored.fields.get(name, _Nothing)
        if isinstance(value, type) or held is _Nothing or not _same(value, held):
            found.append(f"`{name}` was sent as {_shown(value)} and is stored as {held!r:.200}")
    for name in sorted(lists.keys() | stored.nested.keys()):
        items, rows = lists.get(name, []), stored.nested.get(name, [])
        if len(items) != len(rows):
            found.append(f"`{name}` has {len(rows)} rows for {len(items)} items")
            continue
        for item, row in zip(items, rows, strict=True):
            fields = item if isinstance(item, dict) else {"list" if isinstance(item, list) else "value": item}
            found += [f"{name}: {one}" for one in differences(fields, row, name, level - 1)]
    return found


class _Nothing:
    """No value at all."""


def _flatten(
    sent: dict[str, Any], prefix: str, level: int, table: str, leaves: dict[str, Any], lists: dict[str, Any]
) -> None:
    """As dlt does: objects become columns, lists become tables, and both JSON below the deepest level."""
    for key, value in sent.items():
        name = prefix + key
        nested = isinstance(value, dict | list)
        if nested and level <= 0:
            leaves[name] = (value, True)
        elif isinstance(value, dict):
            _flatten(value, f"{name}__", level - 1, table, leaves, lists)
        elif isinstance(value, list):
            if value:
                lists[f"{table}__{name}"] = value
        elif value is not None:
            leaves[name] = (value, False)


def _shown(value: Any) -> str:
    return "nothing" if value is _Nothing else f"{value[0]!r:.200}"


def _same(leaf: tuple[Any, bool], held: Any) -> bool:
    sent, is_json = leaf
    return _same_json(sent, from_json(held)) if is_json and isinstance(held, str) else same(sent, held)


def _same_json(sent: Any, held: Any) -> bool:
    """Within JSON, a number that no column would hold may have become a text of the same digits."""
    if isinstance(sent, dict):
        return (
            isinstance(held, dict)
            and sent.keys() == held.keys()
            and all(_same_json(sent[key], held[key]) for key in sent)
        )
    if isinstance(sent, list):
        return isinstance(held, list) and len(sent) == len(held) and all(map(_same_json, sent, held))
    if isinstance(sent, str) or sent is None or isinstance(sent, bool):
        return type(sent) is type(held) and sent == held
    return not isinstance(held, bool) and held is not None and Decimal(str(held)) == Decimal(str(sent))
