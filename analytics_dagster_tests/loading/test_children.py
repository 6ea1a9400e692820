"""Resources that are asked for once for each row of another one."""

from __future__ import annotations

import json
import re
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import responses

from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into
from analytics_dagster_tests.reading.helpers import served

FILE = """\
name: sandbox
client: {base_url: "https://api.example.com"}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {data_selector: data, paginator: {type: offset, limit: 2}}
resources:
- name: teams
  endpoint: {path: teams}
- name: members
  endpoint: {path: "teams/{resources.teams.id}/members"}
  include_from_parent: [id]
  parallelized: PARALLEL
- name: badges
  endpoint: {path: "members/{resources.members.id}/badges"}
"""
TEAMS = [{"id": team} for team in range(5)]
MEMBERS = {team: [{"id": 10 * team + member} for member in range(team)] for team in range(5)}


def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
    url = urlsplit(request.url or "")
    match url.path.strip("/").split("/"):
        case ["teams"]:
            rows = TEAMS
        case ["teams", team, "members"]:
            rows = MEMBERS[int(team)]
        case ["members", member, "badges"]:
            rows = [{"id": f"{member}-{badge}"} for badge in range(3)]
        case _:
            return 404, {}, "{}"
    offset = int(dict(pair.split("=") for pair in url.query.split("&"))["offset"])
    return 200, {}, json.dumps({"data": rows[offset : offset + 2]})


@pytest.mark.parametrize("parallel", ["true", "false"])
def test_all_children_of_all_parents_arrive(duckdb_store: Store, parallel: str) -> None:
    file = parse_text(FILE.replace("PARALLEL", parallel), "apis/sandbox.yaml")
    with responses.RequestsMock() as api:
        api.add_callback(
            "GET",
            re.compile("https://api.example.com/.*"),
            answer,
            content_type="application/json",
        )
        assert load_into(duckdb_store, file, "members").rows == 10
        assert load_into(duckdb_store, file, "badges").rows == 30
    members = duckdb_store.fetch("SELECT id, _teams_id FROM {}.members ORDER BY id")
    assert members == sorted((row["id"], team) for team, rows in MEMBERS.items() for row in rows)
    assert len(duckdb_store.ids("badges")) == 30
    # Only what was asked for is loaded: a parent is read for its children, and no more.
    assert duckdb_store.fetch("SELECT 1 FROM information_schema.tables WHERE table_name = 'teams'") == []


def test_children_of_several_parents_are_read_at_once(duckdb_store: Store) -> None:
    together = threading.Barrier(4)  # breaks where not as many requests come side by side

    def api(query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        if "team" not in query:
            return {"data": [{"id": team} for team in range(8)], "total": 8}, {}
        together.wait(20)
        return {"data": [{"id": int(query["team"])}], "total": 1}, {}

    with served(api) as url:
        file = parse_text(
            f"""\
name: sandbox
client: {{base_url: "{url}"}}
limits: {{concurrency: 4}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 10, total_path: total}}}}
resources:
- name: teams
- name: members
  endpoint: {{path: members, params: {{team: "{{resources.teams.id}}"}}}}
""",
            "apis/sandbox.yaml",
        )
        assert load_into(duckdb_store, file, "members").rows == 8


def test_grandchildren_are_read_at_once_though_each_of_their_parents_is_alone(duckdb_store: Store) -> None:
    together = threading.Barrier(4)

    def api(query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        if "badge" in query:
            together.wait(20)
        if query:
            return {"data": [{"id": query.get("team") or query.get("badge")}]}, {}
        return {"data": [{"id": team} for team in range(8)]}, {}

    with served(api) as url:
        file = parse_text(
            f"""\
name: sandbox
client: {{base_url: "{url}"}}
limits: {{concurrency: 4}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: single_page}}
resources:
- name: teams
- name: members
  endpoint: {{path: members, params: {{team: "{{resources.teams.id}}"}}}}
- name: badges
  endpoint: {{path: badges, params: {{badge: "{{resources.members.id}}"}}}}
""",
            "apis/sandbox.yaml",
        )
        assert load_into(duckdb_store, file, "badges").rows == 8


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        (
            "incremental: {cursor_path: at, initial_value: 2024-01-01, start_param: since}",
            {"since": "2024-01-01T00:00:00Z"},
        ),
        (
            (
                "params: {since: '{incremental.start_value}', to: 'x{incremental.end_value}'}\n"
                "    incremental: {cursor_path: at, initial_value: 5, end_value: 9}"
            ),
            {"since": "5", "to": "x9"},
        ),
        (
            (
                "incremental: {cursor_path: at, start_param: since, format: date}\n"
                "  partitions: {every: day, start: 2024-01-01}"
            ),
            {"since": "2024-01-01"},
        ),
    ],
)
def test_a_parent_with_a_cursor_is_read_from_its_first_row_on_each_time(
    duckdb_store: Store, endpoint: str, asked: dict[str, str]
) -> None:
    file = parse_text(
        f"""\
name: sandbox
client: {{base_url: "https://api.example.com"}}
resource_defaults: {{primary_key: id, write_disposition: merge}}
resources:
- name: teams
  endpoint:
    path: teams
    {endpoint}
- name: members
  endpoint: {{path: "teams/{{resources.teams.id}}/members", params: {{when: "{{resources.teams.at}}"}}}}
""",
        "apis/sandbox.yaml",
    )
    for _ in range(2):
        with responses.RequestsMock() as api:
            teams = [{"id": 1, "at": "2024-01-01"}]
            api.get(
                "https://api.example.com/teams",
                json=teams,
                match=[responses.matchers.query_param_matcher(asked)],
            )
            api.get(
                "https://api.example.com/teams/1/members",
                json=[{"id": 7}],
                match=[responses.matchers.query_param_matcher({"when": "2024-01-01"})],
            )
            assert load_into(duckdb_store, file, "members").rows == 1
