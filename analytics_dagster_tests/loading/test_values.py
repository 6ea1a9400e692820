"""A value arrives as it was sent, or the load fails and names the row and the field."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from string import ascii_lowercase
from typing import Any

import pytest
import responses
from dlt.common.json import PUA_CHARACTER_MAX, PUA_START
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.loading.values import KeepValues
from analytics_dagster.reading.decode import decode
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into, same

FILE = """\
name: {name}
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  primary_key: id
  write_disposition: replace
  endpoint: {{path: rows, data_selector: data, paginator: single_page}}
  {options}
"""
LONG = Decimal("0.1234567890123456789")
FINE = "2024-01-01T00:00:00.123456789Z"


def as_json(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def load_values(store: Store, values: list[Any], options: str = "") -> None:
    """Load rows with an `id` and, in `x`, one of the values each; a `Decimal` is sent as a number."""
    rows = [f'{{"id": {number}, "x": {as_json(value)}}}' for number, value in enumerate(values)]
    load_text(store, ",".join(rows), options)


def load_text(store: Store, rows: str, options: str = "") -> LoadResult:
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/rows", body=f'{{"data": [{rows}]}}', content_type="application/json")
        file = parse_text(FILE.format(name=store.api, options=options), "apis/x.yaml")
        return load_into(store, file, "rows")


def stored(store: Store, field: str = "x") -> list[Any]:
    """What is in the field's column or one of its variants, row by row."""
    columns = store.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}'"
        f" AND table_name = 'rows' AND regexp_replace(column_name, '__v_.*', '') = '{field}'"
    )
    if not columns:
        return [None] * len(store.ids("rows"))
    names = ", ".join(name for (name,) in columns)
    found = store.fetch(f"SELECT {names} FROM {{}}.rows ORDER BY id")
    return [next((value for value in row if value is not None), None) for row in found]


INTEGERS = [2**63 - 1, -(2**63), 2**63, 2**64 - 1, -(2**63) - 1, 10**28 + 1, 10**30 + 1, 10**90 + 1]


