"""What `response_actions` do to a load, and to the rows that are stored."""

from __future__ import annotations

import pytest

from analytics_dagster.reading.errors import LoadError, RefusedError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
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
