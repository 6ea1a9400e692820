"""Rows that go by columns are stored as rows that go one by one."""

from __future__ import annotations

import gc
import json
import re
import sys
from contextlib import closing
from dataclasses import dataclass
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
import pytest
import responses
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_dagster.loading import arrow
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import prepare_load
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.sandbox import SandboxSettings, running_sandbox
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into, same, sandbox_file

FILE = """\
name: {name}
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  primary_key: id
  write_disposition: merge
  endpoint:
    path: rows
    data_selector: data
    data_selector_required: false
    paginator: {{type: offset, limit: {limit}, total_path: null}}
  {options}
"""
LINKS = ("_dlt_id", "_dlt_parent_id", "_dlt_root_id")
Rows = list[dict[str, Any]]


def load_rows(store: Store, rows: Rows, options: str = "", *, limit: int = 3) -> int:
    """Load rows in pages of `limit`, each a batch of its own; say how many went by columns."""

    def page(request: Any) -> tuple[int, dict[str, str], str]:
        offset = int(request.params["offset"])
        return 200, {}, json.dumps({"data": rows[offset : offset + limit]})

    file = parse_text(FILE.format(name=store.api, options=options, limit=limit), "apis/x.yaml")
    with responses.RequestsMock() as api:
        api.add_callback("GET", "https://api.example.com/rows", page, content_type="application/json")
        with prepare_load(file, "rows", [], store.destination, batch_rows=limit) as prepared:
            prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
            return prepared.result().columnar_rows


def contents(store: Store) -> dict[str, Any]:
    """All tables, their columns and their rows, without what dlt draws by lot."""
    found: dict[str, Any] = {}
    for (table,) in store.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' ORDER BY 1"
    ):
        if table.startswith("_dlt"):
            continue
        columns = sorted(
            store.fetch(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
                f" WHERE table_schema = '{{}}' AND table_name = '{table}'"
            )
        )
        names = [name for name, *_ in columns if not (name.startswith("_dlt") and name != "_dlt_list_idx")]
        listed = ", ".join(['"' + name.replace('"', '""') + '"' for name in names])
        version = "SELECT schema FROM {}._dlt_version ORDER BY inserted_at DESC LIMIT 1"
        schema = json.loads(store.fetch(version)[0][0])["tables"][table]
        keys = ", ".join(LINKS if "parent" in schema else LINKS[:1])
        linked = [
            (row[: len(names)], row[len(names) :])
            for row in store.fetch(f'SELECT {listed}, {keys} FROM {{}}."{table}"')
        ]
        found[table] = {"columns": columns, "linked": linked, "parent": schema.get("parent")}
        found[table]["schema"] = {
            name: {"nullable": True, **hints} for name, hints in schema["columns"].items()
        }
    for table in found.values():  # each row beside its parents, up to the root
        rows = [(*fields, *line(found, table["parent"], links)) for fields, links in table["linked"]]
        table["rows"] = sorted(map(repr, rows))
    for table in found.values():
        del table["linked"]
    return found


def line(found: dict[str, Any], parent: str | None, links: tuple[str, ...]) -> list[Any]:
    """The parents of a row, whose own links are given; the last must be the one that it calls its root."""
    if parent is None:
        return []
    [(fields, above)] = [(fields, above) for fields, above in found[parent]["linked"] if above[0] == links[1]]
    assert links[2] == above[-1 if len(above) > 1 else 0]
    return [fields, *line(found, found[parent]["parent"], above)]


def both_ways(
    place: Path, loads: list[Rows], options: str = "", *, limit: int = 3
) -> tuple[Any, Any, list[int]]:
    """What loads leave behind by rows alone, and else; and how many rows of each load went by columns."""
    stores = [Store(Destination("duckdb", str(place / name)), "x") for name in ("rows.duckdb", "two.duckdb")]
    for store in stores:
        Path(store.destination.credentials or "").unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(arrow, "_DESTINATIONS", set[str]())
        by_rows = outcome(stores[0], loads, options, limit)
        assert not any(by_rows[2])
    by_columns = outcome(stores[1], loads, options, limit)
    return by_rows[:2], by_columns[:2], by_columns[2]