TOGETHER: list[list[Any]] = [
    [2**63],
    [10**30 + 1],
    INTEGERS,
    [LONG],
    [0.5, LONG, 1],
    [1, LONG, 1.5],
    [Decimal("123456789.123456789123"), 2.5, Decimal("1e400")],
    [1, 1.5, 2.0, 1e300],
    [1.5, 1, 2**53 + 1, 5e-324, 1.7976931348623157e308, 0.1, 1e22],
    [True, 1, 0.0, "no", False],
    [1, True, " 2 ", "007", "0x10", "1_000", "٣"],
    [1.5, True, "1.10", "nan", "Infinity", "1e5"],
    ["a", 1, 1.5, True, LONG, 2**70, None],
    [None, "", " ", "a\tb\r\n\\'\"\u2028\x01\x7f", "😀", "\U0010ffff"],
    [FINE],
    ["2024-01-01T00:00:00Z", FINE, "2024-01-01", "17", "soon", 1700000000, 1.5, True],
    ["2024-01-01T00:00:00.1234560Z", "1900-01-01T00:00:00+05:30", "0001-01-01T00:00:00Z"],
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"],
    ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00"],
    [1, "2024-01-01T00:00:00Z", "1969-12-31", "soon", "2024-01-01T00:00:00+05:30"],
    [Decimal("123456789.123456789123"), True, "2024-01-01T00:00:00Z", "soon", False, 1],
    ["2024-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "20240101", "2024", "12:30", "2024-W01-1"],
]


def test_each_value_arrives_as_it_was_sent(store: Store) -> None:
    columns = [f"x{letter}" for letter in ascii_lowercase[: len(TOGETHER)]]
    rows = [
        ", ".join(
            [
                f'"id": {number}',
                *(f'"{name}": {as_json(value)}' for name, value in zip(columns, row, strict=True)),
            ]
        )
        for number, row in enumerate(zip_longest(*TOGETHER))
    ]
    load_text(store, ", ".join(f"{{{row}}}" for row in rows))
    for name, values in zip(columns, TOGETHER, strict=True):
        found = stored(store, name)
        assert [pair for pair in zip(values, found, strict=False) if not same(*pair)] == []


def test_a_value_that_fits_no_longer_goes_to_a_column_beside(duckdb_store: Store) -> None:
    load_values(duckdb_store, [1])
    load_values(duckdb_store, [2, 1.5, LONG])
    found = duckdb_store.fetch("SELECT x, x__v_double, x__v_text FROM {}.rows ORDER BY id")
    assert found == [(2, None, None), (None, 1.5, None), (None, None, str(LONG))]


def test_a_text_that_looks_like_a_time_leaves_room_for_others(duckdb_store: Store) -> None:
    """dlt makes a column of times of it, also of one that is named for texts."""
    times = ["2024-01-01T00:00:00Z", "1969-12-31", "soon"]
    load_values(duckdb_store, [1])
    load_values(duckdb_store, [2, *times, [1, *times], [1, *times]])
    assert stored(duckdb_store)[1:4] == times
    listed = "SELECT value, value__v_text FROM {}.rows__x ORDER BY _dlt_parent_id, _dlt_list_idx"
    assert duckdb_store.fetch(listed) == [(1, None), *((None, text) for text in times)] * 2


def test_times_and_numbers_in_lists_and_objects_are_exact_too(store: Store) -> None:
    load_text(store, f'{{"id": 1, "x": {{"y": {LONG}}}, "z": ["{FINE}", {2**70}]}}')
    assert store.fetch("SELECT x__y FROM {}.rows") == [(str(LONG),)]
    found = store.fetch("SELECT value FROM {}.rows__z ORDER BY _dlt_list_idx")
    assert found == [(FINE,), (str(2**70),)]


@pytest.mark.parametrize(
    ("kind", "sent", "read"),
    [
        ("double", "2.50", 2.5),
        ("bigint", "007", 7),
        ("timestamp", 1700000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("bool", 1, True),
        ("decimal, precision: 38, scale: 20", LONG, LONG),
        ("text", True, "true"),
        ("timestamp", FINE, FINE),
        ("bigint", 1.5, 1.5),
        ("bigint", str(2**63), str(2**63)),
        ("double", "Infinity", "Infinity"),
        ("decimal", "NaN", "NaN"),
        ("decimal", "Infinity", "Infinity"),
        ("date", 1700000000, 1700000000),
        ("bool", 2, 2),
        ("date", "2024-01-01T05:00:00Z", "2024-01-01T05:00:00Z"),
    ],
)
def test_a_declared_type_is_how_values_are_read_if_nothing_is_lost(
    duckdb_store: Store, kind: str, sent: Any, read: Any
) -> None:
    load_values(duckdb_store, [sent], f"columns: {{x: {{data_type: {kind}}}}}")
    found = stored(duckdb_store)[0]
    assert (found.astimezone(UTC) if isinstance(found, datetime) else found) == read


def test_a_time_without_an_offset_is_utc_or_stays_as_it_is(store: Store) -> None:
    load_text(
        store,
        '{"id": 1, "x": "2024-07-01T12:00:00", "y": "2024-07-01T12:00:00"}',
        "columns: {x: {data_type: timestamp, timezone: false}}",
    )
    assert stored(store) == [datetime(2024, 7, 1, 12, 0)]  # noqa: DTZ001 - it has none
    assert stored(store, "y") == [datetime(2024, 7, 1, 12, 0, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('{"id": 7, "x": "a\\ud800"}', r"id: 7: the field `x`.*surrogate"),
        ('{"id": 7, "x": {"y": ["\\uf0261.5"]}}', r"id: 7: the field `x\.y\.0`.*dlt keeps for itself"),
        ('{"id": 7, "userName": 1, "user_name": 2}', r"id: 7: the field `user_name` and `userName`"),
        ('{"id": 7, "a b": 1, "a-b": 2}', r"id: 7: the field `a-b` and `a b`"),
        ('{"id": 7, "ID": 8}', r"the field `ID` and `id`"),
        ('{"id": 7, "a": {"b": 1}, "a__b": 2}', r"id: 7: the field `a__b` and `a\.b`|`a\.b` and `a__b`"),
        ('{"id": 7, "xY": [1], "x_y": [2]}', r"id: 7: the field `x_y` and `xY`"),
        ('{"id": 7, "_dlt_id": "a"}', r"id: 7: the field `_dlt_id`"),
        ('{"id": 7, "": 1, " ": 2}', r"id: 7: the field ` ` and ``"),
        ('{"id": 7, "x": ' + "[" * 300 + "]" * 300 + "}", r"id: 7: the field `x.*nested too deeply"),
    ],
)
def test_what_cannot_be_kept_fails_the_load_and_names_row_and_field(
    duckdb_store: Store, row: str, named: str
) -> None:
    with pytest.raises(ContractError, match=named):
        load_text(duckdb_store, '{"id": 6}, ' + row)


def test_a_row_without_its_key_is_shown_with_its_times(duckdb_store: Store) -> None:
    cast = "records: {fields: {at: {from: at, cast: epoch}}}"
    with pytest.raises(ContractError, match=r"\(at: 2026-11-20T00:00:00\+00:00\): the field `id`.* missing"):
        load_text(duckdb_store, '{"at": 1795132800}', cast)


def test_a_nul_character_is_kept_or_the_load_fails(store: Store) -> None:
    if store.destination.type == "duckdb":
        load_values(store, ["a\0b"])
        assert stored(store) == ["a\0b"]
    else:
        with pytest.raises(ContractError, match=r"id: 0: the field `x`.*NUL"):
            load_values(store, ["a\0b"])


def test_a_declared_decimal_is_never_rounded(store: Store) -> None:
    with pytest.raises(ContractError, match=r"id: 1: the field `x` is 1\.005"):
        load_values(store, [1.25, 1.005], "columns: {x: {data_type: decimal, precision: 10, scale: 2}}")


TIMES = st.datetimes().map(datetime.isoformat)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(INTEGERS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=15),
    st.text(st.characters(codec=None)),
    st.builds(
        "{}{}{}".format, TIMES, st.sampled_from(["", "123", "000"]), st.sampled_from(["", "Z", "+05:30"])
    ),
    st.sampled_from([FINE, "2024-01-01", "1", "1.0", "true", "\uf0261.5", "a\ud800", "a\0b"]),
)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(SCALARS, min_size=1, max_size=8))
def test_any_values_arrive_or_fail_by_name(duckdb_store: Store, values: list[Any]) -> None:
    try:
        load_values(duckdb_store, values)
    except ContractError as error:
        assert "the field `x`" in str(error)  # noqa: PT017 - most examples load
    else:
        assert [pair for pair in zip(values, stored(duckdb_store), strict=True) if not same(*pair)] == []


