"""Pages come to an end, none is lost, and what looks wrong fails with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from dlt.sources.rest_api import rest_api_source
from responses.matchers import query_param_matcher

from analytics_dagster.reading.errors import LoadError, PageError, SelectorError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.paginators import build_paginator
from analytics_dagster.sandbox import RunningSandbox, SandboxSettings, running_sandbox
from analytics_dagster.spec import OffsetPaginator
from analytics_dagster_tests.reading.helpers import SECRET, URL, Lab

KEY = {"X-API-Key": "sandbox-key"}
Page = dict[str, Any]


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    """A sandbox that tests only read, whose pages hold 40 rows at most."""
    with running_sandbox(SandboxSettings(users=250, max_page_size=40)) as running:
        yield running


def api(rows: int, answer: Callable[[list[int], int, int], Any]) -> None:
    """Mock an API that pages by offset: `answer` makes the document of some rows."""

    def respond(request: Any) -> tuple[int, dict[str, str], str]:
        query = parse_qs(urlsplit(request.url).query)
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        return 200, {}, json.dumps(answer(list(range(rows))[offset : offset + limit], offset, rows))

    responses.add_callback("GET", URL, callback=respond, content_type="application/json")


def asked() -> int:
    """How many requests were sent."""
    return len(responses.calls)


OFFSET = {"type": "offset", "limit": 100}


@pytest.mark.parametrize(
    ("path", "paginator", "params"),
    [
        ("/v1/users", OFFSET, {}),
        ("/v1/users", OFFSET, {"total": "false"}),
        ("/v1/users", {**OFFSET, "total_path": None}, {}),
        ("/v1/pages/users", {"type": "page_number", "base_page": 1, "total_path": "total_pages"}, {}),
        ("/v1/pages/users", {"type": "page_number", "base_page": 1}, {"total": "false"}),
        ("/v1/cursor/users", {"type": "cursor", "cursor_param": "cursor"}, {}),
        ("/v1/links/users", "json_link", {}),
        ("/v1/links/users", "json_response", {}),
        ("/v1/relative-links/users", "json_link", {}),
        ("/v1/header-links/users", "header_link", {}),
        ("/v1/links/users", "auto", {}),
        ("/v1/header-links/users", "auto", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("selector", ["data", "data[*]", "$.data"])
def test_every_paginator_reads_every_row(
    shared: RunningSandbox, path: str, paginator: Any, params: dict[str, str], selector: str
) -> None:
    lab = Lab(shared.url)
    rows = lab.rows(path, paginator, selector, headers=KEY, params=params)
    assert [row["id"] for row in rows] == [f"usr_{n}" for n in range(1, 251)]
    assert lab.meter.pages >= 3


def test_offsets_and_cursors_may_go_into_the_body(shared: RunningSandbox) -> None:
    in_body = {**OFFSET, "offset_body_path": "offset", "limit_body_path": "limit"}
    for path, paginator in (
        ("/v1/users", in_body),
        ("/v1/cursor/users", {"type": "cursor", "cursor_body_path": "cursor"}),
    ):
        rows = Lab(shared.url).rows(path, paginator, method="POST", json={}, headers=KEY)
        assert len({row["id"] for row in rows}) == len(rows) == 250


@responses.activate
def test_a_cursor_in_a_header_is_followed() -> None:
    responses.get(URL, json={"data": [1]}, headers={"X-Next": "b"})
    responses.get(URL, json={"data": [2]}, headers={"X-Next": ""})
    lab = Lab()
    assert lab.rows("/v1/rows", {"type": "header_cursor", "cursor_key": "X-Next", "cursor_param": "c"}) == [
        1,
        2,
    ]
    assert str(responses.calls[1].request.url).endswith("?c=b")


@pytest.mark.parametrize("end", ['""', "null", "false"])
@pytest.mark.parametrize("paginator", ["json_link", {"type": "cursor", "cursor_path": "next"}])
@responses.activate
def test_an_empty_reference_is_the_end(end: str, paginator: Any) -> None:
    responses.get(URL, body=f'{{"data": [1], "next": {end}}}')
    assert Lab().rows("/v1/rows", paginator) == [1]


@pytest.mark.parametrize(
    ("total", "requests"),
    [
        (lambda page, rows: rows, 3),
        (lambda page, rows: str(rows), 3),
        (lambda page, rows: None, 4),
        (lambda page, rows: -1, 4),
        (lambda page, rows: {"value": rows}, 4),
        (lambda page, rows: "many", 4),
        (lambda page, rows: len(page), 4),
    ],
    ids=["number", "text", "null", "unknown", "object", "word", "of the page"],
)
@responses.activate
def test_a_total_ends_the_pages_where_it_is_one(
    total: Callable[[list[int], int], Any], requests: int
) -> None:
    api(250, lambda page, _, rows: {"data": page, "total": total(page, rows)})
    assert Lab().rows("/v1/rows", OFFSET) == list(range(250))
    assert asked() == requests


@pytest.mark.parametrize(("rows", "requests"), [(0, 1), (37, 1), (100, 2), (101, 2), (200, 2), (400, 4)])
@responses.activate
def test_pages_that_are_full_to_the_last_row_are_whole(rows: int, requests: int) -> None:
    api(rows, lambda page, _, total: {"data": page, "total": total})
    assert Lab().rows("/v1/rows", OFFSET) == list(range(rows))
    assert asked() == requests


@responses.activate
def test_totals_of_pages_that_are_all_full_lose_nothing() -> None:
    api(300, lambda page, _, __: {"data": page, "total": len(page)})
    assert Lab().rows("/v1/rows", OFFSET) == list(range(300))


@pytest.mark.parametrize("stated", [lambda offset: 300, lambda offset: 300 if offset < 200 else None])
@responses.activate
def test_fewer_rows_than_the_total_is_an_error(stated: Callable[[int], Any]) -> None:
    api(250, lambda page, offset, _: {"data": page, "total": stated(offset)})
    with pytest.raises(PageError, match=r"the API states 300 rows and sent 250\..*total_path: null"):
        Lab().rows("/v1/rows", OFFSET)


@responses.activate
def test_more_rows_than_the_total_is_an_error() -> None:
    api(250, lambda page, _, __: {"data": page, "total": 3})  # a number of pages, not of rows
    with pytest.raises(PageError, match="the API states 3 rows and sent 100"):
        Lab().rows("/v1/rows", OFFSET)


@responses.activate
def test_a_file_may_begin_and_end_where_it_likes() -> None:
    api(250, lambda page, _, rows: {"data": page, "total": rows})
    lab = Lab()
    assert lab.rows("/v1/rows", {**OFFSET, "offset": 50}) == list(range(50, 250))
    assert lab.rows("/v1/rows", {**OFFSET, "maximum_offset": 100}) == list(range(100))


def numbered(rows: list[Any], **fields: Any) -> None:
    """Mock an API that pages by number."""

    def respond(request: Any) -> tuple[int, dict[str, str], str]:
        number = int(parse_qs(urlsplit(request.url).query)["page"][0])
        data = rows[number] if number < len(rows) else []
        return 200, {}, json.dumps({"data": data, **fields})

    responses.add_callback("GET", URL, callback=respond, content_type="application/json")


@responses.activate
def test_page_numbers_that_end_too_early_are_an_error() -> None:
    numbered([[1], [2]], pages=9)
    with pytest.raises(PageError, match="the API states 9 pages, and page 3 was the last with its 2 rows"):
        Lab().rows("/v1/rows", {"type": "page_number", "total_path": "pages"})


@pytest.mark.parametrize("fields", [{"total": 3}, {"pages": 1, "total": 3}, {}])
@responses.activate
def test_page_numbers_do_not_take_a_number_of_rows_for_one_of_pages(fields: Page) -> None:
    numbered([[1, 2], [3]], **fields)
    assert Lab().rows("/v1/rows", "page_number") == [1, 2, 3]


@responses.activate
def test_an_empty_page_may_stand_between_others() -> None:
    numbered([[1], [], [2]], pages=3)
    paginator = {"type": "page_number", "total_path": "pages", "stop_after_empty_page": False}
    assert Lab().rows("/v1/rows", paginator) == [1, 2]


@responses.activate
def test_pages_that_nothing_ends_are_an_error() -> None:
    api(150, lambda page, _, __: {"data": page})
    with pytest.raises(PageError, match=r"Nothing says where the pages of .* end"):
        Lab().rows("/v1/rows", {**OFFSET, "stop_after_empty_page": False})


@pytest.mark.parametrize("paginator", ["json_link", {"type": "cursor", "cursor_path": "next"}])
@responses.activate
def test_pages_that_lead_back_are_an_error(paginator: Any) -> None:
    for n, following in enumerate([f"{URL}?c=b", f"{URL}?c=a", f"{URL}?c=b"]):
        responses.get(URL, json={"data": [n], "next": following})
    with pytest.raises(PageError, match="do not end: a page leads to one that was read before"):
        Lab().rows("/v1/rows", paginator)
    assert asked() <= 3


@responses.activate
def test_an_api_that_does_not_know_the_parameters_is_found_out() -> None:
    responses.get(URL, json={"data": list(range(37))})
    with pytest.raises(PageError, match=r"Two pages of .* are the same.*paginator: single_page"):
        Lab().rows("/v1/rows", OFFSET)


@responses.activate
def test_a_page_0_that_is_page_1_is_told_with_the_remedy() -> None:
    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        number = max(int(request.params["page"]), 1)  # as Redmine does it
        return 200, {}, json.dumps({"data": list(range(number * 10, number * 10 + 10)) if number < 4 else []})

    responses.add_callback(responses.GET, URL, answer)
    with pytest.raises(PageError, match=r"are the same.*not 0, write `base_page: 1`"):
        Lab().rows("/v1/rows", {"type": "page_number", "total_path": None})
    rows = Lab().rows("/v1/rows", {"type": "page_number", "total_path": None, "base_page": 1})
    assert rows == list(range(10, 40))


@responses.activate
def test_one_row_is_not_doubled_by_pages_that_are_no_number_of_pages() -> None:
    found = {"query": {"statistics": {"pages": 2, "edits": 7}}}  # MediaWiki's, of articles
    responses.get(
        URL,
        json={**found, "warnings": "Unrecognized parameter: page."},
        match=[query_param_matcher({"page": "1"})],
    )
    responses.get(URL, json=found)
    with pytest.raises(PageError, match=r"Two pages of .* are the same.*paginator: single_page"):
        Lab().rows("/v1/rows", "auto", "query.statistics")
    assert Lab().rows("/v1/rows", "single_page", "query.statistics") == [{"pages": 2, "edits": 7}]


@responses.activate
def test_a_next_link_that_is_no_text_is_told() -> None:
    responses.get(URL, json={"data": [1], "next": {"href": "/x"}})
    with pytest.raises(PageError, match="next_url_path"):
        Lab().rows("/v1/rows", "json_link")


@responses.activate
def test_what_dlt_says_of_a_page_is_kept_short() -> None:
    responses.get(URL, json={"data": list(range(9999))})
    with pytest.raises(PageError, match="Has more value not found") as caught:
        Lab().rows("/v1/rows", {**OFFSET, "has_more_path": "more"})
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "selector", ["data", "data[*]", "result.data", "$.data[*].items[*]", "data[?(@.a > 1)]"]
)
@pytest.mark.parametrize("document", [{"error": "no such thing"}, {"rows": []}, [], {"result": 1}])
@responses.activate
def test_a_selector_that_matches_nothing_is_an_error(selector: str, document: Any) -> None:
    responses.get(URL, json=document)
    with pytest.raises(SelectorError) as caught:
        Lab().rows(f"/v1/rows?key={SECRET}", "single_page", selector)
    assert str(caught.value).startswith(f"data_selector `{selector}` matches nothing in an answer of {URL}.")
    assert f"The body began: {json.dumps(document)}" in str(caught.value)
    assert asked() == 1  # a well-formed answer is not asked for again


@responses.activate
def test_an_error_object_on_a_later_page_is_an_error_with_any_selector() -> None:
    for selector in ("data", None):
        responses.reset()
        api(250, lambda page, offset, _: {"data": page} if offset < 100 else {"error": f"limit: {SECRET}"})
        with pytest.raises(SelectorError, match=r'limit: \*\*\*"'):
            Lab().rows("/v1/rows", OFFSET, selector)


@pytest.mark.parametrize(
    ("selector", "document", "rows"),
    [
        ("data", {"data": []}, []),
        ("data", {"data": None}, []),
        ("data[*]", {"data": []}, []),
        ("data.[*]", {"data": []}, []),
        ("$", [], []),
        ("$[*]", [], []),
        ("[*]", [{"a": 1}], [{"a": 1}]),
        ("result.data", {"result": {"data": []}}, []),
        ("'my data'[*]", {"my data": [{"a": 1}]}, [{"a": 1}]),
        ("data[?(@.a > 1)]", {"data": [{"a": 1}]}, []),
        ("data[?(@.a > 1)]", {"data": [{"a": 1}, {"a": 2}]}, [{"a": 2}]),
        ("data[*].items[*]", {"data": []}, []),
        ("data[*].items[*]", {"data": [{"items": []}]}, []),
        ("data[*].items[*]", {"data": [{"items": [1]}, {"items": [2]}]}, [1, 2]),
        ("data.*", {"data": {"a": [1], "b": [2]}}, [[1], [2]]),
        ("$..items[*]", {"data": {"items": [1, 2]}}, [1, 2]),
        ("data", {"data": {"a": 1}}, [{"a": 1}]),
        (None, {"anything": [1, 2]}, [1, 2]),
        (None, [1, 2], [1, 2]),
        (None, {"a": 1}, [{"a": 1}]),
    ],
)
@responses.activate
def test_a_selector_that_matches_gives_its_rows(selector: str | None, document: Any, rows: list[Any]) -> None:
    responses.get(URL, json=document)
    assert Lab().rows("/v1/rows", "single_page", selector) == rows


@responses.activate
def test_a_selector_that_matches_no_row_of_a_full_page_is_an_error() -> None:
    responses.get(URL, json={"data": [{"id": 1}]})
    with pytest.raises(SelectorError):
        Lab().rows("/v1/rows", "single_page", "data[*].itmes[*]")


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        ("data[?(@.n < 150)]", range(150)),
        ("data[?(@.n >= 150)]", range(150, 250)),
        ("data[*].twice[*]", [n for n in range(250) for _ in range(2)]),
    ],
)
@responses.activate
def test_a_selector_that_picks_from_pages_does_not_confuse_them(selector: str, picked: Any) -> None:
    api(250, lambda page, _, rows: {"data": [{"n": n, "twice": [n, n]} for n in page], "total": rows})
    rows = Lab().rows("/v1/rows", OFFSET, selector)
    assert [row["n"] if isinstance(row, dict) else row for row in rows] == list(picked)
    assert asked() == 3


@responses.activate
def test_children_are_paged_each_on_its_own() -> None:
    responses.get("https://api.example.com/v1/parents", json=[{"id": 1}, {"id": 2}])
    for parent in (1, 2):
        url = f"https://api.example.com/v1/parents/{parent}/rows"
        responses.get(url, json={"data": [{"n": parent}], "total": 2})
        responses.get(url, json={"data": [{"n": parent * 10}], "total": 2})
    lab = Lab()
    meter: Meter = lab.meter
    paginator = build_paginator(OffsetPaginator(type="offset", limit=1), "data", lab.session)
    source = rest_api_source(
        {
            "client": {"base_url": lab.base_url, "session": lab.session},
            "resources": [
                {"name": "parents", "endpoint": {"path": "/v1/parents", "paginator": "single_page"}},
                {
                    "name": "rows",
                    "endpoint": {
                        "path": "/v1/parents/{resources.parents.id}/rows",
                        "paginator": paginator,
                        "data_selector": "data",
                    },
                },
            ],
        }
    )
    assert [row["n"] for row in source.resources["rows"]] == [1, 10, 2, 20]
    assert meter.pages == 4


def test_every_error_is_one_that_a_load_can_tell() -> None:
    assert issubclass(PageError, LoadError)
    assert issubclass(SelectorError, PageError)
