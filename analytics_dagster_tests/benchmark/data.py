"""The rows that are served, what a destination must hold once they are loaded, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import psycopg2

Shape = Literal["flat", "nested", "json"]
"""Events of 12 plain columns; events with objects and a list; the same, their nested values kept as JSON."""

SCHEMA = "benchmark"

_CREATED_AT = "TIMESTAMP '2024-01-01' + to_microseconds(i * 1000003) AS created_at"
_FLAT = f"""
    SELECT
        i AS id,
        substr(md5(i::VARCHAR), 1, 16) AS session_id,
        'user_' || i * 7919 % 50021 AS user_name,
        ['page_view', 'click', 'purchase', 'sign_up', 'search'][i % 5 + 1] AS kind,
        'https://shop.example.com/products/' || i * 31 % 997 || '?ref=' || i % 13 AS url,
        CASE WHEN i % 4 > 0 THEN 'Größe ' || i % 101 END AS campaign,
        i * 104729 % 100003 AS duration_ms,
        i % 7 AS quantity,
        (i * 15485863 % 1000003) / 100 AS price,
        (i * 6700417 % 2000003 - 1000001) / 1000003 AS score,
        i % 3 = 0 AS is_mobile,
        {_CREATED_AT}
    FROM range({{rows}}) AS ids(i)
"""
_NESTED = f"""
    SELECT
        i AS id,
        ['page_view', 'click', 'purchase', 'sign_up', 'search'][i % 5 + 1] AS kind,
        struct_pack(name := 'user_' || i * 7919 % 50021, country := ['DE', 'FR', 'PT'][i % 3 + 1]) AS user,
        struct_pack(kind := ['phone', 'desktop'][i % 2 + 1], width := 320 + i % 9 * 160) AS device,
        list_transform(range(i % 4), lambda n: struct_pack(
            sku := 'sku_' || (i + n) * 7907 % 9973, quantity := n + 1, price := (i * 31 + n) % 10007 / 100
        )) AS items,
        {_CREATED_AT}
    FROM range({{rows}}) AS ids(i)
"""

_USER = "STRUCT(name VARCHAR, country VARCHAR)"
_DEVICE = "STRUCT(kind VARCHAR, width BIGINT)"
_ITEMS = "STRUCT(sku VARCHAR, quantity BIGINT, price DOUBLE)[]"
_INSTANT = "epoch_us(created_at::TIMESTAMPTZ) AS created_at"
_STORED_FLAT = f"""
    SELECT
        id::BIGINT AS id, session_id::VARCHAR, user_name::VARCHAR, kind::VARCHAR, url::VARCHAR,
        campaign::VARCHAR, duration_ms::BIGINT, quantity::BIGINT, price::DOUBLE, score::DOUBLE,
        is_mobile::BOOLEAN, {_INSTANT}
    FROM {{events}}
"""
_STORED_JSON = f"""
    SELECT
        id::BIGINT AS id, kind::VARCHAR,
        "user"::JSON::{_USER}, device::JSON::{_DEVICE}, items::JSON::{_ITEMS}, {_INSTANT}
    FROM {{events}}
"""
_STORED_NESTED = f"""
    SELECT
        id::BIGINT AS id, kind::VARCHAR,
        row(user__name, user__country)::{_USER}, row(device__kind, device__width)::{_DEVICE},
        coalesce(items, []), {_INSTANT}
    FROM {{events}} AS events LEFT JOIN (
        SELECT {{parent}} AS parent, list(row(sku, quantity, price) ORDER BY {{place}})::{_ITEMS} AS items
        FROM {{events}}__items GROUP BY ALL
    ) ON parent = events.{{key}}
"""


@dataclass(frozen=True)
class Contents:
    """What a table holds: its rows, their distinct ids, and a sum over all columns that knows no order."""

    rows: int
    ids: int
    checksum: int


def write_rows(shape: Shape, rows: int, path: Path) -> Contents:
    """Write the rows of an API as JSON, one a line, and say what they are."""
    source = _source(shape, rows)
    as_text = "* REPLACE (strftime(created_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS created_at)"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY (SELECT {as_text} FROM ({source})) TO '{path}' (FORMAT json)")
        return _contents(connection, f"SELECT * REPLACE ({_INSTANT}) FROM ({source})")


def contents(shape: Shape, database: Path) -> Contents:
    """What a load left in a DuckDB file, whichever types and child tables its tool chose.

    Raises:
        duckdb.Error: If the tables or columns are not there, or hold what cannot be meant.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return _contents(connection, _stored(connection, shape))


def contents_in_postgres(dsn: str, place: Path) -> Contents:
    """What a load of flat rows left in PostgreSQL.

    Args:
        dsn: The connection string.
        place: A directory for the rows, so that DuckDB adds them up in the same way.
    """
    path = place / "rows.csv"
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor, path.open("wb") as file:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.copy_expert(f"COPY {SCHEMA}.events TO STDOUT (FORMAT csv, HEADER)", file)
    finally:
        connection.close()
    with duckdb.connect() as reader:
        reader.execute("SET TimeZone = 'UTC'")
        return _contents(reader, _STORED_FLAT.format(events=f"read_csv('{path}', all_varchar = true)"))


def _source(shape: Shape, rows: int) -> str:
    return (_FLAT if shape == "flat" else _NESTED).format(rows=rows)


def _stored(connection: duckdb.DuckDBPyConnection, shape: Shape) -> str:
    events = f"{SCHEMA}.events"
    if shape == "flat":
        return _STORED_FLAT.format(events=events)
    if shape == "json":
        return _STORED_JSON.format(events=events)
    described = connection.execute(f"DESCRIBE {events}__items").fetchall()
    if "_dlt_parent_id" in {name for name, *_ in described}:
        parent, place, key = "_dlt_parent_id", "_dlt_list_idx", "_dlt_id"
    else:
        parent, place, key = "event_id", "place", "id"
    return _STORED_NESTED.format(events=events, parent=parent, place=place, key=key)


def _contents(connection: duckdb.DuckDBPyConnection, rows: str) -> Contents:
    sums = f"SELECT count(*), count(DISTINCT id), sum(hash(one)) FROM ({rows}) AS one"
    found = connection.execute(sums).fetchone()
    assert found
    return Contents(*found)
