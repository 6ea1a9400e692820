"""Shapes keep all values, expressions keep all digits, casts are exact or fail."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from analytics_dagster.reading.casts import CastError, caster
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.reading.expressions import Search
from analytics_dagster.reading.records import MakeRows
from analytics_dagster.spec import parse_text

LONG = Decimal("12345678901234567890.123456789")
NAMES = some.lists(some.text('ab $:ü"', min_size=1), unique=True, min_size=1, max_size=5)
VALUES = (
    some.none() | some.booleans() | some.integers() | some.text() | some.lists(some.integers(), max_size=2)
)


def make(records: dict[str, Any], selected: list[Any], envelope: Any = None) -> list[dict[str, Any]]:
    text = (
        "client: {base_url: 'https://x.y'}\nresources: [{name: a, write_disposition: replace, records: %s}]"
    )
    read = parse_text(text % json.dumps(records), "x.yaml").api.resources[0].records
    assert read is not None
    return MakeRows(read).rows(selected, envelope, "page 1 of URL")


@settings(max_examples=50, deadline=None)
@given(NAMES, NAMES, some.data())
def test_what_is_taken_apart_into_values_and_names_comes_together_again(
    names: list[str], others: list[str], draw: some.DataObject
) -> None:
    others = [name for name in others if name not in names]
    row = some.fixed_dictionaries(dict.fromkeys([*names, *others], VALUES))
    rows = draw.draw(some.lists(row, max_size=4))
    envelope: dict[str, Any] = {"heads": [{"name": name} for name in names], "columns": [*names, *others]}
    apart = [{"a": [row[name] for name in names], "b": [{"v": row[name]} for name in others]} for row in rows]
    parts: list[dict[str, Any]] = [{"values": "a", "names": "$.heads[*].name"}]
    if others:
        parts.append({"values": "map(&v, b)", "names": others})
    assert make({"rows": {"zip": parts}}, apart, envelope) == rows
    lists = [[row[name] for name in envelope["columns"]] for row in rows]
    assert make({"rows": {"columns": "columns"}}, lists, envelope) == rows


@settings(max_examples=50, deadline=None)
@given(some.dictionaries(some.text(), some.dictionaries(some.sampled_from("abc"), VALUES), max_size=5))
def test_an_object_by_key_comes_back_from_its_rows(by_key: dict[str, dict[str, Any]]) -> None:
    rows = make({"rows": {"entries": "key"}}, [by_key])
    assert {row["key"]: {k: v for k, v in row.items() if k != "key"} for row in rows} == by_key


def test_each_item_of_a_list_becomes_a_row_with_what_is_around_it() -> None:
    series = {"tags": {"host": "a"}, "columns": ["time", "n"], "values": [[1, 5], [2, None]]}
    labels = {"values": "values(tags)", "names": "keys(tags)"}
    zipped = {"each": "values", "zip": [{"values": "values", "names": "columns"}, labels]}
    others = [{**series, "tags": {"rack": "b"}}, {**series, "values": []}, {**series, "values": None}]
    assert make({"rows": zipped}, [series, *others]) == [
        {"time": 1, "n": 5, "host": "a"},
        {"time": 2, "n": None, "host": "a"},
        {"time": 1, "n": 5, "rack": "b"},
        {"time": 2, "n": None, "rack": "b"},
    ]
    order = {"id": 7, "items": [{"sku": "x"}, {"sku": "y"}]}
    assert make({"rows": {"each": "items"}, "fields": {"sku": "items.sku"}, "drop": ["items"]}, [order]) == [
        {"id": 7, "sku": "x"},
        {"id": 7, "sku": "y"},
    ]


@pytest.mark.parametrize(
    ("records", "row", "says"),
    [
        ({"rows": {"each": "v"}}, {"w": [1]}, "a list `v`, and here is none; there is w"),
        ({"rows": {"each": "v"}}, {"v": {}}, "a list at `v`, and finds an object"),
        ({"rows": {"each": "v"}}, [1], "an object with a list `v`, and here is a list of 1"),
        ({"rows": {"zip": [{"values": "v", "names": ["a"]}]}}, {"v": [1, 2]}, "2 values at `v` and 1 names"),
        (
            {"rows": {"zip": [{"values": "v", "names": ["a"]}]}},
            {"w": [1]},
            "list of values at `v`, and finds null",
        ),
        (
            {"rows": {"zip": [{"values": "v[*].x", "names": ["a", "b"]}]}},
            {"v": [{"x": None}, {"x": 1}]},
            "1 values at `v[*].x` and 2 names (a, b); JMESPath's [*] leaves out nulls",
        ),
        (
            {"rows": {"zip": [{"values": "v", "names": ["a"]}, {"values": "w", "names": ["a"]}]}},
            {"v": [1], "w": [2]},
            "`a` comes twice",
        ),
        ({"rows": {"columns": "columns"}}, [1, 2], "`a` comes twice"),
        ({"rows": {"columns": "nowhere"}}, [1], "list of names at `$.nowhere`, and finds null"),
        ({"rows": {"columns": "numbers"}}, [1], "finds something else in it"),
        ({"rows": {"entries": "id"}}, {"7": {"id": 8}}, "`id` of its own"),
        ({"rows": {"entries": "id"}}, {"7": 1}, "say by scalar"),
        ({"rows": {"entries": "id", "scalar": "n"}}, {"7": {}}, "plain values, and here is an object"),
        ({"rows": {"entries": ["a", "b"]}}, {"7": 1}, "keys become `b`, and here is a number"),
        ({"rows": {"scalar": "n"}}, [1], "a list of 1"),
        ({"fields": {"a": "b"}}, "text", "a text, which has no fields; write rows"),
        ({"fields": {"a": "length(b)"}}, {"b": 5}, "`a`: length() does not take number"),
        ({"fields": {"a": "b < c"}}, {"b": 5, "c": "x"}, "`a`: the expression fails (TypeError)"),
        (
            {"fields": {"a": {"from": "b", "cast": "bigint"}}},
            {"b": "x1"},
            "bigint: it is a text, 'x1', no number",
        ),
        ({"fields": {"a": {"from": "b", "cast": "date"}}}, {"b": ""}, 'write from: "NAME || `null`"'),
        ({"drop": ["a.b"]}, {"a": [{"b": 1}]}, "`a` is a list of 1, and drop or hash takes it for an object"),
        ({"hash": ["a"]}, {"a": ["x"]}, "`a`, which is to be hashed, is a list of 1"),
    ],
)
def test_the_first_row_that_does_not_fit_is_named(records: dict[str, Any], row: Any, says: str) -> None:
    with pytest.raises(ContractError) as caught:
        make(records, [row], {"columns": ["a", "a"], "numbers": [1]})
    assert says in str(caught.value)
    assert "page 1 of URL does not fit `records`: " in str(caught.value)


def test_an_answer_without_rows_needs_no_names() -> None:
    zipped = {"zip": [{"values": "a", "names": "$.heads[*].name"}]}
    for rows in ({"columns": "columns"}, zipped):
        assert make({"rows": rows}, [], {"kind": "report"}) == []


def test_fields_stay_unless_dropped_and_see_the_row_as_it_came() -> None:
    records = {"fields": {"a": "b", "b": "a", "c": "d.e"}, "drop": ["x", "missing.y", "d.f"]}
    assert make(records, [{"a": 1, "b": 2, "d": {"e": 3, "f": 4}, "x": 5}]) == [
        {"a": 2, "b": 1, "c": 3, "d": {"e": 3}}
    ]


def test_a_value_that_two_fields_or_all_rows_share_is_hashed_once() -> None:
    shared = {
        "fields": {"copy": "all", "meta": {"envelope": "meta"}},
        "hash": ["all.mail", "copy.mail", "meta.by"],
    }
    once = make({"hash": ["mail"]}, [{"mail": "m"}])[0]["mail"]
    rows = make(shared, [{"all": {"mail": "m"}}, {"all": {"mail": "m"}}], {"meta": {"by": "m"}})
    assert rows == [{"all": {"mail": once}, "copy": {"mail": once}, "meta": {"by": once}}] * 2


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("a", {"a": LONG}, LONG),
        ("to_number(a)", {"a": LONG}, LONG),
        ("to_number(a)", {"a": str(LONG)}, LONG),
        ("to_number(a)", {"a": "9007199254740993"}, 9007199254740993),
        ("to_number(a)", {"a": "1_000"}, None),
        ("to_string(a)", {"a": LONG}, str(LONG)),
        ("to_string(a)", {"a": [2**70, "ü"]}, f'[{2**70},"ü"]'),
        ("type(a)", {"a": LONG}, "number"),
        ("type(a)", {"a": True}, "boolean"),
        ("a > `12345678901234567890`", {"a": LONG}, True),
        ("sum(a)", {"a": [2**70, 1]}, 2**70 + 1),
        ("a[*].b", {}, None),
    ],
)
def test_expressions_keep_every_digit(expression: str, value: Any, expected: Any) -> None:
    found = Search(expression)(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("expression", ["sum([a])", "abs(a)", "max([a, `1`])", "to_string([a])", "avg([a])"])
def test_a_function_that_cannot_keep_the_digits_fails(expression: str) -> None:
    with pytest.raises(ValueError, match=r"a decimal of more digits|fails \(TypeError\)"):
        Search(expression)({"a": LONG})


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bigint", " 12 ", 12),
        ("bigint", 5.0, 5),
        ("bigint", -(2**63), -(2**63)),
        ("double", "1e3", 1000.0),
        ("decimal", 0.1, Decimal("0.1")),
        ("decimal", str(LONG), LONG),
        ("bool", "False", False),
        ("bool", 1, True),
        ("text", True, "true"),
        ("text", LONG, str(LONG)),
        ("timestamp", "2024-01-01 00:00", datetime(2024, 1, 1, tzinfo=UTC)),
        ("epoch", "1704067200.5", datetime(2024, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        ("epoch_ms", "/Date(1704067200500)/", datetime(2024, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        ("epoch_ms", "/Date(-1000+0130)/", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("epoch", 0.1, datetime(1970, 1, 1, 0, 0, 0, 100000, tzinfo=UTC)),
        ("epoch", -1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("date:%Y%m%d", 20240131, date(2024, 1, 31)),
        ("timestamp:%Y-%m-%d %H:%M %z", "2024-01-01 01:00 +0100", datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_casts_are_exact(kind: str, value: Any, expected: Any) -> None:
    found = caster(kind)(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [1.5, "1.5", 2**63, "1e999999", True, "", "١", {}, "1_0"]),
        ("double", ["1e999", "nan", "x"]),
        ("decimal", ["NaN", "inf", [], float("inf")]),
        ("bool", ["yes", 2, {}]),
        ("text", [{}, []]),
        ("timestamp", [1704067200, "yesterday", "2024-01-01T00:00:00.1234567Z", "0001-01-01T00:00:00+14:00"]),
        ("date", ["2024-02-30", "20240131", "2024-01-01T00:00:00Z", 20240131]),
        ("epoch", ["x", 10**15, "1e999999", "0.1234567", "1e-99999", f"0.{0:040}1", True]),
        ("epoch_ms", [10**18, {}, "/Date(1704067200000)", "/Date(1e3)/", "/Date(9999999999999999)/"]),
        ("date:%Y%m%d", ["2024-01-31", {}, "", "(other)"]),
    ],
)
def test_a_value_that_would_be_altered_fails_the_cast(kind: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(CastError):
            caster(kind)(value)
