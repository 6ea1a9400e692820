"""Cursors: which rows a load takes, in every format, and which version of a row stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import responses

from analytics_dagster.loading.cursor import RowTimes
from analytics_dagster.loading.load import prepare_load
from analytics_dagster.reading.errors import ContractError, CursorError
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into, sandbox_file

Row = dict[str, Any]


class Api:
    """An API that answers with `rows`, or those that `chosen` picks by the request's parameters."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.rows: list[Row] = []
        self.chosen: Callable[[Row, dict[str, str]], bool] = lambda _row, _query: True
        self.queries: list[dict[str, str]] = []
        mock.add_callback(
            "GET", "https://api.example.com/rows", self._answer, content_type="application/json"
        )

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        query = {k: v[0] for k, v in parse_qs((request.url or "").partition("?")[2]).items()}
        self.queries.append(query)
        return 200, {}, json.dumps([row for row in self.rows if self.chosen(row, query)])


@pytest.fixture
def api() -> Iterator[Api]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Api(mock)


def file_of(cursor: str, options: str = "primary_key: id\nwrite_disposition: merge") -> ApiFile:
    text = f"""\
name: sandbox
client: {{base_url: "https://api.example.com"}}
resources:
- name: rows
  endpoint:
    path: rows
    data_selector: "$"
    paginator: single_page
    incremental: {cursor}
"""
    return parse_text(text + indent(options, "  "), "apis/sandbox.yaml")


DAILY = "primary_key: id\nwrite_disposition: merge\npartitions: {every: day, start: 2024-01-01}"


def at(number: int, hour: int = 0) -> datetime:
    """An hour of a day in January 2024."""
    return datetime(2024, 1, number, hour, tzinfo=UTC)


def test_bounds_are_instants_and_not_texts(sandbox: RunningSandbox, duckdb_store: Store) -> None:
    """The sandbox writes `…00.000Z` where the window's bound is `…00Z`, which sorts after it."""
    resource = """
        - name: events
          endpoint:
            path: /v1/events
            incremental: {cursor_path: created_at, start_param: created_after, end_param: created_before}
          primary_key: id
          write_disposition: merge
          partitions: {every: day, start: 2024-01-01}
    """
    file = sandbox_file(sandbox.url, resource)
    rows = [load_into(duckdb_store, file, "events", day(number)).rows for number in range(1, 6)]
    edges = [row for row in sandbox.data.truth("events") if row["created_at"].endswith("T00:00:00.000Z")]
    assert len(edges) >= 5
    assert sum(rows) == len(duckdb_store.ids("events")) == 900


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def pattern(code: str) -> tuple[Callable[[datetime], Any], Callable[[str], Any]]:
    return lambda instant: instant.strftime(code), lambda text: datetime.strptime(text, code)  # noqa: DTZ007


# How an instant is written, and what an API compares.
FORMATS: dict[str, tuple[Callable[[datetime], Any], Callable[[str], Any]]] = {
    "iso": (iso, datetime.fromisoformat),
    "date": pattern("%Y-%m-%d"),
    "epoch": (lambda instant: int(instant.timestamp()), int),
    "epoch_ms": (lambda instant: int(instant.timestamp() * 1000), int),
    "%Y%m%dT%H%M%S": pattern("%Y%m%dT%H%M%S"),
    "%d.%m.%Y %H:%M": pattern("%d.%m.%Y %H:%M"),
}


@pytest.mark.parametrize("inclusive", [True, False], ids=["[start, end)", "(start, end]"])
@pytest.mark.parametrize("written", FORMATS)
def test_windows_share_no_row_and_miss_none(
    api: Api, duckdb_store: Store, written: str, inclusive: bool
) -> None:
    write, read = FORMATS[written]

    def chosen(row: Row, query: dict[str, str]) -> bool:
        moment, start, end = (read(str(text)) for text in (row["t"], query["since"], query["until"]))
        return start <= moment < end if inclusive else start < moment <= end

    moments = [
        at(1) + timedelta(days=number, seconds=seconds)
        for number in range(-2, 5)
        for seconds in (-60, -1, 0, 0, 1)
    ]
    api.rows = [{"id": number, "t": write(moment)} for number, moment in enumerate(moments)]
    api.chosen = chosen
    edges = "" if inclusive else "start: exclusive, end: inclusive, "
    cursor = f'{{cursor_path: t, start_param: since, end_param: until, {edges}format: "{written}"}}'
    file = file_of(cursor, "partitions: {every: day, start: 2024-01-01}")
    rows = [load_into(duckdb_store, file, "rows", day(number)).rows for number in (1, 2)]
    within = [number for number, moment in enumerate(moments) if at(1) <= moment < at(3)]
    assert duckdb_store.ids("rows") == within
    assert sum(rows) == len(within)


