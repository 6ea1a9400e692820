"""What a file may say of `records`, and each wrong use of it with its line."""

from __future__ import annotations

import pytest

from analytics_dagster_tests.spec.helpers import problems, resource, with_resource

HEAD = "name: a\nwrite_disposition: replace\n"

# Lines from line 7 of the file on; the line and the key of the mistake, and words of its message.
MISTAKES = [
    ("records: rows", 7, "records", "a mapping of keys to values, not 'rows'"),
    ("records: {row: {}}", 7, "records.row", "did you mean `rows`?"),
    ("records: {rows: {}}", 7, "records.rows", "expected each, zip, columns, entries or scalar"),
    ("records:\n  rows: {zips: []}", 8, "records.rows.zips", "did you mean `zip`?"),
    ("records:\n  rows:\n    zip: []", 9, "records.rows.zip", "at least one entry"),
    (
        "records:\n  rows:\n    zip: [{values: v, names: [a]}]\n    columns: c",
        8,
        "records.rows",
        "exclude each other",
    ),
    ("records: {rows: {each: v, entries: e}}", 7, "records.rows", "zip alone goes with it"),
    ("records: {rows: {columns: c, scalar: s}}", 7, "records.rows", "leave scalar out"),
    ("records: {rows: {scalar: s, without: [x]}}", 7, "records.rows", "there is no entries"),
    ("records: {rows: {entries: {a: b}}}", 7, "records.rows.entries", "a column's name or a list of names"),
    (
        "records:\n  rows:\n    zip:\n    - {values: v, names: [a]}\n    - values: '$.v['\n      names: [b]",
        11,
        "records.rows.zip[1].values",
        "'v[' is not JMESPath, for it breaks off",
    ),
    (
        "records: {rows: {zip: [{values: v, names: [a, a]}]}}",
        7,
        "records.rows.zip[0].names",
        "may stand there once",
    ),
    ("records: {rows: {zip: [{values: v, names: []}]}}", 7, "records.rows.zip[0].names", "not a list"),
    ("records: {rows: {zip: [{values: v}]}}", 7, "records.rows.zip[0].names", "missing"),
    (
        "records:\n  fields:\n    a: $b",
        9,
        "records.fields.a",
        "'$b' is not JMESPath, from '$b' on; a name with other",
    ),
    ("records:\n  fields:\n    a: b\n    c: lengt(d)", 10, "records.fields.c", "did you mean `length`?"),
    ("records: {fields: {a: ''}}", 7, "records.fields.a", "expected a JMESPath expression"),
    (
        "records:\n  fields:\n    a: {from: b, cast: int}",
        9,
        "records.fields.a.cast",
        "expected bigint, double",
    ),
    ("records: {fields: {a: {from: b, cast: bigin}}}", 7, "records.fields.a.cast", "did you mean `bigint`?"),
    ("records: {fields: {a: {from: b, cast: 'date:x'}}}", 7, "records.fields.a.cast", "date:%Y%m%d"),
    ("records: {fields: {a: {from: b, cast: 'date:%q'}}}", 7, "records.fields.a.cast", "does not document"),
    ("records: {fields: {a: {}}}", 7, "records.fields.a", "expected one of from, const, envelope or parent"),
    ("records: {fields: {a: {const: 1, from: b}}}", 7, "records.fields.a", "and no second"),
    ("records: {fields: {a: {const: 1, cast: text}}}", 7, "records.fields.a", "a cast goes with from"),
    ("records: {fields: {a: {const: [1]}}}", 7, "records.fields.a.const", "true, false or null, not a list"),
    ("records: {fields: {a: {parent: id}}}", 7, "records.fields.a", "this resource has no parent"),
    ("records: {fields: {a: 5}}", 7, "records.fields.a", "a mapping of keys to values, not the number 5"),
    ("records:\n  drop:\n  - a\n  - b[0]", 10, "records.drop[1]", "a path such as visits[*].ip"),
    ("records: {drop: ['a[*]']}", 7, "records.drop[0]", "the path of a field"),
    ("records: {drop: email}", 7, "records.drop", "expected a list, not 'email'"),
    ("records: {hash: []}", 7, "records.hash", "at least one entry"),
    ("records: {hash: {salt: x}}", 7, "records.hash.fields", "missing"),
    ("records: {hash: {fields: [a], salt: 55123}}", 7, "records.hash.salt", "expected text"),
    ("records: {fields: {a: b}, drop: [c, a]}", 7, "records.drop[1]", "fields makes `a`"),
    ("records: {drop: [a], hash: [a]}", 7, "records.drop[0]", "is hashed too"),
    ("primary_key: [a]\nrecords: {drop: [a]}", 8, "records.drop[0]", "of the primary_key; write it in hash"),
    (
        "records:\n  fields:\n    mail: user.mail\n  hash: [user.mail]",
        9,
        "records.fields.mail",
        "would show what hash hides",
    ),
    (
        "endpoint: {incremental: {cursor_path: t, start_param: s}}\nrecords: {hash: [t]}",
        8,
        "records.hash",
        "`t` is the cursor",
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), MISTAKES)
def test_each_mistake_is_named_with_its_line(text: str, line: int, key: str, words: str) -> None:
    (problem,) = problems(with_resource(HEAD + text))
    assert (problem.line, problem.key.removeprefix("resources[0].")) == (line, key)
    assert words in problem.message
    assert "55123" not in problem.message


def test_records_of_the_defaults_hold_until_a_resource_has_its_own() -> None:
    defaults = "records: {drop: [email]}"
    assert resource(HEAD, defaults).records.drop == ["email"]
    assert resource(HEAD + "records: {drop: [name]}", defaults).records.drop == ["name"]
    assert resource(HEAD + "records: null", defaults).records is None


def test_a_mistake_in_the_defaults_is_named_there_once() -> None:
    (problem,) = problems(with_resource(HEAD, "records:\n  drop: [a]\n  fields: {a: b}"))
    assert (problem.line, problem.key) == (6, "resource_defaults.records.drop[0]")


def test_short_forms_mean_the_long_ones() -> None:
    short = resource(HEAD + "records: {fields: {a: b.c}, hash: [d]}").records
    assert short == resource(HEAD + "records: {fields: {a: {from: b.c}}, hash: {fields: [d]}}").records
