"""JSON arrives as it was sent: no number loses a digit, and what is no JSON is none."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics_dagster.reading.decode import decode_json

NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(min_value=-(2**70), max_value=2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
TEXTS = st.text().map(json.dumps) | st.text(st.characters(exclude_categories=["Cs"])).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays and objects, written with various white space."""
    space = st.sampled_from(["", " ", "\n", "\t "])
    arrays = st.tuples(st.lists(inner, max_size=4), space).map(lambda a: f"[{(',' + a[1]).join(a[0])}{a[1]}]")
    fields = st.lists(st.tuples(TEXTS, inner), max_size=4)
    objects = st.tuples(fields, space).map(
        lambda o: f"{{{o[1]}{', '.join(f'{key}:{o[1]}{value}{o[1]}' for key, value in o[0])}}}"
    )
    return arrays | objects


DOCUMENTS = st.recursive(
    NUMBERS | TEXTS | st.sampled_from(["true", "false", "null"]), containers, max_leaves=12
)


def same(found: Any, expected: Any) -> bool:
    """Whether two documents are equal to the last digit."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, Decimal):
        shown = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        return not isinstance(found, bool) and shown == expected
    return type(found) is type(expected) and found == expected


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
@example("18446744073709551616")
@example("[0.1234567890123456789, 9007199254740993]")
@example('{"a": 1.2345678e-320, "b": 1}')
@example('{"a": 1, "b": 2, "a": 3}')
@example('{"a": 1, "b": 2, "a": 0.1234567890123456789}')
@example("[1E-400]")
@example("1e400")
@example('{"\\ud800": "\\udfff"}')
def test_nothing_changes_on_the_way(text: str) -> None:
    assert same(decode_json(text.encode()), json.loads(text, parse_float=Decimal))


@pytest.mark.parametrize("number", ["1.5", "0.1", "-12.75", "52.520006599999999"])
def test_a_decimal_that_a_float_equals_is_a_float(number: str) -> None:
    assert decode_json(number.encode()) == (float(number) if len(number) < 10 else Decimal(number))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity, 12345678901234567890]",
        b'{"a": 1} {"error": "late"}',
        b"[1]terminated early",
        b"[12345678901234567890]x",
        b"[1,]",
        b"{'a': 1}",
        b'{"a": 1',
        b"01",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_json(body)


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    for body in (b"[" * 500 + b"]" * 500, b'{"a":' * 900 + b"1" + b"}" * 900):
        decode_json(body)
    with pytest.raises((RecursionError, ValueError)):
        decode_json(b"[" * 5_000_000)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_unicode_shows_its_encoding(encoding: str) -> None:
    assert decode_json('{"a": "ü€"}'.encode(encoding)) == {"a": "ü€"}


def test_other_encodings_are_named() -> None:
    assert decode_json('["ü€"]'.encode("cp1252"), "cp1252") == ["ü€"]
    with pytest.raises(ValueError, match="utf-8"):
        decode_json('["ü€"]'.encode("cp1252"))