_ODD = st.sampled_from(
    [
        "\0",
        f"{chr(PUA_START)}1",
        f"{chr(PUA_START + PUA_CHARACTER_MAX)}1",
        "é",
        "\\",
        '"',
        "[",
        "}]",
        "\U0001f600",
        "9" * 19,
        "1" * 25,
        ",9223372036854775808",
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | _ODD, inner, max_size=3),
)


@settings(max_examples=500, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text() | _ODD, _VALUES, max_size=4), max_size=4),
    levels=st.sampled_from([0, 0, 0, 15, 30, 300]),
    escaped=st.booleans(),
    indent=st.sampled_from([None, 1]),
    digits=st.sampled_from(
        ["1.5", "0.12345678901234567", "1e400", "0.1234567890123456789", "18446744073709551615"]
    ),
)
@example(rows=[{"x": -(2**63) - 1}], levels=0, escaped=False, indent=None, digits="1.5")
@example(rows=[{"x": f"{chr(PUA_START)}1"}], levels=0, escaped=False, indent=None, digits="1.5")
def test_rows_are_taken_as_they_came_only_where_a_look_at_each_value_changes_none(
    rows: list[Any], levels: int, escaped: bool, indent: int | None, digits: str
) -> None:
    deep: Any = "DIGITS"
    for _ in range(levels):
        deep = [deep]
    rows = [{**row, "id": 1} for row in [*rows, {"deep": deep}]]
    text = json.dumps(rows, ensure_ascii=escaped, indent=indent).replace('"DIGITS"', digits)
    try:
        document, is_plain = decode(text.encode())
    except UnicodeEncodeError:  # half a pair
        return
    keep = KeepValues(
        parse_text(FILE.format(name="x", options=""), "x.yaml").api.resources[0], Meter(is_plain=False)
    )
    if is_plain:
        assert repr(keep(copy.deepcopy(document))) == repr(document)


def test_a_cursor_finer_than_a_timestamp_is_not_shortened_in_silence(duckdb_store: Store) -> None:
    text = FILE.replace(
        "single_page}}", "single_page, incremental: {{cursor_path: x, initial_value: 2024-01-01}}}}"
    )
    text = text.replace("write_disposition: replace", "write_disposition: merge")
    for options in ("", "columns: {x: {data_type: text}}"):
        file = parse_text(text.format(name=duckdb_store.api, options=options), "apis/x.yaml")
        with responses.RequestsMock() as api:
            api.get("https://api.example.com/rows", json={"data": [{"id": 1, "x": FINE}]})
            if options:
                load_into(duckdb_store, file, "rows")
                assert stored(duckdb_store) == [FINE]
            else:
                with pytest.raises(ContractError, match=r"cursor `x` of a row is 2024.*data_type: text"):
                    load_into(duckdb_store, file, "rows")


def test_a_load_reports_what_it_added_to_the_tables(store: Store) -> None:
    assert load_text(store, '{"id": 1, "x": 1, "z": [1]}').schema_changes == []
    assert load_text(store, '{"id": 1, "x": 2, "z": [2]}').schema_changes == []
    grown = load_text(store, '{"id": 1, "x": "soon", "y": {"a": true}, "z": [2], "more": [{"n": 1}]}')
    assert sorted(grown.schema_changes) == [
        "new column `rows.x__v_text` (text, for values that do not fit the column beside it)",
        "new column `rows.y__a` (bool)",
        "new table `rows__more`",
    ]
    assert load_text(store, '{"id": 1}').schema_changes == []
    assert load_text(store, "").schema_changes == []
