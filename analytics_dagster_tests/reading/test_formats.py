"""Answers that are not one JSON document give exactly their rows, or say where they do not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.completion import Completion
from analytics_dagster.reading.errors import LoadError, PageError, RequestError, TooLargeError
from analytics_dagster.reading.formats import Format
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.unpacked import UnpackedPages
from analytics_dagster.spec import ResponseAction, ResponseFormat
from analytics_dagster_tests.loading.helpers import run_python
from analytics_dagster_tests.reading.helpers import Lab, raw_server, served

ROWS = [{"id": n, "name": f"ä{n}"} for n in range(5)]


def lines(rows: list[Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


# Always the same bytes, as tests are named after them.
gzipped = partial(gzip.compress, mtime=0)


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name.replace("__", "/").replace("/MACOSX", "__MACOSX"), body)
    return file.getvalue()


def read(
    body: bytes,
    response: dict[str, Any],
    headers: dict[str, str] | None = None,
    *,
    inside: str | None = None,
    lab: dict[str, Any] | None = None,
) -> list[Any]:
    """All rows of one answer."""
    described = ResponseFormat.model_validate(response)
    selector = "$" if not described.has_envelope else "data"
    with served(lambda _: (body, headers or {})) as url:
        watched = partial(UnpackedPages, Format(described, inside))
        settings: dict[str, Any] = {"retry": {"max_retries": 0}, **(lab or {})}
        one = Lab(url, **settings)
        return one.rows("/rows", {"type": "single_page"}, selector, watched=watched)


def test_json_lines_with_empty_lines_and_either_end_of_line() -> None:
    assert read(lines(ROWS[:2], "\r\n") + b"\r\n\n" + lines(ROWS[2:]), {"format": "jsonl"}) == ROWS
    assert read(lines(ROWS).rstrip(), {"format": "jsonl"}) == ROWS
    assert read(b"", {"format": "jsonl"}) == []


def test_numbers_stay_exact_over_many_documents() -> None:
    big = [{"n": 2**70 + n, "pad": "x" * 1000} for n in range(10_000)]
    text = lines(big) + b'{"n": 0.12345678901234567890123}\n'
    found = read(text, {"format": "jsonl"})
    assert found[:-1] == big
    assert found[-1] == {"n": Decimal("0.12345678901234567890123")}


@pytest.mark.parametrize(
    ("packed", "form"),
    [
        (gzipped(lines(ROWS)), ["gzip", "jsonl"]),
        (gzipped(lines(ROWS[:3])) + gzipped(lines(ROWS[3:])), ["gzip", "jsonl"]),
        (zipped(a=lines(ROWS[:3]), b__c=lines(ROWS[3:])), ["zip", "jsonl"]),
        (
            zipped(a=gzipped(lines(ROWS[:3])), b=gzipped(lines(ROWS[3:]))),
            ["zip", "gzip", "jsonl"],
        ),
        (gzipped(json.dumps({"data": ROWS}).encode()), ["gzip", "json"]),
        (
            zipped(a=json.dumps({"data": ROWS[:3]}).encode(), b=json.dumps({"data": ROWS[3:]}).encode()),
            ["zip", "json"],
        ),
    ],
)
def test_packed_answers(packed: bytes, form: list[str]) -> None:
    assert read(packed, {"format": form}) == ROWS


def test_a_gzip_that_http_has_unpacked_already() -> None:
    packed = gzipped(lines(ROWS))
    assert read(packed, {"format": ["gzip", "jsonl"]}, {"Content-Encoding": "gzip"}) == ROWS


def test_what_macs_add_to_a_zip_is_left_out() -> None:
    assert read(zipped(a=lines(ROWS), __MACOSX__a=b"\0"), {"format": ["zip", "jsonl"]}) == ROWS


def test_some_members_of_a_zip() -> None:
    packed = zipped(a__1=lines(ROWS), b__1=b"no rows")
    assert read(packed, {"format": ["zip", "jsonl"], "members": "a/*"}) == ROWS
    with pytest.raises(RequestError, match=r"no file like response\.members `c/\*`; it has a/1, b/1"):
        read(packed, {"format": ["zip", "jsonl"], "members": "c/*"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_encodings(encoding: str, kind: str) -> None:
    text = "id,name\r\n1,ä\r\n" if kind == "csv" else '{"id": "1", "name": "ä"}\n'
    response: dict[str, Any] = {"format": kind}
    if encoding == "cp1252":
        response["encoding"] = encoding
    assert read(text.encode(encoding), response) == [{"id": "1", "name": "ä"}]
    assert read(text.rstrip().encode(encoding), response) == [{"id": "1", "name": "ä"}]


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=25, deadline=None)
@given(
    table=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_as_pythons_own_writer_writes_it(
    table: list[tuple[str, str, str]], delimiter: str, end: str
) -> None:
    file = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL  # which would leave a lone \r bare
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("a", "b", "c"), *table])
    found = read(file.getvalue().encode(), {"format": "csv", "csv": {"delimiter": delimiter}})
    assert found == [dict(zip("abc", row, strict=True)) for row in table]


@pytest.mark.parametrize(
    ("body", "how", "rows"),
    [
        (b'a,b\n,""\n', {}, [{"a": None, "b": None}]),
        (b'a,b\n,""\n', {"null": []}, [{"a": "", "b": ""}]),
        (b"a,b\nNULL,\n", {"null": ["NULL"]}, [{"a": None, "b": ""}]),
        (b"1,2\n", {"header": False, "names": ["x", "y"]}, [{"x": "1", "y": "2"}]),
        (b"1,2\n3,4\n", {"names": ["x", "y"]}, [{"x": "3", "y": "4"}]),
        (b"a;b\n'1;2';3\n", {"delimiter": ";", "quote": "'"}, [{"a": "1;2", "b": "3"}]),
        (b'a,b\n1",2\n', {"quote": None}, [{"a": '1"', "b": "2"}]),
        (b"a,b\n\n", {}, []),
        (b"a,b\n\n001,1.50\n", {}, [{"a": "001", "b": "1.50"}]),
    ],
)
def test_ways_to_write_csv(body: bytes, how: dict[str, Any], rows: list[Any]) -> None:
    assert read(body, {"format": "csv", "csv": how}) == rows


def broken(member: bytes) -> bytes:
    """A ZIP of one member that has other contents than its CRC says."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("m", member)
    return packed.getvalue().replace(member, member.replace(b"0", b"1"))


