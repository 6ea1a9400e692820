"""What `response_actions` do to a load, and to the rows that are stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from analytics_dagster.loading.load import LoadResult
from analytics_dagster.reading.errors import LoadError, RefusedError, WindowTooLargeError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.reading.helpers import served
from analytics_dagster_tests.security.servers import Answer, Received, serving

FILE = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
resource_defaults:
  write_disposition: append
  endpoint: {data_selector: data, paginator: single_page}
resources:
- name: visits
  partitions: {every: day, start: 2024-01-01}
  records: {drop: [email]}
  endpoint:
    path: visits
    incremental: {cursor_path: at, start_param: since, end_param: until}
    response_actions:
    - {status_code: 404, content: nothing, action: no_data}
    - {when: error, action: fail, message: Ask Ann, message_path: error}
- {name: teams, write_disposition: replace, endpoint: {path: teams}}
- name: members
  write_disposition: replace
  endpoint:
    path: teams/{resources.teams.id}/members
    response_actions: [{status_code: 404, action: ignore}]
"""
ROW = {"id": 1, "at": "2024-01-01T05:00:00Z", "email": "a@b.c"}


def file(url: str) -> ApiFile:
    return parse_text(FILE.replace("URL", url), "api.yaml")


def test_no_data_empties_a_window_and_other_failures_leave_it(duckdb_store: Store) -> None:
    answer: Answer = (200, {}, {"data": [ROW, {**ROW, "id": 2}]})
    with serving(lambda _: answer) as server:
        load_into(duckdb_store, file(server.url), "visits", day(1))
        answer = (404, {}, b"gone")
        with pytest.raises(LoadError, match="404"):
            load_into(duckdb_store, file(server.url), "visits", day(1))
        answer = (200, {}, {"error": "no a@b.c"})
        with pytest.raises(RefusedError, match=r"Ask Ann\. GET") as caught:
            load_into(duckdb_store, file(server.url), "visits", day(1))
        assert "a@b.c" not in str(caught.value)  # which `records` drops
        assert duckdb_store.ids("visits") == [1, 2]
        answer = (404, {}, b"nothing here")
        assert load_into(duckdb_store, file(server.url), "visits", day(1)).rows == 0
        assert duckdb_store.ids("visits") == []


def test_a_parent_without_children_is_passed_over(duckdb_store: Store) -> None:
    def answered(request: Received) -> Answer:
        match request.path.split("/"):
            case ["", "teams"]:
                return 200, {}, {"data": [{"id": team} for team in range(5)]}
            case [*_, team, _] if team != "2":
                return 200, {}, {"data": [{"id": int(team)}]}
            case _:
                return 404, {}, {}

    with serving(answered) as server:
        load_into(duckdb_store, file(server.url), "members")
    assert duckdb_store.ids("members") == [0, 1, 3, 4]


HALVED = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
resources:
- name: events
  write_disposition: append
  partitions: {every: day, start: 2024-01-01}
  endpoint:
    path: events
    data_selector: data
    paginator: PAGES
    params: {start: "{incremental.start_value}", end: "{incremental.end_value}"}
    incremental: {cursor_path: at, format: "%Y%m%dT%H", end: inclusive, MORE}
    response_actions: [{status_code: 404, action: no_data}, {status_code: [400, 504], action: halve}]
"""
EVENTS: list[dict[str, Any]] = [
    {"id": minute, "at": (day(1).start + timedelta(minutes=minute)).isoformat()}
    for minute in range(0, 2880, 7)
]


class Exporter:
    """Exports whole hours, the last one too; refuses more rows than `most`, from the row `late` on."""

    def __init__(self, most: int, page: int = 1_000_000, late: int = 0) -> None:
        self.most = most
        self.page = page
        self.late = late
        self.asked: list[tuple[str, str]] = []

    def __call__(self, query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        self.asked.append((query["start"], query["end"]))
        hours = [(row, f"{datetime.fromisoformat(row['at']):%Y%m%dT%H}") for row in EVENTS]
        found = [row for row, hour in hours if query["start"] <= hour <= query["end"]]
        first = int(query.get("cursor", 0))
        if len(found) > self.most and first >= self.late:
            return {"error": "too large"}, {":status": "400" if len(found) % 2 else "504"}
        after = first + self.page
        next_page = {"next": str(after)} if after < len(found) else {}
        return {"data": found[first:after], **next_page}, {} if found else {":status": "404"}

    def load(self, store: Store, more: str = "min: 1h", pages: str = "single_page") -> LoadResult:
        with served(self) as url:
            text = HALVED.replace("URL", url).replace("MORE", more).replace("PAGES", pages)
            return load_into(store, parse_text(text, "api.yaml"), "events", day(1, days=2))


@pytest.mark.parametrize(
    "more", ["min: 1h", "step: 12h, min: 1h", "step: 2d, min: 1h", "step: none, min: 1h"]
)
def test_a_window_that_is_too_large_is_halved_until_it_is_not(duckdb_store: Store, more: str) -> None:
    exporter = Exporter(most=60)  # seven hours
    assert exporter.load(duckdb_store, more).rows == len(EVENTS)
    assert duckdb_store.ids("events") == [row["id"] for row in EVENTS]
    assert len(exporter.asked) == len(set(exporter.asked)) <= 31
    assert ("20240101T00", "20240101T05") in exporter.asked
    exporter.load(duckdb_store, more)
    assert duckdb_store.ids("events") == [row["id"] for row in EVENTS]


@pytest.mark.parametrize(("status", "days", "told"), [("422", 2, True), ("422", 1, False), ("403", 2, False)])
def test_of_a_refused_request_for_several_windows_it_is_said_that_it_was(
    duckdb_store: Store, status: str, days: int, *, told: bool
) -> None:
    text = HALVED.replace("MORE", "min: 1h").replace("PAGES", "single_page").split("    response_actions")[0]
    with served(lambda _: ({"error": "too long"}, {":status": status})) as url:
        read = parse_text(text.replace("URL", url), "api.yaml")
        with pytest.raises(RefusedError) as caught:
            load_into(duckdb_store, read, "events", day(1, days))
    assert ("2 windows were asked for at once" in str(caught.value)) == told


def test_a_window_is_not_halved_below_min_and_nothing_is_lost(duckdb_store: Store) -> None:
    Exporter(most=60).load(duckdb_store)
    exporter = Exporter(most=20)
    with pytest.raises(
        WindowTooLargeError, match=r"halves would be shorter than `min` .*\(4:00:00\)"
    ) as caught:
        exporter.load(duckdb_store, "min: 4h")
    assert caught.value.permanent
    assert '{"error": "too large"}' in str(caught.value)
    assert duckdb_store.ids("events") == [row["id"] for row in EVENTS]


def test_a_window_of_which_rows_came_is_not_halved(duckdb_store: Store) -> None:
    exporter = Exporter(most=60, page=50, late=50)
    with pytest.raises(WindowTooLargeError, match="after the first page, so the window was not halved"):
        exporter.load(duckdb_store, "step: none", "{type: cursor, cursor_path: next, cursor_param: cursor}")
