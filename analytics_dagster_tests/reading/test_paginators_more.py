"""What paginators can say beyond dlt's: forms, links in other headers, ends and totals of other kinds."""

from __future__ import annotations

from typing import Any

import pytest

from analytics_dagster.reading.errors import PageError, RefusedError, SelectorError, UnstableError
from analytics_dagster_tests.reading.helpers import (
    PAGINATORS,
    Answer,
    Asked,
    Lab,
    PagedApi,
    served,
    served_whole,
)

ROWS = [{"id": n} for n in range(25)]


@pytest.mark.parametrize(
    "paginator",
    [
        {"type": "until_empty", "by": "offset", "limit": 10, "offset_form": "from", "limit_form": "size"},
        {"type": "offset", "limit": 10, "offset_form": "from", "limit_form": "size"},
        {"type": "page_number", "base_page": 1, "page_form": "page"},
        {"type": "until_empty", "by": "page", "base_page": 1, "page_form": "page"},
        {"type": "cursor", "cursor_path": "next", "cursor_form": "token"},
    ],
    ids=str,
)
@pytest.mark.parametrize("total", [{}, {"total": 25}])
def test_the_place_of_a_page_goes_into_a_form(paginator: Any, total: dict[str, int]) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Answer:
        asked.append(request)
        form = request.form
        start = int(form.get("from") or form.get("token") or (int(form.get("page", 1)) - 1) * 10)
        page = ROWS[start : start + int(form.get("size", 10))]
        return {"data": page, "next": str(start + 10) if start < 20 else None, **total}, {}

    with served_whole(answer) as url:
        assert Lab(url).rows("/rows", paginator, method="POST", data={"method": "visits"}, key=["id"]) == ROWS
    assert all(request.form["method"] == "visits" and not request.query for request in asked)


@pytest.mark.parametrize("base", ["{url}/v1/rows", "/v1/rows", "rows", ""])
@pytest.mark.parametrize("paginator", [{"type": "header_next", "header": "x-next"}, {"type": "json_link"}])
def test_a_next_link_may_be_relative(base: str, paginator: Any) -> None:
    def answer(request: Asked) -> Answer:
        if request.path == "/old":
            return {}, {":status": "307", "Location": "/v1/rows?start=0&a=b"}
        assert request.path == "/v1/rows"
        start = int(request.query["start"])
        link = f"{base.format(url=url)}?start={start + 10}" if start < 20 else ""
        page = {"data": ROWS[start : start + 10]}
        return ({**page, "next": link}, {}) if paginator["type"] == "json_link" else (page, {"X-Next": link})

    with served_whole(answer) as url:
        assert Lab(url).rows("/v1/rows", paginator, params={"start": 0}) == ROWS
        assert Lab(url).rows("/old", paginator) == ROWS  # relative to where the redirect led


@pytest.mark.parametrize("sent", [{"json": {"size": 10}}, {"data": {"size": "10"}}])
@pytest.mark.parametrize(
    ("paginator", "place"),
    [
        ({"type": "json_link"}, "body"),
        ({"type": "header_link"}, "Link"),
        ({"type": "header_next", "header": "x-next"}, "X-Next"),
    ],
)
def test_a_next_link_may_want_get_after_a_post(paginator: Any, place: str, sent: Any) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(f"{request.method} {request.path}")
        is_first = request.path == "/query"
        if request.method != ("POST" if is_first else "GET") or bool(request.body) is not is_first:
            return {"error": "method not allowed"}, {":status": "405"}
        start = int(request.query.get("start", 0))
        link = f"{url}/next?start={start + 10}" if start < 20 else None
        page = {"data": ROWS[start : start + 10]}
        if place == "body":
            return {**page, "next": link}, {}
        return page, {place: f'<{link}>; rel="next"' if place == "Link" else link} if link else {}

    with served_whole(answer) as url:
        got = Lab(url).rows("/query", {**paginator, "next_method": "GET"}, method="POST", **sent)
        assert got == ROWS
        assert asked == ["POST /query", "GET /next", "GET /next"]
        with pytest.raises(RefusedError, match="next_method: GET"):
            Lab(url).rows("/query", paginator, method="POST", **sent)