def outcome(
    store: Store, loads: list[Rows], options: str, limit: int
) -> tuple[list[str], dict[str, Any], list[int]]:
    errors: list[str] = []
    counts: list[int] = []
    for rows in loads:
        try:
            counts.append(load_rows(store, rows, options, limit=limit))
        except LoadError as error:
            errors.append(re.sub(r"_dlt_id: \S+", "", str(error)))
    return errors, {} if store.destination.is_missing() else contents(store), counts


@dataclass
class Kind:
    """Values that a column has, and those that it has now and then."""

    usual: st.SearchStrategy[Any]
    odd: st.SearchStrategy[Any]


TIMES = st.sampled_from(
    [
        *("2024-01-01T00:00:00Z", "2024-02-29T12:30:00.5Z", "2023-12-31T23:59:59.123456+05:30"),
        *("1969-12-31T23:59:59.999-12:00", "2024-10-27 02:30:00+01:00", "1066-10-14T09:00:00Z"),
    ]
)
LOCAL_TIMES = st.sampled_from(["2024-01-01T00:00:00", "1583-01-01 23:59:59.1", "2999-12-31T23:59:59"])
ODD_TIMES = st.sampled_from(
    [
        *(
            "2024-01-01",
            "2024-01-01T00:00Z",
            "2024-02-30T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "20240101T000000Z",
        ),
        *("2024-01-01T00:00:00.1234567Z", "2024-01-01T00:00:00.123456000Z", "2024-01-01T24:00:00Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2024-01-01t00:00:00z", "12:30", "2024"),
        *(
            "2024-W01-1",
            "2024-01-01T00:00:00+0530",
            "2024-01-01T00:00:00+05",
            "2024-01-01T00:00:00 Z",
            "soon",
        ),
        *("2024-01-01T00:00:00\n", "２０２４-01-01T00:00:00Z", "2024-01-01T00:00:00-00:00", "P1D", "today"),
        *(
            "2024-01-01T00:00:00,5Z",
            "2024-1-1T00:00:00Z",
            "2024-01-01T00:00:00+25:00",
            "2024-01-01T00:00:00Z ",
        ),
    ]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Co"]), max_size=4)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.one_of(
    *(st.none(), st.booleans(), st.integers(-5, 5), INTEGERS, st.integers(-(2**70), 2**70), FLOATS, TEXT),
    *(TIMES, LOCAL_TIMES, ODD_TIMES, st.sampled_from([1.0, -0.0, 1e300, 2.0**53, 2**53 + 1, 10**40])),
    *(st.just({}), st.just([]), st.lists(st.integers(), max_size=2)),
    *(st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2),),
    st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2), max_size=2),
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "a": INTEGERS,
            "B c": TEXT,
            "in": st.lists(st.fixed_dictionaries({}, optional={"a": TIMES}), max_size=2),
        },
    ),
    max_size=3,
)
KINDS = [
    *(Kind(values, ANY) for values in (st.booleans(), INTEGERS, FLOATS, TEXT)),
    *(Kind(values, ODD_TIMES) for values in (TIMES, LOCAL_TIMES, TEXT)),
    Kind(st.integers(-9, 9), FLOATS),
    Kind(FLOATS, st.one_of(st.integers(-9, 9), INTEGERS)),
    Kind(st.fixed_dictionaries({}, optional={"a": INTEGERS, "B c": TEXT, "d": TIMES}), ANY),
    Kind(st.fixed_dictionaries({"in": st.fixed_dictionaries({"in": INTEGERS})}), st.none()),
    Kind(st.just([]), ANY),
    Kind(st.none(), ANY),
    Kind(st.lists(INTEGERS, max_size=3), st.lists(st.one_of(st.none(), FLOATS, TEXT, ODD_TIMES), max_size=3)),
    Kind(st.lists(st.one_of(TIMES, st.none()), max_size=3), ANY),
    Kind(st.lists(st.lists(st.one_of(INTEGERS, st.none()), max_size=2), max_size=2), ANY),
    Kind(ITEMS, ANY),
    Kind(
        st.fixed_dictionaries({"in": ITEMS}), st.dictionaries(st.sampled_from(["in", "a"]), ANY, max_size=2)
    ),
    Kind(ITEMS, st.lists(st.dictionaries(st.sampled_from(["a", "B c", "in", "value", ""]), ANY), max_size=2)),
]
KEYS = st.one_of(
    st.sampled_from(
        ["a", "b", "userName", "user_name", "A B", "ä", "", " ", "x__y", "_z", "select", "value", "1"]
    ),
    st.sampled_from(["a_", "__b", "_dlt_id", "a__in", "é" * 40, "x" * 80, "x" * 81, "id__v_text", "B", "ID"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Co"]), max_size=3),
)
OPTIONS = [
    "",
    "max_table_nesting: 0",
    "max_table_nesting: 1",
    "columns: {a: {data_type: json}, b: {data_type: double}}",
    "columns: {a: {data_type: timestamp}, b: {data_type: text}}",
    "columns: {a: {data_type: bigint, nullable: false}}",
    "columns: {b: {data_type: decimal}, a: {data_type: date}}",
    "schema_contract: {columns: freeze, data_type: freeze}",
    "schema_contract: {columns: discard_value, data_type: discard_row}",
]


@st.composite
def loads(draw: st.DrawFn) -> list[Rows]:
    """The rows of two loads, with few values that do not fit their columns."""
    columns = draw(st.dictionaries(KEYS.filter(lambda key: key != "id"), st.sampled_from(KINDS), max_size=5))
    odds = draw(st.sampled_from([0, 0, 0, 0.05, 0.3]))
    numbers = count()
    random = draw(st.randoms(use_true_random=False))

    def row() -> dict[str, Any]:
        values: dict[str, Any] = {"id": next(numbers) % 12}
        for key, kind in columns.items():
            chance = random.random()
            if chance < odds:
                values[key] = draw(kind.odd)
            elif chance < 0.8:
                values[key] = draw(kind.usual)
            elif chance < 0.9:
                values[key] = None
        return values

    return [[row() for _ in range(draw(st.integers(1, 9)))] for _ in range(2)]


PLAIN: dict[str, list[Any]] = {
    "text": [
        "",
        None,
        " ",
        "NULL",
        '"',
        "a,b\n\\.\nc",
        "\\.",
        "\\N",
        "it's",
        "\r\n",
        "\u2028",
        "😀",
        "\x01",
        "ﬁ́",
    ],
    "int": [0, None, 2**63 - 1, -(2**63), 1],
    "float": [0.1, 5e-324, 1.7976931348623157e308, -0.0, 1e22, 3, None, 2**53],
    "bool": [True, None, False],
    "time": ["2024-02-29T12:30:00.5Z", None, "1066-10-14T23:59:59.123456+05:30", "2999-12-31 23:59:59-12:00"],
    "local": ["2024-10-27T02:30:00", "1969-12-31 23:59:59.999999", None],
}


def test_plain_values_go_by_columns_and_arrive_as_sent(store: Store) -> None:
    rows = [
        {
            "id": number,
            "obj": {"in": {"a": number}},
            "none": None,
            "empty": [],
            **dict(zip(PLAIN, row, strict=True)),
        }
        for number, row in enumerate(zip_longest(*PLAIN.values()))
    ]
    assert load_rows(store, rows, limit=7) == len(rows)
    columns = ", ".join(f'"{name}"' for name in PLAIN)
    found = store.fetch(f"SELECT id, obj__in__a, {columns} FROM {{}}.rows ORDER BY id")
    for row, stored in zip(rows, found, strict=True):
        sent = [row["id"], row["id"], *(row[name] for name in PLAIN)]
        assert [pair for pair in zip(sent, stored, strict=True) if not same(*pair)] == []


NESTED: Rows = [
    {
        "id": number,
        "user": {"name": 'x"\\\n\u00e4', "n": [number, None], "at": "2024-01-01T00:00:00Z"},
        "items": [{"sku": f"{number}", "price": place + 0.5} for place in range(number % 4)],
        "tags": ["a", None, ""] if number % 2 else [],
        "deep": [{"in": {"list": [{"n": number}, {"n": None}], "at": "2024-01-01T00:00:00Z"}}, {}],
        "grid": [[1, 2], [], [number]],
    }
    for number in range(9)
]
WAYS = ["", "max_table_nesting: 0", "max_table_nesting: 1", "columns: {user: {data_type: json}}"]


@pytest.mark.parametrize("options", WAYS)
def test_nested_values_go_by_columns_to_where_rows_put_them(
    tmp_path: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    by_rows, by_columns, counts = both_ways(tmp_path, [NESTED, NESTED[4:]], options)
    assert by_columns == by_rows
    assert not by_columns[0]
    assert counts == [9, 5]
    assert "arrow" not in caplog.text


def test_json_columns_hold_what_no_other_column_could(tmp_path: Path) -> None:
    rows: Rows = [
        {"id": number, "any": [2**70, 1e300, "2024-01-01", {"a": [None, True]}]} for number in range(3)
    ]
    by_rows, by_columns, counts = both_ways(tmp_path, [rows], "max_table_nesting: 0")
    assert by_columns == by_rows
    assert counts == [3]


def test_nested_rows_by_rows_and_by_columns_meet_in_one_load(tmp_path: Path) -> None:
    odd: Rows = [{"id": 20, "items": [{"sku": 1, "price": "much"}, 5], "more": [{"a": 1}]}]
    by_rows, by_columns, counts = both_ways(tmp_path, [NESTED + odd + NESTED[:4], odd + NESTED], limit=3)
    assert by_columns == by_rows
    assert 0 < counts[0] < 14
    assert 0 < counts[1] < 10


@pytest.mark.parametrize("store", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("options", WAYS[:2])
def test_nested_values_arrive_in_postgresql_as_by_rows(store: Store, options: str) -> None:
    by_columns = outcome(store, [NESTED, NESTED[4:]], options, 3)
    with (
        closing(psycopg2.connect(store.destination.credentials)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"DROP SCHEMA {store.api} CASCADE")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(arrow, "_DESTINATIONS", set[str]())
        by_rows = outcome(store, [NESTED, NESTED[4:]], options, 3)
    assert by_columns[:2] == by_rows[:2]
    assert by_columns[2] == [9, 5]


def test_dlt_still_cannot_count_nested_rows_that_are_extracted() -> None:
    """Once it can, `_Nested` can go from `arrow`, and this test too."""

    @dlt.resource
    def rows() -> Any:
        hints = dlt.mark.make_hints(table_name="nested", parent_table_name="rows")
        yield [{"id": 1}]
        yield dlt.mark.with_hints(pa.table({"n": [1]}), hints, create_table_variant=True)

    with pytest.raises(PipelineStepFailed, match="resource"):
        dlt.pipeline("counts", destination="duckdb").extract(rows())


def test_a_frozen_table_takes_more_of_the_same_rows(duckdb_store: Store) -> None:
    options = "columns: {n: {data_type: bigint}}\n  schema_contract: {columns: freeze, data_type: freeze}"
    for _ in range(2):
        load_rows(duckdb_store, [{"id": number, "n": 1} for number in range(3)], options)
    assert duckdb_store.fetch("SELECT count(*) FROM {}.rows") == [(3,)]


ODD: list[tuple[Any, Any]] = [
    (1, 1.5),
    (1, 2.0),
    (1, True),
    (1, "1"),
    (1, 2**63),
    (1.5, 2**53 + 1),
    (1.5, True),
    (True, 1),
    ("a", 1),
    ("a", {"b": 1}),
    ("a", [1]),
    ("a", [{"b": 1}, {"b": 2}]),
    ({"b": 1}, {"b": "c"}),
    ({"b": 1}, 5),
    ("2024-01-01T00:00:00Z", "2024-02-30T00:00:00Z"),
    ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00"),
    ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.1234567Z"),
    ("2024-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
]


def test_a_batch_that_does_not_fit_its_columns_goes_by_rows(tmp_path: Path) -> None:
    usual, odd = zip(*ODD, strict=True)
    names = [f"x{number}" for number in range(len(ODD))]
    first = [{"id": 0, **dict(zip(names, usual, strict=True))}]
    second: Rows = []  # of two pages, one has only what its column has, and one something else
    for name, plain, value in zip(names, usual, odd, strict=True):
        second += [{"id": len(second) + number, name: plain} for number in range(3)]
        second += [{"id": len(second), name: value}]
    by_rows, by_columns, counts = both_ways(tmp_path, [first, second], limit=2)
    assert by_columns == by_rows
    assert counts[0] == len(first)
    assert len(second) // 2 < counts[1] < len(second)


BESIDE: list[tuple[Any, Any]] = [
    *((1, 1.5), (1, 2.0), (1, True), (1, "1"), (1.5, 2**53 + 1), (1.5, True), (True, 1)),
    *(("a", 1), ("a", 1.5), ("a", True), ("2024-01-01T00:00:00Z", "2024-02-30T00:00:00Z")),
    ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5+0000"),
]


def test_values_that_dlt_coerces_or_puts_into_a_column_beside_go_by_columns(tmp_path: Path) -> None:
    rows: Rows = [
        {"id": number, **{f"x{column}": pair[number % 2] for column, pair in enumerate(BESIDE)}}
        for number in range(8)
    ]
    items: Rows = [{"id": 9, "items": rows[:3]}]
    by_rows, by_columns, counts = both_ways(tmp_path, [rows, items + rows])
    assert by_columns == by_rows
    assert counts == [8, 9]


@pytest.mark.usefixtures("own_place")
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads(), st.sampled_from(OPTIONS))
def test_both_ways_store_the_same(tmp_path: Path, both: list[Rows], options: str) -> None:
    by_rows, by_columns, _ = both_ways(tmp_path, both, options)
    assert by_columns == by_rows


WINDOWED = """\
name: {name}
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  primary_key: id
  endpoint:
    path: rows
    data_selector: data
    paginator: single_page
    incremental: {{cursor_path: at, start_param: since, end_param: until}}
  partitions: {{every: day, start: 2024-01-01}}
  on_rerun: replace_window
"""


def test_a_window_holds_its_own_rows_only_also_if_there_are_none(duckdb_store: Store) -> None:
    times = ["2023-12-31T23:59:59.999999Z", "2024-01-01T00:00:00.000Z", "2024-01-02T00:59:59.999999+01:00"]
    file = parse_text(WINDOWED.format(name=duckdb_store.api), "apis/x.yaml")
    for sent, expected in (
        ([*times, "2024-01-02T00:00:00Z"], [1, 2]),
        ([times[0]], []),  # no page without rows comes here
    ):
        rows = [{"id": number, "at": time} for number, time in enumerate(sent)]
        with responses.RequestsMock() as api:
            api.get("https://api.example.com/rows", json={"data": rows})
            result = load_into(duckdb_store, file, "rows", day(1))
        assert (result.counts, result.columnar_rows) == ([len(expected)], len(expected))
        assert duckdb_store.ids("rows") == expected


@pytest.mark.parametrize("field", ["name", "rowid"])
def test_of_rows_with_one_key_one_is_kept_whole(store: Store, field: str) -> None:
    """DuckDB calls the number of a row `rowid`, which an API's own field may be called, too."""
    rows: Rows = [{"id": number // 2, field: (number + number // 2) % 2} for number in range(12)]
    load_rows(store, rows, "columns: {id: {data_type: bigint}}", limit=12)
    load_rows(store, rows[:4], limit=12)
    found = store.fetch(f"SELECT id, {field} FROM {{}}.rows ORDER BY id")
    assert [key for key, _ in found] == list(range(6))
    assert all(value in (0, 1) for _, value in found)


def test_what_a_load_holds_does_not_grow_with_its_rows(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if Python looks for garbage only now and then, as it does where much else is in memory."""
    held: list[int] = []

    class Watched(arrow.ArrowTables):
        def tables(self, rows: list[Any]) -> dict[str, Any] | None:
            held.append(sys.getallocatedblocks())
            return super().tables(rows)

    monkeypatch.setattr(arrow, "ArrowTables", Watched)
    orders = """
        - name: orders
          endpoint: {path: /v1/orders}
          primary_key: id
          write_disposition: merge
    """
    with running_sandbox(SandboxSettings(orders=10_000)) as sandbox:
        file = sandbox_file(sandbox.url, orders)
        with prepare_load(file, "orders", [], duckdb_store.destination, batch_rows=1_000) as prepared:
            gc.disable()
            try:
                prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
            finally:
                gc.enable()
            assert prepared.result().columnar_rows == 10_000
    assert held[-1] - held[3] < 10_000, held  # each row has more than ten
