"""The configuration that the project was asked for, word for word, from file to rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import responses

from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into

API_KEY = """
    type: api_key
    name: api_key
    api_key: ${EXAMPLE_API_KEY}
    location: """
AUTHS = {
    "query": API_KEY + "query",
    "header": API_KEY + "header",
    "oauth2": """
    type: oauth2
    access_token_url: https://auth.example.com/token
    client_id: ${EXAMPLE_CLIENT_ID}
    client_secret: ${EXAMPLE_CLIENT_SECRET}
""",
}
ROWS = [
    {
        "id": number,
        "name": f"row {number}" if number % 10 else None,
        "score": number / 4,
        "active": number % 2 == 0,
        "created_at": f"2024-01-01T00:{number // 60:02d}:{number % 60:02d}.5+02:00",
    }
    for number in range(250)
]


def example(auth: str) -> ApiFile:
    text = f"""\
client:
  base_url: https://api.example.com
  auth:{auth}
resource_defaults:
  primary_key: id
  write_disposition: merge
resources:
- name: resource_name
  endpoint:
    path: /v1/resource
    data_selector: data
    paginator:
      type: offset
      limit: 100
"""
    return parse_text(text, "apis/example.yaml")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"EXAMPLE_{name}", f"the-{name}")


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def answers(api: responses.RequestsMock, *, total: bool) -> list[requests.PreparedRequest]:
    """Answer with pages of ROWS; the list gets the requests."""
    seen: list[requests.PreparedRequest] = []

    def page(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        seen.append(request)
        query = parse_qs((request.url or "").partition("?")[2])
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        body: dict[str, Any] = {"data": ROWS[offset : offset + limit]}
        return 200, {}, json.dumps({**body, "total": len(ROWS)} if total else body)

    api.add_callback("GET", "https://api.example.com/v1/resource", page, content_type="application/json")
    return seen


@pytest.mark.parametrize("total", [True, False], ids=["total", "no total"])
@pytest.mark.parametrize("auth", AUTHS)
def test_250_rows_arrive(api: responses.RequestsMock, duckdb_store: Store, auth: str, total: bool) -> None:
    tokens = []
    if auth == "oauth2":
        answer = {"access_token": "the-token", "token_type": "Bearer", "expires_in": 3600}
        tokens.append(api.post("https://auth.example.com/token", json=answer))
    seen = answers(api, total=total)
    result = load_into(duckdb_store, example(AUTHS[auth]), "resource_name")

    queries = [parse_qs((request.url or "").partition("?")[2]) for request in seen]
    assert [query["offset"] for query in queries] == [["0"], ["100"], ["200"], *([] if total else [["250"]])]
    assert {query["limit"][0] for query in queries} == {"100"}
    headers, keys = [request.headers for request in seen], [query.get("api_key") for query in queries]
    match auth:
        case "query":
            assert all(key == ["the-API_KEY"] for key in keys)
        case "header":
            assert all(header["api_key"] == "the-API_KEY" for header in headers)
            assert not any(keys)
        case _:
            assert all(header["Authorization"] == "Bearer the-token" for header in headers)
            (token,) = tokens
            assert token.call_count == 1
            form = parse_qs(str(token.calls[0].request.body))
            assert form["client_id"] == ["the-CLIENT_ID"]
            assert form["client_secret"] == ["the-CLIENT_SECRET"]
    assert (result.rows, result.requests) == (250, len(seen) + len(tokens))
    assert result.table.endswith("example.resource_name")

    stored = duckdb_store.fetch(
        "SELECT id, name, score, active, epoch_ms(created_at) FROM example.resource_name ORDER BY id"
    )
    midnight = 1704060000_500  # 2024-01-01T00:00:00.5+02:00
    assert stored == [
        (row["id"], row["name"], row["score"], row["active"], midnight + 1000 * number)
        for number, row in enumerate(ROWS)
    ]


def test_columns_have_the_types_of_their_values_and_may_be_null(
    api: responses.RequestsMock, duckdb_store: Store
) -> None:
    answers(api, total=True)
    load_into(duckdb_store, example(AUTHS["query"]), "resource_name")
    columns = duckdb_store.fetch(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'example' AND table_name = 'resource_name'"
        " AND NOT starts_with(column_name, '_dlt')"
    )
    assert set(columns) == {
        ("id", "BIGINT", "NO"),
        ("name", "VARCHAR", "YES"),
        ("score", "DOUBLE", "YES"),
        ("active", "BOOLEAN", "YES"),
        ("created_at", "TIMESTAMP WITH TIME ZONE", "YES"),
    }


def test_a_second_load_leaves_the_same_rows(api: responses.RequestsMock, duckdb_store: Store) -> None:
    answers(api, total=True)
    for _ in range(2):
        load_into(duckdb_store, example(AUTHS["query"]), "resource_name")
    assert duckdb_store.fetch("SELECT count(*), count(DISTINCT id) FROM example.resource_name") == [
        (250, 250)
    ]
