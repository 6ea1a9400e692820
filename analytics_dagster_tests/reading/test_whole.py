"""What is not whole is never taken for whole, whichever way the pages are found; what is whole is taken."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from analytics_dagster.reading import watching
from analytics_dagster.reading.errors import (
    PageError,
    RefusedError,
    RequestError,
    SelectorError,
    UnstableError,
)
from analytics_dagster_tests.reading.helpers import PAGINATORS, Answer, Lab, PagedApi, raw_server, served

PAGED = [style for style in PAGINATORS if style != "single_page"]
SHIFTING = ["offset", "page_number", "json_link", "header_link", "auto"]
TOKENS = ["cursor", "header_cursor"]

Around = Callable[[list[Any]], dict[str, Any]]


def ids(rows: list[Any]) -> list[int]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("style", PAGED)
@pytest.mark.parametrize("rows", [0, 1, 37, 100, 101, 250])
@pytest.mark.parametrize("total", [True, False])
def test_whole_sets_are_read(style: str, rows: int, total: bool) -> None:
    api = PagedApi(style, rows, around=lambda _: {"total": rows} if total else {})
    assert ids(api.read()) == list(range(rows))


@pytest.mark.parametrize("style", PAGED)
def test_rows_short_of_the_total_are_an_error(style: str) -> None:
    api = PagedApi(style, around=lambda _: {"total": 300})
    with pytest.raises(
        PageError, match=r"the API states 300 rows and sent 250\. .*`total` does not"
    ) as caught:
        api.read()
    assert "write `total_path: null`" in str(caught.value)
    assert ids(api.read({**PAGINATORS[style], "total_path": None})) == list(range(250))


@pytest.mark.parametrize("paginator", [{"type": "auto"}, {"type": "single_page"}])
def test_a_single_page_of_many_is_an_error(paginator: Any) -> None:
    api = PagedApi("single_page", around=lambda _: {"total": 250})
    with pytest.raises(PageError, match="states 250 rows and sent 100; nothing says where the next page is"):
        api.read(paginator)
    api = PagedApi("single_page", around=lambda _: {"meta": {"has_more": True}})
    with pytest.raises(PageError, match=r"in the last answer `meta\.has_more` is true; nothing says where"):
        api.read(paginator)


@pytest.mark.parametrize(
    ("around", "place"),
    [
        ({"continue": {"clcontinue": "403|C1", "continue": "||"}}, "continue"),  # MediaWiki
        ({"metadata": {"continue": "eyJ2Ijoi"}}, r"metadata\.continue"),  # Kubernetes
    ],
)
@pytest.mark.parametrize("paginator", ["single_page", PAGINATORS["cursor"]])
def test_a_place_to_go_on_at_that_no_page_follows_is_an_error(
    paginator: Any, around: dict[str, Any], place: str
) -> None:
    with pytest.raises(PageError, match=f"in the last answer `{place}` is not empty; .*no.* next page"):
        PagedApi("single_page", around=lambda _: around).read(paginator)
    api = PagedApi("single_page", around=lambda _: around)
    assert ids(api.read({"type": "single_page", "total_path": None})) == list(range(100))


@pytest.mark.parametrize("paginator", [PAGINATORS["json_link"], PAGINATORS["cursor"]])
def test_a_paginator_that_finds_no_second_page_is_the_first_suspect(paginator: Any) -> None:
    api = PagedApi("single_page", around=lambda _: {"total": 250})
    with pytest.raises(PageError, match="sent 100; the paginator finds no next page in the answer"):
        api.read(paginator)


@pytest.mark.parametrize("style", PAGED)
def test_more_rows_than_the_total_are_an_error(style: str) -> None:
    with pytest.raises(PageError, match="the API states 249 rows and sent 250"):
        PagedApi(style, around=lambda _: {"total": 249}).read()


@pytest.mark.parametrize("style", PAGED)
def test_pages_that_go_on_past_the_total_are_not_read_for_ever(style: str) -> None:
    api = PagedApi(style, rows=30, size=10, around=lambda _: {"total_count": 25})
    api.endless = True
    with pytest.raises(PageError, match=r"the API states 25 rows and sent \d+"):
        api.read({**PAGINATORS[style], "limit": 10} if style == "offset" else None)
    assert len(api.asked) == 3


@pytest.mark.parametrize("style", PAGED)
@pytest.mark.parametrize(
    "around",
    [
        lambda page: {"total_count": 300},
        lambda page: {"totalCount": "300"},
        lambda page: {"count": 300},
        lambda page: {"count": len(page), "totalResults": 300},
        lambda page: {"meta": {"total": 300}},
        lambda page: {"page": {"totalElements": 300, "size": 100}},
        lambda page: {"@odata.count": 300},
        lambda page: {"total_entries": 300, "next_cursor": None},
        lambda page: {"total": None, "pagination": {"total": 300}},
        lambda page: {"total": 300} if page and page[0]["id"] == 0 else {},
        lambda page: {"total": 300} if page and page[0]["id"] == 0 else {"count": len(page)},
    ],
)
def test_totals_are_found_in_the_usual_places(style: str, around: Around) -> None:
    with pytest.raises(PageError, match="the API states 300 rows and sent 250"):
        PagedApi(style, around=around).read()


def test_totals_are_found_beside_the_rows_and_in_headers() -> None:
    def nested(query: dict[str, str]) -> Answer:
        return {"result": {"total": 3, "items": [{"id": 1}]}}, {}

    def header(query: dict[str, str]) -> Answer:
        return [{"id": 1}], {"X-Total-Count": "3"}

    for answer, selector, place in (
        (nested, "result.items", r"result\.total"),
        (header, "$", "X-Total-Count"),
    ):
        with (
            served(answer) as url,
            pytest.raises(PageError, match=rf"states 3 rows and sent 1;.*`{place}` does not count"),
        ):
            Lab(url).rows("/rows", "json_link", selector)


# In page_number it is a number of pages, as in dlt.
@pytest.mark.parametrize("style", [style for style in PAGED if style != "page_number"])
def test_a_file_may_say_where_the_total_is(style: str) -> None:
    api = PagedApi(style, around=lambda _: {"total": 9, "set": {"size": api_total}})
    api_total = 250
    paginator = {**PAGINATORS[style], "total_path": "set.size"}
    assert ids(api.read(paginator)) == list(range(250))
    api_total = 300
    with pytest.raises(PageError, match=r"states 300 rows and sent 250\. .*`set\.size`"):
        api.read(paginator)


@pytest.mark.parametrize("path", [None, "total", "$.total", "meta.total"])
def test_a_total_of_pages_is_no_total_of_rows(path: str | None) -> None:
    api = PagedApi(
        "page_number", around=lambda _: {"meta": {"total": 3}} if path == "meta.total" else {"total": 3}
    )
    assert ids(api.read({"type": "page_number", **({"total_path": path} if path else {})})) == list(
        range(250)
    )
    assert len(api.asked) == 3


def test_page_numbers_may_begin_later() -> None:
    api = PagedApi("page_number", around=lambda _: {"total": 250})
    assert ids(api.read({"type": "page_number", "page": 1})) == list(range(100, 250))


def test_a_length_of_the_page_is_no_number_of_pages() -> None:
    api = PagedApi("page_number", size=2, around=lambda page: {"total": len(page)})
    assert ids(api.read()) == list(range(250))


def test_numbers_of_pages_do_not_hide_that_rows_are_missing() -> None:
    api = PagedApi("page_number", around=lambda _: {"pages": 3, "total": 300})
    with pytest.raises(PageError, match="the API states 300 rows and sent 250"):
        api.read({"type": "page_number", "total_path": "pages"})


@pytest.mark.parametrize("style", PAGED)
@pytest.mark.parametrize(
    "around",
    [
        lambda page: {"count": len(page)},
        lambda page: {"total": len(page)},
        lambda page: {"count": 3},  # unread messages, or whatever
        lambda page: {"count": 100},  # the limit
        lambda page: {"total": None, "total_count": -1, "totalCount": True, "total_items": "many"},
        lambda page: {"total": 12.5, "meta": {"total": {"value": 300}}},
        lambda page: {"user": {"total": 300, "count": 300}, "facets": [{"total": 7}]},
        lambda page: {"count": 5 - page[0]["id"] // 100 if page else 1},  # changes, but counts no rows
        lambda page: {"warnings": [], "errors": [], "error": None},
        lambda page: {"has_more": not page},
        lambda page: {"continue": {}, "metadata": {"continue": ""}},
    ],
)
def test_numbers_that_do_not_count_the_set_raise_no_alarm(style: str, around: Around) -> None:
    assert ids(PagedApi(style, around=around).read()) == list(range(250))


def test_a_row_with_a_total_of_its_own_raises_no_alarm() -> None:
    with served(lambda _: ({"id": 7, "total": 60, "has_more": True}, {})) as url:
        assert Lab(url).rows("/rows", "single_page", "$") == [{"id": 7, "total": 60, "has_more": True}]


@pytest.mark.parametrize(
    ("cap", "around"),
    [
        (99, lambda page: {}),
        (99, lambda page: {"total": 250}),
        (50, lambda page: {"total": len(page)}),
        (99, lambda page: {"count": len(page)}),
    ],
)
def test_an_api_that_caps_its_pages_leaves_no_gap(cap: int, around: Around) -> None:
    api = PagedApi("offset", size=cap, around=around)
    assert ids(api.read()) == list(range(250))


def test_a_total_that_the_file_names_spares_a_request() -> None:
    api = PagedApi("offset", 50, around=lambda _: {"total": 50})
    assert len(api.read()) == 50
    assert len(api.asked) == 2  # a cap at 50 would look the same
    api.asked.clear()
    assert len(api.read({**PAGINATORS["offset"], "total_path": "total"})) == 50
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", ["400", "404"])
@pytest.mark.parametrize("style", ["offset", "page_number"])
def test_a_refused_page_is_never_taken_for_the_end(style: str, status: str) -> None:
    api = PagedApi(style, 200)

    def refusing(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        return document, headers if document["data"] else {":status": status}

    with served(refusing) as url, pytest.raises(RefusedError, match=status):
        Lab(url).rows("/rows", PAGINATORS[style])


@pytest.mark.parametrize("style", SHIFTING)
def test_rows_that_vanish_meanwhile_are_noticed(style: str) -> None:
    api = PagedApi(style, around=lambda _: {"total": len(api.rows)})
    api.before_page = lambda page: api.rows.pop(0) if page == 2 else None
    with pytest.raises(UnstableError, match="stated 250 at first and 249 later"):
        api.read()


@pytest.mark.parametrize("style", SHIFTING)
def test_rows_that_come_in_front_meanwhile_are_noticed(style: str) -> None:
    api = PagedApi(style, around=lambda _: {"total": len(api.rows)})
    api.before_page = lambda page: api.rows.insert(0, {"id": -1}) if page == 2 else None
    with pytest.raises(UnstableError, match="1 rows came on two pages"):
        api.read()


@pytest.mark.parametrize("style", PAGED)
def test_rows_that_come_at_the_end_meanwhile_are_read(style: str) -> None:
    api = PagedApi(style, around=lambda _: {"total": len(api.rows)})
    api.before_page = lambda page: api.rows.append({"id": 250}) if page == 2 else None
    assert ids(api.read()) == list(range(251))


def test_the_number_of_pages_may_not_shrink_either() -> None:
    api = PagedApi("page_number", 201, around=lambda _: {"pages": -(-len(api.rows) // 100)})
    api.before_page = lambda page: api.rows.pop(0) if page == 2 else None
    with pytest.raises(UnstableError, match=r"stated 3 at first and 2 later.*`pages`"):
        api.read({"type": "page_number", "total_path": "pages"})


@pytest.mark.parametrize("style", TOKENS)
def test_a_token_stays_in_its_place_whatever_happens_to_the_total(style: str) -> None:
    totals = itertools.chain([250, 251], itertools.repeat(250))
    assert ids(PagedApi(style, around=lambda _: {"total": next(totals)}).read()) == list(range(250))
    totals = itertools.chain([250], itertools.repeat(251))
    with pytest.raises(UnstableError, match="states 251 rows and sent 250"):
        PagedApi(style, around=lambda _: {"total": next(totals)}).read()


@pytest.mark.parametrize("style", ["offset", "page_number"])
@pytest.mark.parametrize("key", [["id"], ["id", "name"]])
@pytest.mark.parametrize("total", [True, False])
def test_a_row_that_moves_to_the_front_meanwhile_is_noticed(style: str, key: list[str], total: bool) -> None:
    rows = [{"id": n, "name": "x"} for n in range(250)]
    api = PagedApi(style, rows, around=lambda _: {"total": 250} if total else {})
    api.before_page = lambda page: api.rows.insert(0, api.rows.pop()) if page == 2 else None
    with pytest.raises(UnstableError, match="1 rows came on two pages"):
        api.read(key=key)


@pytest.mark.parametrize("style", ["offset", "page_number"])
def test_an_order_that_leaves_the_place_of_rows_open_is_noticed_whatever_the_file_says_of_totals(
    style: str,
) -> None:
    rows = [{"id": n, "day": n // 40} for n in range(250)]
    api = PagedApi(style, rows)  # two rows of one day, which the end of a page parts, come in either order
    api.before_page = lambda page: api.rows.insert(100, api.rows.pop(99)) if page == 2 else None
    with pytest.raises(UnstableError, match=r"1 rows came on two pages.*sort by the primary key, too"):
        api.read(
            {"type": style, "total_path": None, **({"limit": 100} if style == "offset" else {})}, key=["id"]
        )


@pytest.mark.parametrize("key", [["kind"], ["id", "nothing"], ["tags"]])
def test_a_key_that_tells_nothing_apart_raises_no_alarm(key: list[str]) -> None:
    rows = [{"id": n, "kind": n % 2, "tags": [1]} for n in range(250)]
    assert ids(PagedApi("offset", rows).read(key=key)) == list(range(250))


@pytest.mark.parametrize("style", PAGED)
def test_pages_that_come_again_are_an_error_whatever_is_around_them(style: str) -> None:
    number = itertools.count()
    api = PagedApi(style, around=lambda _: {"request_id": next(number)})
    api.endless = True

    def same(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        first = 100 * (len(api.asked) % 2)  # two pages by turns
        return {**document, "data": api.rows[first : first + 100]}, headers

    with served(same) as api.url, pytest.raises(PageError, match=r"Two pages of .* are the same"):
        Lab(api.url).rows("/rows", PAGINATORS[style])
    assert len(api.asked) == 3


@pytest.mark.parametrize("style", ["offset", "page_number"])
def test_a_page_that_comes_again_with_another_value_in_each_row_is_an_error(style: str) -> None:
    number = itertools.count()
    api = PagedApi(style)
    api.endless = True

    def same(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        now = next(number)
        return {**document, "data": [{**row, "age": now} for row in api.rows[:100]]}, headers

    message = r"Two pages of .* hold rows of the same keys: .* not to know the paginator's parameters"
    with served(same) as api.url, pytest.raises(PageError, match=message):
        Lab(api.url).rows("/rows", PAGINATORS[style], key=["id"])
    assert len(api.asked) == 2


@pytest.mark.parametrize("style", ["json_link", "header_link", "cursor", "header_cursor", "auto"])
def test_empty_pages_do_not_go_on_for_ever(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_EMPTY_PAGES", 5)
    api = PagedApi(style)
    api.endless = True

    def empty(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        return {**document, "data": []}, headers

    with served(empty) as api.url, pytest.raises(PageError, match=r"5 pages of .* in a row were empty"):
        Lab(api.url).rows("/rows", PAGINATORS[style])


@pytest.mark.parametrize("style", PAGED)
@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "slow down"}},
        {"error": "slow down", "data": None},
        {"errors": [{"message": "slow down"}], "data": []},
        {"success": False, "message": "slow down", "data": []},
        {"ok": False, "message": "slow down", "data": []},
        {"status": "error", "message": "slow down", "data": None},
        {"data": "slow down"},
    ],
)
def test_an_error_object_fails_at_once(style: str, page: int, document: Any) -> None:
    api = PagedApi(style)

    def failing(query: dict[str, str]) -> Answer:
        whole, headers = api(query)
        return (whole if len(api.asked) < page else document), headers

    with served(failing) as api.url, pytest.raises(SelectorError, match="slow down"):
        Lab(api.url).rows("/rows", PAGINATORS[style])
    assert len(api.asked) == page


def test_an_error_beside_the_list_is_found_too() -> None:
    document = {"status": 200, "result": {"rows": [], "errors": ["slow down"]}}
    with served(lambda _: (document, {})) as url, pytest.raises(SelectorError, match=r"in `result\.errors`"):
        Lab(url).rows("/rows", "single_page", "result.rows")
    document = {"status": "success", "success": True, "result": {"rows": [], "errors": [], "ok": None}}
    with served(lambda _: (document, {})) as url:
        assert Lab(url).rows("/rows", "single_page", "result.rows") == []


@pytest.mark.parametrize(
    "selector", ["results[0].series", "results[0].series[0].values", "results[*].series[*]"]
)
def test_an_error_on_the_way_to_rows_that_an_answer_may_lack_is_found(selector: str) -> None:
    document: Any = {"results": [{"statement_id": 0, "error": "slow down"}]}
    with (
        served(lambda _: (document, {})) as url,
        pytest.raises(SelectorError, match=r"something in `results.*slow"),
    ):
        Lab(url).rows("/rows", "single_page", selector, required=False)
    document = {"results": [{"statement_id": 0, "ok": True}]}
    with served(lambda _: (document, {})) as url:
        assert Lab(url).rows("/rows", "single_page", selector, required=False) == []


BROKEN = [
    b"<html><body>Down for maintenance</body></html>",
    b"",
    b'{"data": [{"id": 1}, {"id',
    b'{"data": [{"id": 1}]}{"error": "time-out"}',
    b'{"data": [{"id": 1}]}\nterminated early\n',
]


@pytest.mark.parametrize("style", PAGED)
@pytest.mark.parametrize("body", BROKEN)
def test_a_malformed_page_is_asked_for_again_and_then_fails(style: str, body: bytes) -> None:
    api = PagedApi(style)
    times = 0

    def broken(query: dict[str, str]) -> Answer:
        whole, headers = api(query)
        is_broken = len(api.asked) > 1 and len(api.asked) <= 1 + times
        return (body if is_broken else whole), headers

    with served(broken) as api.url:
        times = 3
        assert ids(Lab(api.url).rows("/rows", PAGINATORS[style])) == list(range(250))
        times = 4
        api.asked.clear()
        with pytest.raises(RequestError, match=r"with a body that is not JSON.*tried 4 times"):
            Lab(api.url).rows("/rows", PAGINATORS[style])


@pytest.mark.parametrize("body", [*BROKEN, b'{"data": []}'])
def test_a_body_that_ends_early_fails(body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + body
    with raw_server([answer]) as url, pytest.raises(RequestError, match="tried 4 times"):
        Lab(url).rows("/rows", "single_page")


@pytest.mark.parametrize("style", PAGED)
def test_a_page_may_lack_its_rows_where_the_file_says_so(style: str) -> None:
    api = PagedApi(style, 0)

    def lacking(query: dict[str, str]) -> Answer:
        document, headers = api(query)
        del document["data"]
        return {**document, "note": "no rows today"}, headers

    with served(lacking) as api.url:
        with pytest.raises(SelectorError, match=r"matches nothing.*data_selector_required: false"):
            Lab(api.url).rows("/rows", PAGINATORS[style])
        assert Lab(api.url).rows("/rows", PAGINATORS[style], required=False) == []


def test_a_page_that_may_lack_its_rows_may_not_tell_of_an_error() -> None:
    with served(lambda _: ({"error": "quota"}, {})) as url, pytest.raises(SelectorError, match="quota"):
        Lab(url).rows("/rows", "single_page", required=False)
    with served(lambda _: ({"error": {"code": 0}, "data": []}, {})) as url:
        with pytest.raises(SelectorError, match=r"no rows, and something in `error`"):
            Lab(url).rows("/rows", "single_page")
        assert Lab(url).rows("/rows", "single_page", required=False) == []