@pytest.mark.parametrize("style", ["offset", "page_number", "cursor", "json_link"])
@pytest.mark.parametrize(
    ("end", "status", "past_end"),
    [
        ({"error": "no such page"}, "400", {"status_code": 400}),
        ({"error": "no such page"}, "404", {"status_code": [404, 416], "content": "such page"}),
        ({"error": "no such page"}, "404", {"content": "such page"}),
        ({"error": "no such page"}, "200", {"content": "such page"}),
        ({"page": 4}, "200", {"data_selector_required": False}),
    ],
)
def test_an_answer_past_the_end_ends_the_pages(style: str, end: Any, status: str, past_end: Any) -> None:
    api = PagedApi(style, 20, size=10)
    api.endless = style in ("cursor", "json_link")  # which lead to a page that is not there

    def answer(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        is_there = document["data"] and document["data"][0]["id"] < 20
        return (document, headers) if is_there else (end, {":status": status})

    paginator = {**PAGINATORS[style], "past_end": past_end, **({"limit": 10} if style == "offset" else {})}
    with served(answer) as api.url:
        assert Lab(api.url).rows("/rows", paginator, key=["id"]) == ROWS[:20]


@pytest.mark.parametrize(
    ("pages", "answer", "error", "words"),
    [
        (0, ({}, {":status": "400"}), RefusedError, "400"),  # the first page is no page past the end
        (1, ({}, {":status": "404"}), RefusedError, "404"),
        (1, ({"error": "quota"}, {":status": "400"}), RefusedError, "quota"),
        (1, ({"error": "quota"}, {}), SelectorError, "quota"),
    ],
)
def test_other_errors_are_no_end(pages: int, answer: Answer, error: type[Exception], words: str) -> None:
    api = PagedApi("page_number")

    def failing(query: dict[str, str]) -> Answer:
        return api(query) if len(api.asked) < pages else answer

    past_end = {"status_code": [200, 400], "content": "no such page"}
    with served(failing) as url, pytest.raises(error, match=words):
        Lab(url).rows("/rows", {"type": "page_number", "past_end": past_end})


def test_an_answer_past_the_end_does_not_hide_that_rows_are_missing() -> None:
    api = PagedApi("offset", 200, around=lambda _: {"total": 300})

    def answer(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        return (document, headers) if document["data"] else ({}, {":status": "400"})

    with served(answer) as url, pytest.raises(PageError, match="states 300 rows and sent 200"):
        Lab(url).rows("/rows", {**PAGINATORS["offset"], "past_end": {"status_code": 400}})


def test_rows_that_speak_of_an_end_are_rows() -> None:
    rows = [{"id": n, "note": "no such page"} for n in range(25)]
    api = PagedApi("page_number", rows, size=10)
    assert api.read({"type": "page_number", "past_end": {"content": "no such page"}}) == rows


@pytest.mark.parametrize("style", ["offset", "page_number"])
def test_an_error_past_the_end_names_the_remedy(style: str) -> None:
    api = PagedApi(style, 200)

    def answer(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        return document, headers if document["data"] else {":status": "404"}

    message = r"404 Not Found\. The pages before were answered\..*write `past_end: \{status_code: 404\}`"
    with served(answer) as url, pytest.raises(RefusedError, match=message) as caught:
        Lab(url).rows("/rows", PAGINATORS[style])
    assert "base_url" not in str(caught.value)


@pytest.mark.parametrize("style", ["cursor", "json_link"])
def test_the_reference_that_led_to_an_empty_page_leads_no_further(style: str) -> None:
    api = PagedApi(style, 20, size=10)

    def answer(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        if not document["data"] or document["data"][-1]["id"] == 19:
            document["next"] = "2" if style == "cursor" else f"{api.url}/rows?cursor=2"
        return document, headers

    with served(answer) as api.url:
        assert Lab(api.url).rows("/rows", PAGINATORS[style]) == ROWS[:20]
    assert len(api.asked) == 3


@pytest.mark.parametrize(
    "paginator", [{"type": "header_link"}, {"type": "header_next", "header": "X-Next"}, {"type": "json_link"}]
)
def test_an_empty_page_ends_links_that_always_lead_on(paginator: Any) -> None:
    asked: list[int] = []

    def answer(query: dict[str, str]) -> Answer:
        asked.append(start := int(query.get("start", 0)))
        link = f"/rows?start={start + 10}"
        headers = {"Link": f'<{link}>; rel="next"; results="{str(start < 20).lower()}"', "X-Next": link}
        return {"data": ROWS[start : start + 10], "next": link}, headers

    with served(answer) as url:
        assert Lab(url).rows("/rows", {**paginator, "stop_after_empty_page": True}) == ROWS
        assert asked == [0, 10, 20, 30]
        with pytest.raises(PageError, match=r"were empty.*`stop_after_empty_page: true`"):
            Lab(url).rows("/rows", paginator)


@pytest.mark.parametrize("last", ["", "null", None])
def test_a_token_in_a_header_ends_with_none(last: str | None) -> None:
    def answer(query: dict[str, str]) -> Answer:
        start = int(query.get("locator", 0))
        token = str(start + 10) if start < 20 else last
        return {"data": ROWS[start : start + 10]}, {} if token is None else {"X-Locator": token}

    paginator = {"type": "header_cursor", "cursor_key": "X-Locator", "cursor_param": "locator"}
    with served(answer) as url:
        assert Lab(url).rows("/rows", paginator) == ROWS


@pytest.mark.parametrize("style", ["offset", "cursor", "header_next"])
def test_a_total_may_be_in_a_header(style: str) -> None:
    stated = 25

    def answer(query: dict[str, str]) -> Answer:
        start = int(query.get("offset") or query.get("cursor") or 0)
        page, more = ROWS[start : start + 10], str(start + 10) if start < 20 else ""
        link = f"/rows?cursor={more}" if more else ""
        return {"data": page, "next": more}, {"X-Size": str(stated), "X-Next": link}

    paginator = {
        "offset": {"type": "offset", "limit": 10},
        "cursor": PAGINATORS["cursor"],
        "header_next": {"type": "header_next", "header": "X-Next"},
    }[style] | {"total_path": "header:X-Size"}
    with served(answer) as url:
        assert Lab(url).rows("/rows", paginator) == ROWS
        stated = 26
        with pytest.raises(PageError, match=r"states 26 rows and sent 25.*`header:X-Size` does not"):
            Lab(url).rows("/rows", paginator)


def test_a_number_of_pages_may_be_in_a_header() -> None:
    api = PagedApi("page_number")

    def answer(query: dict[str, str]) -> Answer:
        return api(query)[0], {"X-WP-TotalPages": "3"}

    with served(answer) as url:
        assert (
            len(Lab(url).rows("/rows", {"type": "page_number", "total_path": "header:X-WP-TotalPages"}))
            == 250
        )
    assert len(api.asked) == 3


def test_what_a_total_counts_may_be_said() -> None:
    api = PagedApi("page_number", 200, around=lambda _: {"count": 200})
    paginator = {"type": "page_number", "total_path": "count", "total_is": "set"}
    assert len(api.read(paginator)) == 200
    assert len(api.asked) == 2
    api = PagedApi("page_number", 200, around=lambda _: {"count": 201})
    with pytest.raises(PageError, match="states 201 rows and sent 200"):
        api.read(paginator)

    api = PagedApi("offset", 100, around=lambda page: {"total": 100})
    assert len(api.read({**PAGINATORS["offset"], "total_is": "set"})) == len(api.asked) * 100 == 100

    api = PagedApi("offset", around=lambda page: {"total": 3 if page else 0})  # of whatever on the page
    with pytest.raises(PageError, match="states 3 rows"):
        api.read()
    assert len(api.read({**PAGINATORS["offset"], "total_is": "page"})) == 250


@pytest.mark.parametrize("total", [{"total_path": "count", "total_is": "set"}, {}])
def test_pages_that_shift_under_newest_first_are_noticed(total: Any) -> None:
    rows: list[Any] = [{"id": n, "createdAt": f"2024-01-{n // 10 + 1:02}"} for n in reversed(range(250))]
    api = PagedApi("page_number", rows, around=lambda _: {"count": len(api.rows), "pageSize": 100})
    api.before_page = lambda page: rows.insert(0, {"id": 250, "createdAt": ""}) if page == 2 else None
    with pytest.raises(UnstableError, match="1 rows came on two pages"):
        api.read({"type": "page_number", **total}, key=["id"])


def test_an_answer_past_the_end_does_not_hide_that_pages_are_missing() -> None:
    api = PagedApi("page_number", 200, around=lambda _: {"pages": 9})

    def answer(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        return (document, headers) if document["data"] else ({}, {":status": "404"})

    paginator = {"type": "page_number", "total_path": "pages", "past_end": {"status_code": 404}}
    with served(answer) as url, pytest.raises(PageError, match="the API states 9 pages, and page 2 was the"):
        Lab(url).rows("/rows", paginator)