def test_a_nested_cursor_stays_where_it_was_and_is_a_column_too(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": number, "meta": {"changed": iso(at(2, number))}} for number in range(3)]
    file = file_of("{cursor_path: meta.changed, start_param: since, end_param: until}", DAILY)
    assert load_into(duckdb_store, file, "rows", day(1)).rows == 0
    assert load_into(duckdb_store, file, "rows", day(2)).rows == 3
    assert duckdb_store.fetch("SELECT meta__changed = _cursor FROM {}.rows") == [(True,)] * 3


def test_a_field_is_not_hidden_by_the_column_of_the_cursor(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": 1, "meta": {"changed": iso(at(1))}, "_cursor": "next"}]
    incremental = "{cursor_path: meta.changed, start_param: since, end_param: until}"
    with pytest.raises(ContractError, match=r"a field `_cursor`.*Rename it: `records: ") as caught:
        load_into(duckdb_store, file_of(incremental, DAILY), "rows", day(1))
    remedy = str(caught.value).rpartition("Rename it: `")[2].removesuffix("`.")
    load_into(duckdb_store, file_of(incremental, f"{DAILY}\n{remedy}"), "rows", day(1))
    assert duckdb_store.fetch("SELECT api_cursor, meta__changed = _cursor FROM {}.rows") == [("next", True)]


def test_a_window_belongs_to_a_resource_with_partitions(api: Api, duckdb_store: Store) -> None:
    """Rows would else be appended that are there already."""
    api.rows = [{"id": 1, "t": iso(at(1))}]
    cursor = "{cursor_path: t, start_param: since, end_param: until}"
    windowed = file_of(cursor, "write_disposition: append\npartitions: {every: day, start: 2024-01-01}")
    load_into(duckdb_store, windowed, "rows", day(1))
    with pytest.raises(ValueError, match=r"apis/sandbox.yaml: resource `rows` has partitions: say which"):
        load_into(duckdb_store, windowed, "rows")
    with pytest.raises(ValueError, match="resource `rows` has no partitions"):
        load_into(duckdb_store, file_of(cursor, "write_disposition: append"), "rows", day(1))
    assert duckdb_store.ids("rows") == [1]


def test_a_cursor_in_the_future_is_told_of(
    api: Api, duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    file = file_of("{cursor_path: t, start_param: since}")
    api.rows = [{"id": 1, "t": iso(datetime.now(UTC))}]
    for _ in range(2):
        load_into(duckdb_store, file, "rows")
    assert "in the future" not in caplog.text
    api.rows = [{"id": 2, "t": "2999-01-01T00:00:00Z"}]
    for _ in range(2):
        load_into(duckdb_store, file, "rows")
    assert "the stored cursor is 2999-01-01T00:00:00+00:00, in the future" in caplog.text
    assert "analytics-dagster state sandbox --resource rows --set" in caplog.text


def test_a_number_can_be_the_cursor(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": number} for number in range(5)]
    api.chosen = lambda row, query: row["id"] >= int(query["since"])
    file = file_of("{cursor_path: id, start_param: since, initial_value: 0}")
    assert load_into(duckdb_store, file, "rows").rows == 5
    api.rows += [{"id": 5}, {"id": 6}]
    assert load_into(duckdb_store, file, "rows").rows == 2
    assert [query["since"] for query in api.queries] == ["0", "4"]
    assert duckdb_store.ids("rows") == [0, 1, 2, 3, 4, 5, 6]


def test_a_load_of_nothing_new_knows_what_tables_have_rows(api: Api, duckdb_store: Store) -> None:
    """dlt would forget it of one with `max_table_nesting`, and then fail where a state is to be stored."""
    api.rows = [{"id": number, "t": number, "tags": [{"n": 1}]} for number in (1, 2)]
    options = "primary_key: id\nwrite_disposition: merge\nmax_table_nesting: 1"
    file = file_of("{cursor_path: t, initial_value: 0}", options)
    assert load_into(duckdb_store, file, "rows").rows == 2
    with prepare_load(file, "rows", (), duckdb_store.destination) as prepared:
        prepared.pipeline.run(prepared.source, **prepared.options)
        assert prepared.meter.rows == 0
        tables = prepared.pipeline.default_schema.data_tables(seen_data_only=True)
    assert {table.get("name") for table in tables} == {"rows", "rows__tags"}


def test_counts_are_those_of_each_window(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": number, "t": iso(at(day_of))} for number, day_of in enumerate([1, 1, 3])]
    file = file_of("{cursor_path: t, start_param: since, end_param: until}", DAILY)
    with prepare_load(file, "rows", [day(1), day(2), day(3)], duckdb_store.destination) as prepared:
        prepared.pipeline.run(prepared.source, **prepared.options)
        assert prepared.result().counts == [2, 0, 1]


def test_rows_without_a_cursor_count_for_the_window_that_is_read_alone(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": 1, "t": iso(at(1))}, {"id": 2}, {"id": 3, "t": None}]
    cursor = "{cursor_path: t, start_param: since, end_param: until, on_cursor_value_missing: include}"
    result = load_into(duckdb_store, file_of(cursor, DAILY), "rows", day(1))
    assert (result.rows, result.counts) == (3, [3])


@pytest.mark.parametrize(
    ("cursor", "message"),
    [
        (
            "{cursor_path: at, start_param: since, end_param: until}",
            "`at` is not in a row.*Its fields are: id, t.*",
        ),
        (
            "{cursor_path: id, start_param: since, end_param: until}",
            "cannot be read.*format: epoch",
        ),
        ("{cursor_path: t.x, start_param: since, end_param: until}", "`t.x` is not in a row"),
    ],
)
def test_rows_without_the_cursor_fail_with_the_remedy(
    api: Api, duckdb_store: Store, cursor: str, message: str
) -> None:
    api.rows = [{"id": 1, "t": "2024-01-01T00:00:00Z"}]
    with pytest.raises(CursorError, match=message) as failure:
        load_into(duckdb_store, file_of(cursor, DAILY), "rows", day(1))
    assert "cursor_path" in str(failure.value)
    assert not Path(str(duckdb_store.destination.credentials)).exists()


def test_rows_that_are_lists_are_told_with_what_picks_their_items() -> None:
    file = file_of("{cursor_path: t, start_param: since, end_param: until}", DAILY)
    with pytest.raises(CursorError, match=r"Check data_selector; `\[\*\]` at its end picks what is in each"):
        RowTimes(file.api.resources[0]).of([[{"t": "2024-01-01"}]])


def test_a_row_that_changed_within_the_instant_of_the_cursor_is_loaded(api: Api, duckdb_store: Store) -> None:
    text = "{cursor_path: t, start_param: since, initial_value: 2024-01-01}"
    row = {"id": 1, "t": "2024-01-01T12:00:00Z", "state": "open", "large": 2**60}
    api.rows = [row, {"id": 2, "t": "2024-01-01T12:00:00Z", "state": "open", "large": 2**70}]
    assert load_into(duckdb_store, file_of(text), "rows").rows == 2
    api.rows[0] = {**row, "state": "closed"}
    assert load_into(duckdb_store, file_of(text), "rows").rows == 1
    assert load_into(duckdb_store, file_of(text), "rows").rows == 0
    assert duckdb_store.fetch("SELECT state FROM {}.rows ORDER BY id") == [("closed",), ("open",)]


def test_a_time_that_is_written_in_another_way_fails_with_the_remedy(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": 1, "t": "Mon, 01 Jan 2024 12:00:00 +0000"}]
    file = file_of("{cursor_path: t, start_param: since, end_param: until}", DAILY)
    with pytest.raises(CursorError, match=r"cannot be read: .*`cast` in records\.fields.*`timestamp:"):
        load_into(duckdb_store, file, "rows", day(1))


@pytest.mark.parametrize(("how", "ids"), [("include", [1, 2, 3]), ("exclude", [1])])
def test_rows_without_the_cursor_can_be_taken_or_left(
    api: Api, duckdb_store: Store, how: str, ids: list[int]
) -> None:
    api.rows = [{"id": 1, "t": iso(at(1))}, {"id": 2, "t": None}, {"id": 3}]
    cursor = f"{{cursor_path: t, initial_value: 2024-01-01, on_cursor_value_missing: {how}}}"
    load_into(duckdb_store, file_of(cursor), "rows")
    assert duckdb_store.ids("rows") == ids


@pytest.mark.parametrize(
    "options", [DAILY, DAILY + "\non_rerun: replace_window", DAILY.replace("merge", "append")]
)
@pytest.mark.parametrize("path", ["t", "meta.t"])
def test_of_two_versions_in_one_load_the_later_cursor_wins(
    api: Api, duckdb_store: Store, path: str, options: str
) -> None:
    api.rows = [
        {"id": 1, "v": hour, "t": iso(at(1, hour)), "meta": {"t": iso(at(1, hour))}, "parts": [{"v": hour}]}
        for hour in (9, 11, 10)
    ]
    file = file_of(f"{{cursor_path: {path}, start_param: since, end_param: until}}", options)
    load_into(duckdb_store, file, "rows", day(1))
    assert duckdb_store.fetch("SELECT id, v FROM {}.rows") == [(1, 11)]
    assert duckdb_store.fetch("SELECT v FROM {}.rows__parts") == [(11,)]


def test_a_full_refresh_with_a_cursor_starts_over_each_time(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": 1, "t": iso(at(1))}, {"id": 1, "t": iso(at(2))}, {"id": 2, "t": iso(at(3))}]
    file = file_of(
        "{cursor_path: t, start_param: since, initial_value: 2024-01-01}",
        "primary_key: id\nwrite_disposition: replace",
    )
    for _ in range(2):
        load_into(duckdb_store, file, "rows")
        assert duckdb_store.ids("rows") == [1, 2]
    assert {query["since"] for query in api.queries} == {"2024-01-01T00:00:00Z"}


def test_a_cursor_reaches_back_by_its_lag(api: Api, duckdb_store: Store) -> None:
    api.rows = [{"id": 1, "t": iso(at(2, 12))}]
    file = file_of("{cursor_path: t, start_param: since, initial_value: 2024-01-01, lag: 3600}")
    load_into(duckdb_store, file, "rows")
    load_into(duckdb_store, file, "rows")
    assert [query["since"] for query in api.queries] == ["2024-01-01T00:00:00Z", "2024-01-02T11:00:00Z"]
    assert duckdb_store.ids("rows") == [1]


def test_rows_with_the_merge_key_of_what_came_go(api: Api, duckdb_store: Store) -> None:
    file = file_of(
        "{cursor_path: t, initial_value: 2024-01-01}",
        "primary_key: id\nmerge_key: team\nwrite_disposition: merge",
    )
    api.rows = [{"id": number, "team": number % 2, "t": iso(at(1))} for number in range(4)]
    load_into(duckdb_store, file, "rows")
    api.rows = [{"id": 9, "team": 1, "t": iso(at(2))}]
    load_into(duckdb_store, file, "rows")
    assert duckdb_store.ids("rows") == [0, 2, 9]


def test_an_api_that_sends_no_row_of_the_window_is_told(
    duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    text = """
        - name: rows
          primary_key: id
          write_disposition: merge
          partitions: {every: day, start: 2024-01-01}
          endpoint:
            path: https://api.example.com/rows
            paginator: single_page
            incremental: {cursor_path: t, start_param: since, end_param: until, format: FORMAT}
    """
    rows = [{"id": 1, "t": 1_704_067_200}, {"id": 2, "t": 1_704_070_800}]
    for written, sent in (("epoch", [{"id": 3, "t": 0}, *rows]), ("epoch", []), ("epoch_ms", rows)):
        assert "none of them in the window" not in caplog.text
        file = sandbox_file("https://api.example.com", text.replace("FORMAT", written))
        with responses.RequestsMock() as api:
            api.get("https://api.example.com/rows", json={"data": sent})
            load_into(duckdb_store, file, "rows", day(1))
        duckdb_store.destination.duckdb_path().unlink()
    assert "resource `rows`: the API sent 2 rows, none of them in the window 2024-01-01" in caplog.text
    assert "the first one has `t` at 1970-01-20T17:21:07.200000+00:00" in caplog.text
