"""Pages that begin behind the last row: every row comes, once; where one could be lost, it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from analytics_dagster.reading.errors import PageError
from analytics_dagster.spec import Endpoint
from analytics_dagster.spec.pages import with_places
from analytics_dagster_tests.reading.helpers import Answer, Asked, Lab, served_whole

Row = dict[str, Any]


class SortedApi:
    """An API that sorts rows by `at` and `id`, and sends those from (or behind) one place on."""

    def __init__(self) -> None:
        self.url = ""
        self.rows: list[Row] = []
        self.size = 10
        self.inclusive = True
        self.total: Callable[[list[Row]], Any] = lambda _: None
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        since = int(asked.query.get("since", -1))
        after = int(asked.query.get("after", -1))
        by_both = "after" in asked.query or "both" in asked.query
        left = [
            row
            for row in sorted(self.rows, key=lambda row: (row["at"], row["id"]))
            if (
                (row["at"], row["id"]) > (since, after)
                if by_both
                else row["at"] >= since + (not self.inclusive)
            )
        ]
        return {"data": left[: self.size], "total": self.total(left)}, {}


@pytest.fixture(scope="module")
def api() -> Iterator[SortedApi]:
    api = SortedApi()
    with served_whole(api) as api.url:
        yield api


def read(url: str, paginator: Any, endpoint: Any, path: str = "/rows", **how: Any) -> list[Any]:
    """The rows of an endpoint, whose request holds `{page.FIELD}`."""
    described = Endpoint.model_validate({"path": path, "paginator": paginator, **endpoint})
    placed = with_places(described)
    request = {
        "params": placed.params,
        "json": placed.json_body,
        "data": placed.form,
        "headers": placed.headers,
    }
    return Lab(url).rows(placed.path, paginator, method=placed.method, **request, **how)


BY_AT: Any = {"params": {"since": "{page.at}"}}
BY_BOTH: Any = {"params": {"since": "{page.at}", "after": "{page.id}", "both": 1}}


@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(st.integers(0, 6), max_size=14),
    size=st.integers(2, 6),
    inclusive=st.booleans(),
    limit=st.sampled_from([None, "size", "more"]),
    start=st.sampled_from([None, -1, 0]),
)
@example(times=[0, 1, 1, 1], size=2, inclusive=True, limit="more", start=None)
@example(times=[0, 0], size=3, inclusive=True, limit="size", start=0)
def test_all_rows_come_once_or_it_fails(
    api: SortedApi, times: list[int], size: int, inclusive: bool, limit: str | None, start: int | None
) -> None:
    assume(inclusive or start != 0)  # which would leave out the rows of 0
    api.rows = [{"id": n, "at": at} for n, at in enumerate(times)]
    api.size, api.inclusive, api.total = size, inclusive, lambda _: None
    truth = sorted(api.rows, key=lambda row: (row["at"], row["id"]))
    limits: Any = {None: {}, "size": {"limit": size}, "more": {"limit": size + 90}}[limit]
    most = max((times.count(at) for at in times), default=0)

    both = {
        "type": "keyset",
        "keys": ["at", "id"],
        **limits,
        **({} if start is None else {"start": {"at": 0, "id": -1}}),
    }
    assert read(api.url, both, BY_BOTH) == truth

    one = {"type": "keyset", "keys": "at", **limits, **({} if start is None else {"start": {"at": start}})}
    try:
        rows = read(api.url, one, BY_AT)
    except PageError:
        assert most > 1
        is_all_of_one = limit is None and most == len(times)  # and might have been cut
        assert not inclusive or most >= size or is_all_of_one
    else:
        # Nothing shows that an API leaves out what it should send again, where no two such rows are seen;
        # and a first page of one value looks like all there is, with a limit that the API does not keep to.
        is_shown = inclusive and (limit != "more" or times.count(min(times, default=0)) < size)
        assert rows == truth or (most > 1 and not is_shown)


def test_a_first_page_ends_where_all_its_rows_are_those_of_the_start(api: SortedApi) -> None:
    api.rows, api.inclusive, api.asked = [{"id": n, "at": 5} for n in range(9)], True, []
    api.size, paginator = 10, {"type": "keyset", "keys": "at", "limit": 10, "start": {"at": 5}}
    assert read(api.url, paginator, BY_AT) == api.rows
    assert len(api.asked) == 1
    api.size = 9
    with pytest.raises(PageError, match=r"All 9 rows of a page of .* have the same `at`"):
        read(api.url, {**paginator, "limit": 9}, BY_AT)


def test_rows_that_are_alike_are_told_apart_by_how_often_they_came(api: SortedApi) -> None:
    api.rows = [{"id": 7, "at": at} for at in (1, 2, 2, 2, 3, 3)]
    api.size, api.inclusive = 4, True
    assert read(api.url, {"type": "keyset", "keys": "at"}, BY_AT) == api.rows


@pytest.mark.parametrize("size", [50, 100])
def test_a_first_page_of_one_value_as_long_as_a_usual_cap_is_not_all(api: SortedApi, size: int) -> None:
    api.rows = [{"id": n, "at": 1} for n in range(130)]
    api.size, api.inclusive = size, True
    with pytest.raises(PageError, match=rf"All {size} rows of a page of .* have the same `at`"):
        read(api.url, {"type": "keyset", "keys": "at", "limit": 1000}, BY_AT)


def test_an_api_that_does_not_know_the_parameter_is_found_out(api: SortedApi) -> None:
    api.rows, api.size = [{"id": n, "at": n} for n in range(30)], 10
    with pytest.raises(PageError, match="seems not to know what `at` is sent as, or not to sort by it"):
        read(api.url, {"type": "keyset", "keys": "at", "limit": 100}, {"params": {"sinc": "{page.at}"}})


def test_rows_that_are_sorted_otherwise_are_found_out(api: SortedApi) -> None:
    api.rows, api.size = [{"id": n, "at": n, "name": -n % 7} for n in range(30)], 10
    with pytest.raises(PageError, match="not to sort by it"):
        read(api.url, {"type": "keyset", "keys": "name"}, {"params": {"since": "{page.name}"}})


@pytest.mark.parametrize("counts", [len, lambda _: 26])
def test_totals_are_held_whether_they_count_what_is_left_or_all(api: SortedApi, counts: Any) -> None:
    api.rows, api.size, api.inclusive = [{"id": n, "at": n // 2} for n in range(26)], 5, True
    api.total = counts
    assert len(read(api.url, {"type": "keyset", "keys": "at"}, BY_AT)) == 26
    api.total = lambda _: 27
    with pytest.raises(PageError, match="states 27 rows and sent 26"):
        read(api.url, {"type": "keyset", "keys": "at"}, BY_AT)
    api.total = lambda _: None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": 1}], r"The last row of a page of .* has no `at`.*Correct keys"),
        ([{"at": {"s": 1}}], r"`at` of a row of .* is no plain value"),
    ],
)
def test_rows_without_their_keys_fail(rows: list[Row], words: str) -> None:
    with served_whole(lambda _: ({"data": rows}, {})) as url, pytest.raises(PageError, match=words):
        read(url, {"type": "keyset", "keys": "at"}, BY_AT)


def test_keys_go_anywhere_in_a_request() -> None:
    seen: list[Any] = []

    def answer(asked: Asked) -> Answer:
        seen.append([asked.path, asked.query, asked.headers.get("X-After"), asked.json])
        after = asked.json["filter"][0]["gt"]
        return {"data": [{"k": {"id": n}, "at": "a/b c"} for n in range(after + 1, min(after + 3, 5))]}, {}

    endpoint = {
        "method": "POST",
        "params": {"q": '"{page.at}"', "since": "{page.k.id}"},
        "headers": {"X-After": "{page.k.id}"},
        "json": {"filter": [{"gt": "{page.k.id}"}], "text": "> {page.at}"},
    }
    paginator = {"type": "keyset", "keys": ["at", "k.id"], "start": {"at": "x", "k.id": 0}}
    with served_whole(answer) as url:
        rows = read(url, paginator, endpoint, "/rows/{page.at}/of")
    assert [row["k"]["id"] for row in rows] == [1, 2, 3, 4]
    assert seen[:2] == [
        ["/rows/x/of", {"q": '"x"', "since": "0"}, "0", {"filter": [{"gt": 0}], "text": "> x"}],
        [
            "/rows/a%2Fb%20c/of",
            {"q": '"a/b c"', "since": "2"},
            "2",
            {"filter": [{"gt": 2}], "text": "> a/b c"},
        ],
    ]


def test_a_key_cannot_change_what_the_text_around_it_means() -> None:
    rows = [{"id": "x' OR '1'='1"}]
    with served_whole(lambda _: ({"data": rows}, {})) as url:
        query = {"params": {"where": "id > '{page.id}'"}}
        with pytest.raises(PageError, match="`id` has a quote or a backslash"):
            read(url, {"type": "keyset", "keys": "id", "start": {"id": ""}}, query)
        assert read(url, {"type": "keyset", "keys": "id"}, {"params": {"after": "{page.id}"}}) == rows


def test_an_answer_past_the_end_ends_a_keyset_too(api: SortedApi) -> None:
    def answer(asked: Asked) -> Answer:
        after = int(asked.query.get("after", 0))
        return ({"data": [{"id": after + 1}]}, {}) if after < 3 else ({}, {":status": "404"})

    query = {"params": {"after": "{page.id}"}}
    with served_whole(answer) as url:
        past_end = {"status_code": 404}
        assert len(read(url, {"type": "keyset", "keys": "id", "past_end": past_end}, query)) == 3
        with pytest.raises(Exception, match=r"write `past_end: \{status_code: 404\}`"):
            read(url, {"type": "keyset", "keys": "id"}, query)


def test_ties_that_an_api_leaves_out_are_noticed_where_two_were_seen(api: SortedApi) -> None:
    api.rows = [{"id": n, "at": at} for n, at in enumerate([1, 1, 2, 2, 3])]
    api.size, api.inclusive = 3, False
    with pytest.raises(PageError, match=r"same `at`, and a page begins behind.*some may be skipped"):
        read(api.url, {"type": "keyset", "keys": "at"}, BY_AT)


def test_keys_may_go_into_a_header_alone() -> None:
    def answer(asked: Asked) -> Answer:
        after = int(asked.headers.get("X-After", 0))
        return {"data": [{"id": after + 1}] if after < 3 else []}, {}

    with served_whole(answer) as url:
        rows = read(url, {"type": "keyset", "keys": "id"}, {"headers": {"X-After": "{page.id}"}})
    assert [row["id"] for row in rows] == [1, 2, 3]
