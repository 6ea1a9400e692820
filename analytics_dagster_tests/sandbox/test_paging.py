"""Every way of paging walks over a real connection to exactly the truth, and says no to nonsense."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import orjson
import pytest
import requests

from analytics_dagster.sandbox import RunningSandbox, SandboxSettings, running_sandbox
from analytics_dagster_tests.sandbox.conftest import API_KEY, get

Walk = Callable[[requests.Session, str, str, dict[str, Any]], Iterator[list[dict[str, Any]]]]
WINDOW = {"created_after": "2024-01-05T00:00:00Z", "created_before": "2024-01-20T00:00:00Z"}


def by_offset(client: requests.Session, url: str, resource: str, params: dict[str, Any]) -> Iterator[Any]:
    offset, total = 0, 1
    while offset < total:
        answer = get(client, f"{url}/v1/{resource}", limit=170, offset=offset, **params)
        total = answer["total"]
        offset += len(answer["data"])
        yield answer["data"]


def by_offset_without_total(
    client: requests.Session, url: str, resource: str, params: dict[str, Any]
) -> Iterator[Any]:
    offset = 0
    while True:
        answer = get(client, f"{url}/v1/{resource}", limit=170, offset=offset, total="false", **params)
        assert answer.keys() == {"data"}
        if not answer["data"]:
            return
        offset += len(answer["data"])
        yield answer["data"]


def by_posted_offset(
    client: requests.Session, url: str, resource: str, params: dict[str, Any]
) -> Iterator[Any]:
    offset, total = 0, 1
    while offset < total:
        body = {"limit": 170, "offset": offset, **params}
        answer = client.post(f"{url}/v1/{resource}", json=body, timeout=10).json()
        total = answer["total"]
        offset += len(answer["data"])
        yield answer["data"]


def by_page_number(
    client: requests.Session, url: str, resource: str, params: dict[str, Any]
) -> Iterator[Any]:
    number, pages = 1, 1
    while number <= pages:
        answer = get(client, f"{url}/v1/pages/{resource}", page=number, page_size=170, **params)
        pages = answer["total_pages"]
        number += 1
        yield answer["data"]


def by_cursor(client: requests.Session, url: str, resource: str, params: dict[str, Any]) -> Iterator[Any]:
    cursor = None
    while True:
        answer = get(client, f"{url}/v1/cursor/{resource}", limit=170, cursor=cursor, **params)
        yield answer["data"]
        cursor = answer["cursors"]["next"]
        if cursor is None:
            return


def by_link(client: requests.Session, url: str, resource: str, params: dict[str, Any]) -> Iterator[Any]:
    answer = get(client, f"{url}/v1/links/{resource}", limit=170, **params)
    while answer["next"]:
        assert answer["next"].startswith(url)
        yield answer["data"]
        answer = get(client, answer["next"])
    yield answer["data"]


def by_relative_link(
    client: requests.Session, url: str, resource: str, params: dict[str, Any]
) -> Iterator[Any]:
    answer = get(client, f"{url}/v1/relative-links/{resource}", limit=170, **params)
    while answer["next"]:
        assert answer["next"].startswith(f"/v1/relative-links/{resource}?")
        yield answer["data"]
        answer = get(client, urljoin(url, answer["next"]))
    yield answer["data"]


def by_header_link(
    client: requests.Session, url: str, resource: str, params: dict[str, Any]
) -> Iterator[Any]:
    answer = client.get(f"{url}/v1/header-links/{resource}", params={"limit": 170, **params}, timeout=10)
    while "next" in answer.links:
        yield answer.json()["data"]
        answer = client.get(answer.links["next"]["url"], timeout=10)
    yield answer.json()["data"]


WALKS: list[Walk] = [
    by_offset,
    by_offset_without_total,
    by_posted_offset,
    by_page_number,
    by_cursor,
    by_link,
    by_relative_link,
    by_header_link,
]


@pytest.mark.parametrize("params", [{}, WINDOW], ids=["everything", "window"])
@pytest.mark.parametrize("resource", ["users", "events", "sessions", "orders"])
@pytest.mark.parametrize("walk", WALKS)
def test_every_way_of_paging_gives_exactly_the_truth(
    shared: RunningSandbox, client: requests.Session, walk: Walk, resource: str, params: dict[str, Any]
) -> None:
    pages = list(walk(client, shared.url, resource, params))
    assert [row for page in pages for row in page] == list(shared.data.truth(resource, **params))
    assert {len(page) for page in pages[:-1]} <= {170}
    assert 0 < len(pages[-1]) <= 170


def test_the_truth_is_asked_for_without_credentials(shared: RunningSandbox) -> None:
    with requests.Session() as stranger:
        answer = stranger.get(f"{shared.url}/control/truth/orders", params=WINDOW, timeout=10)
    expected = list(shared.data.truth("orders", **WINDOW))
    assert [orjson.loads(line) for line in answer.text.splitlines()] == expected


@pytest.mark.parametrize("path", ["/v1/events", "/v1/pages/events", "/v1/cursor/events", "/v1/links/events"])
def test_an_empty_window_is_an_empty_page(
    shared: RunningSandbox, client: requests.Session, path: str
) -> None:
    answer = get(client, shared.url + path, created_after="2030-01-01", created_before="2030-01-02")
    assert answer["data"] == []
    assert answer.get("total", 0) == answer.get("total_pages", 0) == 0
    assert not answer.get("next")
    assert answer.get("cursors") in (None, {"next": None})


def test_a_page_past_the_end_is_empty(shared: RunningSandbox, client: requests.Session) -> None:
    assert get(client, f"{shared.url}/v1/users", offset=500) == {"data": [], "total": 500}
    assert get(client, f"{shared.url}/v1/pages/users", page=99)["data"] == []


def test_no_link_ends_with_the_last_page_when_it_is_full(
    shared: RunningSandbox, client: requests.Session
) -> None:
    assert get(client, f"{shared.url}/v1/links/users", limit=500)["next"] is None


def test_larger_pages_than_allowed_are_cut_silently(client: requests.Session) -> None:
    with running_sandbox(SandboxSettings(max_page_size=50)) as sandbox:
        answer = get(client, f"{sandbox.url}/v1/events", limit=100)
        assert len(answer["data"]) == 50
        assert answer["total"] == 3_000
        assert get(client, f"{sandbox.url}/v1/pages/events", page_size=100)["total_pages"] == 60


def test_a_row_deleted_between_two_pages_shifts_offsets_but_not_cursors(
    sandbox: RunningSandbox, client: requests.Session
) -> None:
    first = get(client, f"{sandbox.url}/v1/cursor/events", limit=10)
    ids = [row["id"] for row in sandbox.data.truth("events")]
    sandbox.data.delete("events", [ids[3], ids[9]])
    following = get(client, f"{sandbox.url}/v1/cursor/events", limit=2, cursor=first["cursors"]["next"])
    assert [row["id"] for row in following["data"]] == ids[10:12]
    by_offset = get(client, f"{sandbox.url}/v1/events", limit=2, offset=10)
    assert [row["id"] for row in by_offset["data"]] == ids[12:14]


@pytest.mark.parametrize(
    ("path", "params", "named"),
    [
        ("/v1/events", {"limit": "ten"}, "limit"),
        ("/v1/events", {"limit": "0"}, "limit"),
        ("/v1/events", {"limit": "-1"}, "limit"),
        ("/v1/events", {"offset": "1.5"}, "offset"),
        ("/v1/events", {"total": "perhaps"}, "total"),
        ("/v1/events", {"page": "1"}, "page"),
        ("/v1/events", {"created_afterr": "2024-01-01"}, "created_afterr"),
        ("/v1/events", {"created_after": "yesterday"}, "created_after"),
        ("/v1/events", {"updated_before": "1704067200"}, "updated_before"),
        ("/v1/events", {"created_after": "2024-01-02", "created_before": "2024-01-01"}, "created_after"),
        ("/v1/pages/events", {"page": "0"}, "page"),
        ("/v1/cursor/events", {"cursor": "YWZ0ZXI6eA=="}, "cursor"),
        ("/v1/cursor/events", {"cursor": "é"}, "cursor"),
        ("/v1/nothing", {}, "nothing"),
        ("/control/truth/events", {"created_after": "yesterday"}, "created_after"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    shared: RunningSandbox, client: requests.Session, path: str, params: dict[str, str], named: str
) -> None:
    answer = client.get(shared.url + path, params=params, timeout=10)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"[1]", b"{", b'"limit"', b'{"limit": true}', b'{"created_after": 5}', b'[["limit", "5"]]']
)
def test_a_wrong_body_is_refused(shared: RunningSandbox, client: requests.Session, body: bytes) -> None:
    answer = client.post(f"{shared.url}/v1/events", data=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_unknown_paths_and_methods_are_json_errors(shared: RunningSandbox, client: requests.Session) -> None:
    unknown = client.get(f"{shared.url}/v2/events", timeout=10)
    assert (unknown.status_code, unknown.json()["error"]["status"]) == (404, 404)
    wrong = client.delete(f"{shared.url}/v1/events", timeout=10)
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (405, 405)


def test_ten_million_rows_are_served_from_any_place_without_being_held(client: requests.Session) -> None:
    tracemalloc.start()
    try:
        with running_sandbox(SandboxSettings(events=10_000_000)) as sandbox:
            began = time.monotonic()
            for offset in (0, 5_000_000, 9_999_900):
                answer = get(client, f"{sandbox.url}/v1/events", limit=100, offset=offset)
                assert answer["total"] == 10_000_000
                assert [row["id"] for row in answer["data"]] == [f"evt_{offset + n + 1}" for n in range(100)]
            day = get(
                client,
                f"{sandbox.url}/v1/links/events",
                created_after="2024-01-31T23:59:55.000Z",
                updated_before="2024-02-01",
            )
            assert day["next"] is None
            assert 0 < len(day["data"]) < 50
            elapsed = time.monotonic() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert elapsed < 2
    assert peak < 20_000_000


def test_the_key_is_not_in_links(shared: RunningSandbox) -> None:
    with requests.Session() as stranger:
        url = f"{shared.url}/v1/links/events?api_key={API_KEY['X-API-Key']}&limit=2"
        link = stranger.get(url, timeout=10).json()["next"]
    assert "limit=2" in link
    assert "api_key" not in link
