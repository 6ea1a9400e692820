"""Answers in the shapes of analytics APIs become rows with named fields, and what is hidden stays hidden."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from textwrap import indent
from typing import Any

import pytest

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.loading.verify import verify
from analytics_dagster.reading.errors import ContractError, LoadError, PageError, SelectorError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.reading.helpers import served

HEAD = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
resources:
- name: rows
"""
GA4 = """\
primary_key: [property, date, country]
write_disposition: merge
partitions: {every: day, start: 2024-01-01}
endpoint:
  path: rows
  params: {from: "{incremental.start_value}", to: "{incremental.end_value}"}
  incremental: {cursor_path: date, format: date, end: inclusive}
  data_selector: rows
  paginator: {type: offset, limit: 2, total_path: rowCount}
records:
  rows:
    zip:
    - {values: "dimensionValues[*].value", names: "$.dimensionHeaders[*].name"}
    - {values: "metricValues[*].value", names: "$.metricHeaders[*].name"}
  fields:
    property: {const: "${GA4_PROPERTY}"}
    date: {from: date, cast: "date:%Y%m%d"}
    sessions: {from: sessions, cast: bigint}
"""


def file_of(url: str, resource: str) -> ApiFile:
    return parse_text(HEAD.replace("URL", url) + indent(resource, "  "), "sandbox.yaml")


def loaded(store: Store, resource: str, document: Any, **how: Any) -> LoadResult:
    """What comes of one answer."""
    with served(lambda _: (document, {})) as url:
        return load_into(store, file_of(url, resource), "rows", **how)


def plain(records: str, selector: str = "results") -> str:
    return (
        "write_disposition: replace\n"
        f"endpoint: {{path: rows, data_selector: {selector}, paginator: single_page}}\nrecords: {records}\n"
    )


def ga4(rows: list[tuple[str, str, str]]) -> Callable[[dict[str, str]], Any]:
    def answer(query: dict[str, str]) -> Any:
        asked = [
            row for row in rows if query["from"] <= f"{row[0][:4]}-{row[0][4:6]}-{row[0][6:]}" <= query["to"]
        ]
        first = int(query["offset"])
        page = asked[first : first + int(query["limit"])]
        return {
            "dimensionHeaders": [{"name": "date"}, {"name": "country"}],
            "metricHeaders": [{"name": "sessions"}],
            "rows": [
                {"dimensionValues": [{"value": when}, {"value": where}], "metricValues": [{"value": count}]}
                for when, where, count in page
            ],
            "rowCount": len(asked),
        }, {}

    return answer


