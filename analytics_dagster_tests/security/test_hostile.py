"""A hostile or broken API, or file, harms nothing: it is an error in bounded time and memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import responses

from analytics_dagster.reading.errors import ContractError, RefusedError, TooLargeError
from analytics_dagster.spec import ApiFileError, parse_text
from analytics_dagster_tests.loading.conftest import duckdb_store, own_place, store
from analytics_dagster_tests.loading.helpers import Store, load_into, run_python
from analytics_dagster_tests.reading.helpers import Lab
from analytics_dagster_tests.security.servers import Answer, Received, serving

__all__ = ["duckdb_store", "own_place", "store"]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "x-compress", "BR"])
def test_only_encodings_that_were_asked_for_are_unpacked(encoding: str) -> None:
    """A few bytes of brotli unpack to all memory, with a package for it that knows no limit."""

    def packed(_: Received) -> Answer:
        return 200, {"Content-Encoding": encoding}, b"\x00" * 1000

    with serving(packed) as server:
        lab = Lab(server.url)
        with pytest.raises(
            RefusedError, match=f"content encoding `{encoding}`, and gzip or deflate was asked"
        ):
            lab.rows("/rows", "single_page")
        assert [request.headers["accept-encoding"] for request in server.received] == ["gzip, deflate"]


NINE = ", ".join(["*a{0}"] * 9)
LAUGHS = "\n".join(
    ["a: &a0 [ha, ha, ha]", *(f"a{n}: &a{n} [{NINE.format(n - 1)}]" for n in range(1, 12)), "name: api"]
)
MERGES = "\n".join(
    ["a: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [{NINE.format(n - 1)}]}}" for n in range(1, 12)), "name: api"]
)


@pytest.mark.parametrize("size", ["'" + "1" * 100_000 + "'", "1e999999999", "'" + "1" * 400 + " GB'"])
def test_sizes_without_end_are_mistakes_in_the_file(size: str) -> None:
    with pytest.raises(ApiFileError, match=r"client\.max_response_bytes: expected a size"):
        parse_text(
            f"client: {{base_url: 'https://api.example.com', max_response_bytes: {size}}}\n", "api.yaml"
        )


@pytest.mark.parametrize("text", [LAUGHS, MERGES])
def test_aliases_that_multiply_are_refused(text: str) -> None:
    with pytest.raises(ApiFileError, match="more than 100000 values; aliases multiply"):
        parse_text(text, "api.yaml")


@pytest.mark.parametrize(
    "number", ["1" * 100_000, "-" + "1" * 100_000, "0x" + "f" * 100_000, "0o" + "7" * 100_000]
)
@pytest.mark.parametrize(
    "place",
    [
        "version: N",
        "limits: {requests: N}",
        "client: {base_url: 'https://api.example.com', max_response_bytes: N}",
        "retry: {max_retries: N}",
        "rerun: {delays: [N]}",
        "resources: [{name: rows, endpoint: {path: rows, params: {n: N}}}]",
        "resources: [{name: rows, endpoint: {path: rows, paginator: {type: offset, limit: N}}}]",
    ],
)
def test_numbers_without_end_are_mistakes_in_the_file(number: str, place: str) -> None:
    with pytest.raises(ApiFileError) as caught:
        parse_text(place.replace("N", number) + "\n", "api.yaml")
    assert "more than 100 digits" in str(caught.value)
    assert len(str(caught.value)) < 10_000


EVIL = [
    '"; drop table victim; --',
    "'; drop table victim; --",
    "../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\passwd",
    "a.b",
    "a\0b",
    "$.x[*]",
    "%s {x} ${HOME}",
    "\u202ex",
]
FILE = """\
name: {name}
client: {{base_url: "https://api.example.com"}}
resources:
- {{name: victim, write_disposition: replace, endpoint: {{path: victim, paginator: single_page}}}}
- {{name: rows, primary_key: id, write_disposition: merge, endpoint: {{path: rows, paginator: single_page}}}}
"""


@pytest.mark.parametrize("name", [*EVIL, "", " ", "n" * 10_000, "_dlt_loads", "_dlt_pipeline_state"])
@pytest.mark.parametrize(
    "place", ["name: N", "resources: [{name: N}]", "resources: [{name: a, table_name: N}]"]
)
def test_names_in_a_file_are_words(place: str, name: str) -> None:
    if place == "name: N":
        place = "name: N\nresources: [{name: a, endpoint: {path: a}}]"
    with pytest.raises(ApiFileError, match="expected a name that begins with a letter") as caught:
        parse_text(place.replace("N", json.dumps(name)), "api.yaml")
    assert len(str(caught.value)) < 10_000


def load_rows(store: Store, resource: str, rows: list[Any]) -> None:
    with responses.RequestsMock() as api:
        api.get(f"https://api.example.com/{resource}", json=rows)
        load_into(store, parse_text(FILE.format(name=store.api), "api.yaml"), resource)


def files(place: Path) -> set[str]:
    """Names of all files of the destination and the loads."""
    return {path.name for path in place.rglob("*") if path.is_file()}


def tables(store: Store) -> list[str]:
    """The tables of all schemas that the load may write to; other tests use the same server."""
    everywhere = "SELECT table_schema || '.' || table_name FROM information_schema.tables"
    found = [str(name) for (name,) in store.fetch(everywhere)]
    mine = found if store.destination.type == "duckdb" else [n for n in found if store.api in n]
    return sorted(name for name in mine if "._dlt_" not in name)


def test_names_in_rows_are_only_names(store: Store, own_place: Path) -> None:
    load_rows(store, "victim", [{"id": 1}])
    fields = {f"{name}{number}": 100 + number for number, name in enumerate(EVIL)}
    nested = {f"{name}{number}": 200 + number for number, name in enumerate(EVIL)}
    several = ('"; drop table victim; --', "../../../etc/passwd", "a\0b", "order")  # each is a table: slow
    lists = {f"{name}list{number}": [300 + number] for number, name in enumerate(several)}
    for _ in range(2):  # the second time into tables that are there
        load_rows(
            store, "rows", [{"id": 1, **fields, "": 400, "select": 402, "in": {**nested, "": 401}, **lists}]
        )
    assert store.fetch("SELECT id FROM {}.victim") == [(1,)]
    (row,) = store.fetch("SELECT * FROM {}.rows")
    assert {*fields.values(), *nested.values(), 400, 401, 402} <= {*row}
    children = [name for name in tables(store) if name.startswith(f"{store.api}.rows__")]
    found = [value for child in children for (value,) in store.fetch(f"SELECT value FROM {child}")]
    assert sorted(found) == [value for (value,) in lists.values()]
    assert {*tables(store)} - {*children} == {f"{store.api}.rows", f"{store.api}.victim"}
    assert all(name.isidentifier() for child in children for name in child.split("."))
    assert files(own_place) <= {"rows.duckdb", "rows.duckdb.lock"}


@pytest.mark.parametrize("kind", ["field", "object", "list"])
def test_names_of_ten_thousand_characters(store: Store, own_place: Path, kind: str) -> None:
    value: Any = {"field": 77, "object": {"a": 77}, "list": [77]}[kind]
    row = {"id": 1, "n" * 10_000: value}
    if kind == "list" and store.destination.type == "duckdb":
        with pytest.raises(ContractError, match="a table whose name is too long"):
            load_rows(store, "rows", [row])
        assert files(own_place) == set()
    else:
        load_rows(store, "rows", [row])
        table = next(name for name in tables(store) if ("rows__" in name) == (kind == "list"))
        assert 77 in store.fetch(f"SELECT * FROM {table}")[0]
        assert files(own_place) <= {"rows.duckdb", "rows.duckdb.lock"}


EXPLODING = """
    from pathlib import Path
    from analytics_dagster.loading.destination import Destination
    from analytics_dagster.loading.load import load
    from analytics_dagster.reading.errors import ContractError
    from analytics_dagster.spec import read_file
    try:
        load(read_file("api.yaml"), "rows", destination=Destination("duckdb", "rows.duckdb"))
    except ContractError as error:
        print(error)
    # Not what getrusage says, which begins with the most that the process had from which this one was made.
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1000)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the memory that it takes"
)
@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (lambda n: {"a": {f"k{n}_{i}": i for i in range(200)}}, "`rows` would get 5,"),
        (lambda n: {"a": [{f"k{n}_{i}": i for i in range(200)}]}, "`rows__a` would get 5,"),
        (lambda n: {"a": [{f"k{n}_{i}": [i] for i in range(20)}]}, "more than 500 tables"),
    ],
)
def test_names_without_end_are_an_error_in_bounded_memory(
    own_place: Path, row: Callable[[int], dict[str, Any]], problem: str
) -> None:
    place = own_place / "cwd"
    rows = [{"id": number, **row(number)} for number in range(1_000)]

    def exploding(_: Received) -> Answer:
        return 200, {}, rows

    with serving(exploding) as server:
        (place / "api.yaml").write_text(
            FILE.format(name="api").replace("https://api.example.com", server.url)
        )
        output, errors = run_python(EXPLODING, cwd=place).communicate(timeout=120)
    told, peak = output.strip().rsplit("\n", 1)
    assert problem in told, errors
    assert int(peak) < 800  # MB
    assert files(own_place) == {"api.yaml"}
    assert list((own_place / "tmp").glob("*/*")) == []


def test_pages_without_end_are_read_up_to_the_limit_of_the_file() -> None:
    """Each page differs from the ones before, and no total says how many there are."""

    def endless(_: Received) -> Answer:
        number = len(server.received)
        return 200, {}, {"data": [{"id": number}], "next": f"/rows?page={number}"}

    with serving(endless) as server:
        lab = Lab(server.url, limits={"pages": 5})
        with pytest.raises(TooLargeError, match=r"read 5 pages, which is limits\.pages"):
            lab.rows("/rows", "json_link")
        assert len(server.received) == 5
