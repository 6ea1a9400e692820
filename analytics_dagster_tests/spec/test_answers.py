"""What is wrong with `response` or `export` is said where it stands."""

from __future__ import annotations

import pytest

from analytics_dagster_tests.spec.helpers import problems, resource, with_resource

HEAD = "name: a\nwrite_disposition: replace\nendpoint:\n  response:\n"

# What follows HEAD, whose last line is line 8; the line and key of its mistake, and words of its message.
MISTAKES: list[tuple[str, int, str, str]] = [
    ("    fromat: csv", 9, "response.fromat", "did you mean `format`?"),
    ("    format: jsonlines", 9, "response.format", "not 'jsonlines'; did you mean `jsonl`?"),
    ("    format: [gzip]", 9, "response.format", "expected json, jsonl or csv at the end"),
    ("    format: [gzip, zip, csv]", 9, "response.format", "before it: zip, gzip, or zip of gzip"),
    ("    encoding: utf-8", 8, "response.format", "missing"),
    ("    format: csv\n    encoding: zlib", 10, "response.encoding", "utf-16 or cp1252, not 'zlib'"),
    ("    format: csv\n    csv: {delimiter: '\\t'}", 10, "response.csv.delimiter", "in double quotes"),
    ("    format: csv\n    csv: {header: false}", 10, "response.csv", "give names"),
    ("    format: csv\n    csv: {names: [a, a]}", 10, "response.csv", "one name twice"),
    ("    format: jsonl\n    csv: {header: true}", 8, "response", "and format is jsonl"),
    ("    format: jsonl\n    members: '*.gz'", 8, "response", "write format: [zip, …]"),
    ("    format: json\n    end_error: oops", 8, "response", "the last line of jsonl or csv"),
    ("    format: csv\n    max_bytes: big", 10, "response.max_bytes", "such as 500MB"),
    ("    format: csv\n  data_selector: data", 10, "data_selector", "leave it out, or write $"),
    (
        "    format: jsonl\n  paginator: {type: cursor, cursor_path: next}",
        10,
        "paginator",
        "nothing but rows, so that no next page can be found in it",
    ),
    (
        "    format: jsonl\n  paginator: {type: offset, limit: 5, total_path: n}",
        10,
        "paginator.total_path",
        "write null",
    ),
]
EXPORT = "name: a\nwrite_disposition: replace\nendpoint:\n  export:\n"
FILE = "    download: {path: x}\n"
EXPORTS: list[tuple[str, int, str, str]] = [
    ("    delete: {path: x}", 8, "export.download", "missing"),
    ("    download: {path: '{id}'}", 9, "export.download.path", "expected {create.PATH} or {poll.PATH}"),
    (FILE + "    poll: {path: x, done: ok}", 10, "export.poll", "what stands at status_path; give it"),
    (FILE + "    poll: {path: x, status_path: s}", 10, "export.poll", "done is missing"),
    (FILE + "    poll: {path: x, every: 0s}", 10, "export.poll.every", "longer than nothing"),
    (FILE + "    poll: {path: 'x/{poll.id}'}", 8, "export", "cannot take values of its own answer"),
    ("    download: {path: '{poll.url}'}", 8, "export", "there is no poll"),
    (
        FILE + "    poll: {path: x}\n    delete: {path: '{poll.id}'}",
        8,
        "export",
        "delete also follows a poll that failed",
    ),
    (
        "    download: {path: x, params: {to: '{incremental.end_value}'}}",
        9,
        "export.download",
        "stands in the endpoint's own request",
    ),
    (FILE + "  paginator: {type: offset, limit: 5}", 10, "paginator", "and not by offset"),
]
RECORDS: list[tuple[str, str, str]] = [
    ("{fields: {a: {envelope: meta.id}}}", "records.fields.a", "no envelope"),
    ("{rows: {columns: names}}", "records.rows", "have to be written out"),
    ("{rows: {zip: [{values: v, names: $.names}]}}", "records.rows", "have to be written out"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), MISTAKES)
def test_each_mistake_is_named_with_its_line(text: str, line: int, key: str, words: str) -> None:
    (problem,) = problems(with_resource(HEAD + text))
    assert (problem.line, problem.key) == (line, f"resources[0].endpoint.{key}")
    assert words in problem.message


@pytest.mark.parametrize(("text", "line", "key", "words"), EXPORTS)
def test_each_mistake_of_an_export_is_named_with_its_line(text: str, line: int, key: str, words: str) -> None:
    (problem,) = problems(with_resource(EXPORT + text))
    assert (problem.line, problem.key) == (line, f"resources[0].endpoint.{key}")
    assert words in problem.message


@pytest.mark.parametrize(("text", "key", "words"), RECORDS)
def test_rows_without_an_envelope_cannot_take_from_it(text: str, key: str, words: str) -> None:
    packed = HEAD + "    format: [gzip, json]\nrecords: " + text
    assert resource(packed).endpoint.response
    (problem,) = problems(with_resource(packed.replace("json]", "jsonl]")))
    assert (problem.line, problem.key) == (10, f"resources[0].{key}")
    assert words in problem.message