def test_positions_beside_headers_load_by_window_and_verify(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GA4_PROPERTY", "property-12")
    rows = [("20240101", f"C{n}", str(n)) for n in range(5)] + [("20240102", "C0", str(2**60 + 1))]
    with served(ga4(rows)) as url:
        file = file_of(url, GA4)
        assert load_into(duckdb_store, file, "rows", day(1, 2)).counts == [6]
        del rows[0]
        assert verify(file, "rows", [day(1)], duckdb_store.destination).extra == 1
        assert load_into(duckdb_store, file, "rows", day(2)).rows == 1
    found = duckdb_store.fetch("SELECT property, date, country, sessions FROM {}.rows ORDER BY date, country")
    assert found[:5] == [("property-12", date(2024, 1, 1), f"C{n}", n) for n in range(5)]
    assert found[5:] == [("property-12", date(2024, 1, 2), "C0", 2**60 + 1)]


def test_positions_without_names_get_those_of_the_file(duckdb_store: Store) -> None:
    document = {"results": [{"dimensions": ["2024-01-01", "DE"], "metrics": [3]}]}
    shape = (
        "{rows: {zip: [{values: dimensions, names: [day, country]}, {values: metrics, names: [visitors]}]}}"
    )
    loaded(duckdb_store, plain(shape), document)
    assert duckdb_store.fetch("SELECT day, country, visitors FROM {}.rows") == [("2024-01-01", "DE", 3)]


def test_arrays_beside_their_columns_load_from_a_cursor(duckdb_store: Store) -> None:
    resource = """\
primary_key: uuid
write_disposition: merge
endpoint:
  path: rows
  data_selector: results
  paginator: single_page
  incremental: {cursor_path: timestamp, start_param: since, initial_value: "2024-01-01"}
records: {rows: {columns: columns}}
"""
    rows = [["2024-01-01T00:00:00Z", "a", {"n": 1}], ["2024-01-03T00:00:00Z", "b", None]]
    asked: list[str] = []

    def answer(query: dict[str, str]) -> Any:
        asked.append(query["since"])
        return {"columns": ["timestamp", "uuid", "properties"], "results": rows}, {}

    with served(answer) as url:
        file = file_of(url, resource)
        load_into(duckdb_store, file, "rows")
        load_into(duckdb_store, file, "rows")
    assert asked == ["2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"]
    assert duckdb_store.fetch("SELECT uuid, timestamp FROM {}.rows ORDER BY 1") == [
        ("a", datetime(2024, 1, 1, tzinfo=UTC)),
        ("b", datetime(2024, 1, 3, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("rows", "results", "expected"),
    [
        (
            "{entries: date, without: [$overall]}",
            {"$overall": {"n": 9}, "2024-01-01": {"n": 4}, "2024-01-02": {"n": 5}},
            [{"date": "2024-01-01", "n": 4}, {"date": "2024-01-02", "n": 5}],
        ),
        (
            "{entries: date}",
            {"2024-01-01": [{"label": "a"}, {"label": "b"}], "2024-01-02": []},
            [{"date": "2024-01-01", "label": "a"}, {"date": "2024-01-01", "label": "b"}],
        ),
        (
            "{entries: [event, date], scalar: n}",
            {"view": {"2024-01-01": 1, "2024-01-02": 2}, "buy": {"2024-01-01": 3}},
            [
                {"event": "view", "date": "2024-01-01", "n": 1},
                {"event": "view", "date": "2024-01-02", "n": 2},
                {"event": "buy", "date": "2024-01-01", "n": 3},
            ],
        ),
        ("{entries: id}", [{"7": {"n": 1}}, {"8": {"n": 2}}], [{"id": "7", "n": 1}, {"id": "8", "n": 2}]),
        ("{scalar: tag}", ["a", "b"], [{"tag": "a"}, {"tag": "b"}]),
        ("{entries: date}", {}, []),
        ("{entries: date}", [], []),
    ],
)
def test_objects_keyed_by_date_or_id_and_plain_values_become_rows(
    duckdb_store: Store, rows: str, results: Any, expected: list[dict[str, Any]]
) -> None:
    result = loaded(duckdb_store, plain(f"{{rows: {rows}}}"), {"results": results})
    assert result.rows == len(expected)
    if expected:
        names = ", ".join(expected[0])
        stored = duckdb_store.fetch(f"SELECT {names} FROM {{}}.rows ORDER BY ALL")
        assert stored == sorted(tuple(row.values()) for row in expected)


def test_a_total_counts_the_entries_of_an_object(duckdb_store: Store) -> None:
    resource = """\
write_disposition: replace
endpoint: {path: rows, data_selector: days, paginator: {type: offset, limit: 2}}
records: {rows: {entries: date, scalar: n}}
"""
    total = 5

    def answer(query: dict[str, str]) -> Any:
        first = int(query["offset"])
        return {"days": {f"2024-01-0{n + 1}": n for n in range(first, min(first + 2, 5))}, "total": total}, {}

    with served(answer) as url:
        assert load_into(duckdb_store, file_of(url, resource), "rows").rows == 5
        total = 6
        with pytest.raises(PageError, match="states 6 rows and sent 5"):
            load_into(duckdb_store, file_of(url, resource), "rows")


def test_a_total_is_compared_with_the_rows_as_they_came(duckdb_store: Store) -> None:
    document = {
        "results": [{"2024-01-01": {"a": 1}, "2024-01-02": {"a": 2}}, {"2024-01-03": {"a": 3}}],
        "total": 2,
    }
    resource = plain("{rows: {entries: date}}").replace("single_page", "{type: offset, limit: 10}")
    assert loaded(duckdb_store, resource, document).rows == 3


def test_fields_are_lifted_renamed_computed_cast_and_taken_from_the_answer(duckdb_store: Store) -> None:
    records = """
  fields:
    time: {from: properties.time, cast: epoch}
    insert_id: 'properties."$insert_id"'
    items: length(properties.items)
    exported: {envelope: meta.generated_at}
    site: {const: example.com}
    userName: name
  drop: [properties, name]
"""
    row = {"event": "e", "name": "n", "properties": {"time": 1704067200, "$insert_id": "x", "items": [1, 2]}}
    loaded(duckdb_store, plain(records), {"results": [row], "meta": {"generated_at": "now"}})
    names = "event, time, insert_id, items, exported, site, user_name"
    assert duckdb_store.fetch(f"SELECT {names} FROM {{}}.rows") == [
        ("e", datetime(2024, 1, 1, tzinfo=UTC), "x", 2, "now", "example.com", "n")
    ]
    columns = duckdb_store.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}' AND table_name = 'rows'"
    )
    assert {name for (name,) in columns} - {"_dlt_id", "_dlt_load_id"} == set(names.split(", "))


CHILDREN = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
resource_defaults:
  write_disposition: replace
  endpoint: {data_selector: data, paginator: single_page}
resources:
- name: teams
  records: {rows: {columns: columns}, fields: {key: {from: id, cast: text}}, drop: [id]}
- name: tags
  endpoint: {path: tags, params: {team: "{resources.teams.key}"}}
  parallelized: PARALLEL
  include_from_parent: INCLUDE
  records: {rows: {scalar: tag}, fields: {team: {parent: key}, owner: {parent: mail}}, hash: [owner]}
"""


@pytest.mark.parametrize("parallel", ["true", "false"])
@pytest.mark.parametrize("include", ["[]", "[mail]"])
def test_children_are_asked_for_by_shaped_fields_and_take_them_over(
    duckdb_store: Store, parallel: str, include: str
) -> None:
    def answer(query: dict[str, str]) -> Any:
        if "team" not in query:
            return {"columns": ["id", "mail"], "data": [[1, "a@x"], [2, "b@x"]]}, {}
        return {"data": [f"t{query['team']}", "all"]}, {}

    with served(answer) as url:
        text = CHILDREN.replace("URL", url).replace("PARALLEL", parallel).replace("INCLUDE", include)
        load_into(duckdb_store, parse_text(text, "sandbox.yaml"), "tags")
    hashes = [hashlib.sha256(mail).hexdigest() for mail in (b"a@x", b"b@x")]
    assert duckdb_store.fetch("SELECT team, tag, owner FROM {}.tags ORDER BY team, tag") == [
        (str(team), tag, hashes[team - 1]) for team in (1, 2) for tag in ("all", f"t{team}")
    ]
    columns = duckdb_store.fetch(
        "SELECT column_name FROM information_schema.columns WHERE column_name LIKE '_teams%'"
    )
    assert columns == ([("_teams_mail",)] if include == "[mail]" else [])


HIDING = '{hash: {fields: [email, "visits[*].ip"], salt: "${SALT}"}, drop: ["visits[*].phone", name]}'


def hidden_row(**changes: Any) -> dict[str, Any]:
    visits = [{"ip": "10.9.8.7", "phone": "555-1234", "n": 1}, {"ip": None}, {"n": 2}]
    return {"id": 1, "name": "Ada Secret", "email": "ada@example.com", "visits": visits, **changes}


def test_hashed_and_dropped_values_are_nowhere(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SALT", "pepper-and-salt")
    resource = plain(HIDING) + "max_table_nesting: 0\n"
    result = loaded(duckdb_store, resource, {"results": [hidden_row(), hidden_row(email=None)]})
    (found, visits), (null, _) = duckdb_store.fetch("SELECT email, visits FROM {}.rows ORDER BY email")
    expected = {
        value: hmac.new(b"pepper-and-salt", value.encode(), "sha256").hexdigest()
        for value in ("ada@example.com", "10.9.8.7")
    }
    assert (found, null) == (expected["ada@example.com"], None)
    assert json.loads(visits) == [{"ip": expected["10.9.8.7"], "n": 1}, {"ip": None}, {"n": 2}]
    assert duckdb_store.destination.credentials is not None
    with open(duckdb_store.destination.credentials, "rb") as database:  # noqa: PTH123 - of a text
        everything = database.read().decode("latin-1") + caplog.text + repr(result)
    for value in ("Ada Secret", "ada@example.com", "10.9.8.7", "555-1234", "pepper-and-salt"):
        assert value not in everything


@pytest.mark.parametrize(
    ("document", "error", "says"),
    [
        (
            {"results": [hidden_row(email={"x": "ada@example.com"})]},
            ContractError,
            "`email`, which is to be hashed",
        ),
        ({"results": [hidden_row(visits={"ip": "10.9.8.7"})]}, ContractError, "takes it for a list"),
        ({"results": [hidden_row(visits="10.9.8.7")]}, ContractError, "`visits` is a text"),
        ({"rows": [hidden_row()]}, SelectorError, "body is not shown"),
        (b'{"results": [{"email": "ada@example.com", "ip": "10.9.8.7"', LoadError, "body is not shown"),
        ({"results": [hidden_row(id="ada@example.com")]}, ContractError, "a text, no number"),
    ],
)
def test_no_error_shows_what_is_hidden(
    duckdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    document: Any,
    error: type[Exception],
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SALT", "pepper-and-salt")
    records = HIDING.replace("{hash", "{fields: {id: {from: id, cast: bigint}}, hash")
    with pytest.raises(error, match=says) as caught:
        loaded(duckdb_store, plain(records), document)
    for value in ("Ada Secret", "ada@example.com", "10.9.8.7", "555-1234"):
        assert value not in str(caught.value) + caplog.text


def test_a_row_that_does_not_fit_is_named_with_its_page(duckdb_store: Store) -> None:
    resource = """\
write_disposition: replace
endpoint: {path: rows, data_selector: data, paginator: {type: offset, limit: 2}, params: {key: hunter22}}
records: {rows: {columns: meta.columns}}
"""
    rows = [[1, 2], [3, 4], [5, 6], [7]]

    def answer(query: dict[str, str]) -> Any:
        first = int(query["offset"])
        return {"data": rows[first : first + 2], "meta": {"columns": ["a", "b"]}}, {}

    with served(answer) as url, pytest.raises(ContractError) as caught:
        load_into(duckdb_store, file_of(url, resource), "rows")
    assert f"row 2 of page 2 of {url}/rows does not fit `records`: columns finds 1 values" in str(
        caught.value
    )
    assert "2 names (a, b)" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_cast_values_have_their_types_in_each_destination(store: Store) -> None:
    casts = {
        "a": ("bigint", "9007199254740993", 9007199254740993),
        "b": ("double", "1.5", 1.5),
        "c": ("decimal", "0.10", Decimal("0.1")),
        "d": ("bool", "1", True),
        "e": ("text", 12345678901234567890123, "12345678901234567890123"),
        "f": ("timestamp", "2024-01-01T01:00:00+01:00", datetime(2024, 1, 1, tzinfo=UTC)),
        "g": ("date", "2024-01-31", date(2024, 1, 31)),
        "h": ("epoch_ms", 1704067200123, datetime(2024, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
        "i": ("timestamp:%d.%m.%Y %H:%M", "31.01.2024 12:30", datetime(2024, 1, 31, 12, 30, tzinfo=UTC)),
    }
    fields = "".join(
        f'\n    {name}: {{from: {name}, cast: "{kind}"}}' for name, (kind, _, _) in casts.items()
    )
    text = HEAD.replace("name: sandbox", f"name: {store.api}") + indent(plain(f"\n  fields:{fields}"), "  ")
    document = {"results": [{name: sent for name, (_, sent, _) in casts.items()}, {}]}
    with served(lambda _: (document, {})) as url:
        load_into(store, parse_text(text.replace("URL", url), "sandbox.yaml"), "rows")
    (found, nulls) = store.fetch(f"SELECT {', '.join(casts)} FROM {{}}.rows ORDER BY a")
    assert [type(value) for value in found] == [type(value) for _, _, value in casts.values()]
    assert found == tuple(value for _, _, value in casts.values())
    assert set(nulls) == {None}