LONG = lines([{"id": n} for n in range(1000)])


@pytest.mark.parametrize(
    ("body", "form", "message"),
    [
        (lines(ROWS) + b'{"id": 5, "na', "jsonl", r'line 6, the last one, is cut: \{"id": 5, "na'),
        (lines(ROWS)[:20] + lines(ROWS), "jsonl", r"line 1 is no JSON .*: \{"),
        (lines(ROWS) + b"\n<html>\n" + lines(ROWS), "jsonl", r"line 7 is no JSON .*: <html>"),
        (lines(ROWS) + b'{"a": 1}{"b": 2}\n', "jsonl", r"line 6 is no JSON"),
        (lines(ROWS) + b'{"a": 1},{"b": 2}\n', "jsonl", r"line 6 is no JSON"),
        (lines(ROWS) + b'{"a": [1\n2]}\n', "jsonl", r"line 6 is no JSON"),
        (b"<html>oops</html>", "jsonl", r"line 1.*: <html>oops"),
        (b'{"error": "quota", "code": 7}\n', "jsonl", r'an error came in place of rows: \{"error": "quota"'),
        (lines(ROWS) + b"terminated early", "jsonl", r"the export broke off.*: terminated early"),
        (b"id\n1\nterminated early\n", "csv", r"the export broke off"),
        (gzipped(LONG)[:-200], ["gzip", "jsonl"], r"is not JSON Lines in gzip .*cut or damaged"),
        (gzipped(LONG)[:-8] + b"\0" * 8, ["gzip", "jsonl"], r"cut or damaged: CRC check failed"),
        (gzipped(LONG) + b"garbage", ["gzip", "jsonl"], r"cut or damaged: Not a gzipped file"),
        (LONG, ["gzip", "jsonl"], r'it is no gzip: .*\{"id": 0\}'),
        (zipped(a=LONG)[:-100], ["zip", "jsonl"], r"JSON Lines in ZIP .*File is not a zip file"),
        (broken(b'{"id": 0}'), ["zip", "jsonl"], r"in its file `m`, .*Bad CRC-32"),
        (zipped(a=lines(ROWS), b=b"{}\n?\n"), ["zip", "jsonl"], r"in its file `b`, line 2 is no JSON"),
        (zipped(a=LONG), ["zip", "gzip", "jsonl"], r"in its file `a`, it is no gzip"),
        (b"a,b\n1,2\n3\n", "csv", r"line 3 has 1 values for 2 columns: 3"),
        (b'a,b\n1,"2\n3,4\n', "csv", r"line 3 is no CSV: unexpected end of data"),
        (b'a,b\n1,"2"3\n', "csv", r"line 2 is no CSV"),
        (b"a,a\n1,2\n", "csv", r"two columns `a`; give csv\.names"),
        (b"a,\n1,2\n", "csv", r"column 2 of the header has no name; give csv\.names"),
        (b"a;b\n1;2\n", "csv", r'the header is one name: a;b; write the right csv\.delimiter, .* ";"'),
        (b"", "csv", r"without even a header.*`data_selector_required: false`"),
        (b"<!DOCTYPE html><p>oops", "csv", r"something else came in place of CSV: <!DOCTYPE"),
        (b'{"error": "quota"}', "csv", r"something else came in place of CSV"),
        (b"a\n\xe4\n", "csv", r"is not in the encoding utf-8; write response\.encoding"),
        (b'{"a": "\xe4"}\n', "jsonl", r"line 1"),
        (gzipped(b'{"data": [1'), ["gzip", "json"], r"is not JSON in gzip"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body: bytes, form: Any, message: str) -> None:
    response: dict[str, Any] = {"format": form}
    if form in ("csv", "jsonl"):
        response["end_error"] = "terminated early"
    with pytest.raises(LoadError, match=message):
        read(body, response)


def test_a_broken_line_far_behind_is_named_when_its_turn_comes() -> None:
    far = [{"id": n, "pad": "x" * 1000} for n in range(20_000)]
    with pytest.raises(PageError, match=r"is no JSON Lines: line 20,001 is no JSON .*: oops"):
        read(lines(far) + b"oops\n" + lines(ROWS), {"format": "jsonl"})


def test_what_the_file_hides_is_in_no_message() -> None:
    redact = Redactor()
    redact.hides_bodies = True
    for body in (b'{"email": "a@b.c"}\n{"email": "a@b.c"}?\n', b'"a@b.c'):
        with pytest.raises(RequestError, match=r"is no JSON|is cut") as caught:
            read(body, {"format": "jsonl"}, lab={"redact": redact})
        assert "a@b.c" not in str(caught.value)


def test_a_bomb_is_stopped() -> None:
    bomb = gzipped(b"\n" * 50_000_000)
    for form, body in ((["gzip", "jsonl"], bomb), (["zip", "gzip", "jsonl"], zipped(a=bomb))):
        with pytest.raises(TooLargeError, match=r"larger than response\.max_bytes \(1,000,000 bytes\)"):
            read(body, {"format": form, "max_bytes": "1MB"})
    with pytest.raises(TooLargeError, match=r"larger than client\.max_response_bytes"):
        read(gzipped(b" " * 50_000_000), {"format": ["gzip", "json"]}, lab={"max_response_bytes": "1MB"})


def test_a_cut_export_is_asked_for_again() -> None:
    far = [{"id": n, "pad": "x" * 1000} for n in range(10_000)]  # more than is decoded at once
    answers = [lines(far) + b"terminated early", lines(far)[:-5], lines(far)]
    described = ResponseFormat.model_validate({"format": "jsonl", "end_error": "terminated early"})
    with served(lambda _: (answers.pop(0), {})) as url:
        lab = Lab(url)
        watched = partial(UnpackedPages, Format(described))
        assert lab.rows("/rows", {"type": "single_page"}, "$", watched=watched) == far
    assert lab.meter.retries == 2


def test_rules_see_an_error_in_place_of_rows() -> None:
    rule = {"when": "error == 'none'", "action": "no_data"}
    completion = Completion("GET", Actions([ResponseAction.model_validate(rule)]))
    with served(lambda query: ({"error": query["error"]}, {})) as url:
        lab = Lab(url, retry={"max_retries": 0})
        watched = partial(UnpackedPages, Format(ResponseFormat(format=["jsonl"])))
        how: dict[str, Any] = {"watched": watched, "completion": completion}
        assert lab.rows("/rows?error=none", {"type": "single_page"}, "$", **how) == []
        with pytest.raises(RequestError, match="an error came in place of rows"):
            lab.rows("/rows?error=some", {"type": "single_page"}, "$", **how)


def test_rows_within_lines() -> None:
    body = lines([{"data": ROWS[:2]}, {"data": []}, {"data": ROWS[2]}, {"data": ROWS[3:]}])
    assert read(body, {"format": "jsonl"}, inside="data") == ROWS
    with pytest.raises(LoadError, match=r"the JSON of row 2 has nothing at data_selector"):
        read(lines([{"data": []}, {"x": 1}]), {"format": "jsonl"}, inside="data")


def test_a_total_in_a_header_counts_all_rows_of_an_answer() -> None:
    many = [{"id": n, "pad": "x" * 1000} for n in range(15_000)]
    assert read(lines(many), {"format": "jsonl"}, {"X-Total-Count": "15000"}) == many
    with pytest.raises(PageError, match=r"states 15001 rows and sent 15000"):
        read(lines(many), {"format": "jsonl"}, {"X-Total-Count": "15001"})


def test_pages_of_csv() -> None:
    """As Salesforce's bulk queries have them; each has more rows than are decoded at once."""
    described = ResponseFormat.model_validate({"format": ["gzip", "csv"]})

    def answer(query: dict[str, str]) -> Any:
        page = int(query.get("locator", "0"))
        body = "id\n" + "".join(f"{n}\n" for n in range(page * 15_000, page * 15_000 + 15_000))
        return gzipped(body.encode()), {"Locator": str(page + 1)} if page < 2 else {}

    paginator = {"type": "header_cursor", "cursor_key": "Locator", "cursor_param": "locator"}
    with served(answer) as url:
        lab = Lab(url)
        watched = partial(UnpackedPages, Format(described))
        rows = lab.rows("/rows", paginator, "$", watched=watched)
    assert rows == [{"id": str(n)} for n in range(45_000)]
    assert (lab.meter.pages, lab.meter.requests) == (3, 3)


ROOT = Path(__file__).parents[2]
EXPORT = 250_000_000  # bytes
HELD = 100  # megabytes that reading it may take


def export() -> Iterator[bytes]:
    """An answer of rows, made while it is sent."""
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    for _ in range(EXPORT // 1_000_000):
        rows = (b'{"id": 12345, "pad": "' + b"x" * 1978 + b'"}\n') * 500
        yield b"%x\r\n%s\r\n" % (len(rows), rows)
    yield b"0\r\n\r\n"


def test_an_export_larger_than_the_memory_that_it_takes() -> None:
    code = """
        import sys, resource
        from functools import partial
        from analytics_dagster.reading.formats import Format
        from analytics_dagster.reading.unpacked import UnpackedPages
        from analytics_dagster.spec import ResponseAction, ResponseFormat
        from analytics_dagster_tests.reading.helpers import Lab
        lab, how = Lab(sys.argv[1]), Format(ResponseFormat(format="jsonl"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pages = lab.paging("/rows", {"type": "single_page"}, "$", watched=partial(UnpackedPages, how))
        print(sum(map(len, pages)), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
    """
    with raw_server([export]) as url:
        out, error = run_python(code, url, cwd=ROOT).communicate(timeout=120)
    assert out, error
    rows, held = map(int, out.split())
    assert rows == EXPORT // 2_000
    assert held < HELD
