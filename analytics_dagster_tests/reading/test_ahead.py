"""Pages that are read ahead are those that would have come one by one, and nobody is left waiting for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from requests import Request

from analytics_dagster.reading.auth import build_auth
from analytics_dagster.reading.errors import PageError, RefusedError, TooLargeError, UnstableError
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.side_by_side import side_by_side
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import Client, Limits, OAuth2Auth, Retry
from analytics_dagster_tests.reading.helpers import Answer, Lab, no_reader_left, served

OFFSET = {"type": "offset", "limit": 10}
NUMBER = {"type": "page_number", "base_page": 1}


class Api:
    """An API that cuts rows into pages of 10, and sees how many requests it has at once.

    Args:
        rows: How many rows it has.
        around: What stands beside the rows of a page.
    """

    def __init__(self, rows: int, around: Callable[[], dict[str, Any]] = dict) -> None:
        self.rows: list[dict[str, Any]] = [{"id": n} for n in range(rows)]
        self.around = around
        self.before: Callable[[int], Answer | None] = lambda _: None
        self.after: Callable[[int], object] = lambda _: None
        self.asked: list[int] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def __call__(self, query: dict[str, str]) -> Answer:
        first = int(query["offset"]) if "offset" in query else 10 * (int(query["page"]) - 1)
        with self._lock:
            self.asked.append(first)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if (instead := self.before(first)) is not None:
                return instead
            answer = {"data": self.rows[first : first + 10], **self.around()}
            self.after(first)
            return answer, {}
        finally:
            with self._lock:
                self._at_once -= 1


@contextmanager
def read(api: Callable[[dict[str, str]], Answer], **lab: Any) -> Generator[Lab]:
    """A lab at a served API, closed in the end."""
    with served(api) as url, no_reader_left():
        options: dict[str, Any] = {"limits": {"concurrency": 4}, **lab}
        opened = Lab(url, **options)
        with opened.session:
            yield opened


def in_any_order(first: int) -> None:
    """Hold some pages back, so that later ones are answered before."""
    time.sleep(0.03 if first % 30 == 10 else 0.005)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    ("paginator", "stated"),
    [(OFFSET, {"total": 397}), (OFFSET, {}), (NUMBER, {"total": 40}), (NUMBER, {})],
    ids=str,
)
def test_the_same_rows_come_in_the_same_order(
    paginator: dict[str, Any], stated: dict[str, Any], concurrency: int
) -> None:
    api = Api(397, lambda: stated)
    api.before = in_any_order
    with read(api, limits={"concurrency": concurrency}) as lab:
        assert lab.rows("/rows", paginator, key=["id"]) == api.rows
    assert min(concurrency, 2) <= api.most_at_once <= concurrency
    needed = list(range(0, 400, 10))
    if stated:
        assert sorted(api.asked) == needed  # none beyond the total, and none twice
    else:
        assert set(needed) < set(api.asked)
        assert len(api.asked) <= len(needed) + concurrency


def test_few_pages_are_not_asked_for_where_nothing_says_that_they_exist() -> None:
    api = Api(25)
    with read(api) as lab:
        assert lab.rows("/rows", OFFSET, key=["id"]) == api.rows
    assert sorted(api.asked) == [0, 10, 20, 25]  # as one by one


def test_nothing_beyond_a_maximum_is_asked_for() -> None:
    api = Api(500, lambda: {"total": 500})
    with read(api) as lab:
        assert lab.rows("/rows", {**OFFSET, "maximum_offset": 60}, key=["id"]) == api.rows[:60]
    assert sorted(api.asked) == [0, 10, 20, 30, 40, 50]


def test_a_failing_page_is_the_error_and_the_rest_stop() -> None:
    api = Api(1000, lambda: {"total": 1000})

    def refuse(first: int) -> Answer | None:
        return ({"error": "no"}, {":status": "404"}) if first in {300, 310} else None

    api.before = refuse
    came: list[int] = []
    with read(api) as lab, pytest.raises(RefusedError, match=r"offset=300\b.*404"):
        came.extend(row["id"] for page in lab.paging("/rows", OFFSET, key=["id"]) for row in page)
    assert came == list(range(300))
    assert max(api.asked) <= 330


def test_what_may_get_better_is_tried_again_before_its_turn() -> None:
    api = Api(300, lambda: {"total": 300})
    bad = {50: [({}, {":status": "503"}), (b'{"data": [', {})], 200: [(b"<html>", {})]}
    api.before = lambda first: bad[first].pop() if bad.get(first) else None
    with read(api) as lab:
        assert lab.rows("/rows", OFFSET, key=["id"]) == api.rows
        assert (lab.meter.retries, lab.meter.requests, lab.meter.pages) == (3, 33, 30)


def test_a_token_is_renewed_once_for_all_that_are_under_way(sandbox: RunningSandbox) -> None:
    auth = OAuth2Auth(
        type="oauth2_client_credentials",
        access_token_url=f"{sandbox.url}/oauth/token",
        client_id="sandbox-client",
        client_secret="sandbox-secret",
    )
    with Lab(sandbox.url).session as tokens:
        lab = Lab(sandbox.url)
        signed = build_auth(auth, lambda _: tokens, lab.redact)
        with lab.session:
            pages = lab.paging("/oauth/v1/events", OFFSET, key=["id"], auth=signed)
            rows = next(pages)
            sandbox.tokens.revoke_all()
            rows += [row for page in pages for row in page]
    assert [row["id"] for row in rows] == [f"evt_{n}" for n in range(1, 3001)]
    assert len(sandbox.requests.list("/oauth/token")) == 2


@pytest.mark.parametrize("lengths", [(10, 10, 7, 10), (7, 7, 7), (10, 9, 8, 7, 6)])
def test_an_api_that_sends_less_than_asked_leaves_no_gap(lengths: tuple[int, ...]) -> None:
    api = Api(200, lambda: {"total": 200})

    def shorter(query: dict[str, str]) -> Answer:
        answer, headers = api(query)
        length = lengths[int(query["offset"]) // 10 % len(lengths)]
        return {**answer, "data": answer["data"][:length]}, headers

    with read(shorter) as lab:
        assert lab.rows("/rows", OFFSET, key=["id"]) == api.rows


def test_pages_that_come_again_are_noticed() -> None:
    api = Api(1000, lambda: {"total": 1000})

    def same(query: dict[str, str]) -> Answer:
        return api({**query, "offset": str(int(query["offset"]) % 50)})

    with read(same) as lab, pytest.raises(PageError, match=r"Two pages of .* are the same"):
        lab.rows("/rows", OFFSET)


@pytest.mark.parametrize(
    ("around", "key"),
    [(lambda api: {"total": len(api.rows)}, []), (lambda api: {}, ["id"])],
    ids=["total", "key"],
)
def test_rows_that_shift_while_pages_are_under_way_are_noticed(
    around: Callable[[Api], dict[str, Any]], key: list[str]
) -> None:
    """A row that comes in front, between a later page and an earlier one, would hide another row."""
    api = Api(500, lambda: around(api))
    later_came = threading.Event()

    def hold_back(first: int) -> None:
        if first == 60:
            assert later_came.wait(10)

    def insert(first: int) -> None:
        if first == 70:
            api.rows.insert(0, {"id": -1})
            later_came.set()

    api.before, api.after = hold_back, insert
    with read(api) as lab, pytest.raises(UnstableError):
        lab.rows("/rows", OFFSET, key=key)


@pytest.mark.parametrize(
    ("around", "how"),
    [
        (dict, {}),
        (dict, {"key": ["parent", "id"]}),
    ],
    ids=["neither total nor key", "rows without their key"],
)
def test_where_a_shift_would_not_be_noticed_pages_come_one_by_one(
    around: Callable[[], dict[str, Any]], how: dict[str, Any]
) -> None:
    api = Api(100, around)
    api.before = in_any_order
    with read(api) as lab:
        assert lab.rows("/rows", how.pop("paginator", OFFSET), **how) == api.rows
    assert api.most_at_once == 1


def test_whoever_wants_one_page_sends_for_one() -> None:
    api = Api(1000, lambda: {"total": 1000})
    with read(api) as lab:
        pages = lab.paging("/rows", OFFSET, key=["id"])
        assert next(pages) == api.rows[:10]
        assert lab.meter.requests == 1
        assert next(pages) == api.rows[10:20]
        assert lab.meter.requests > 1


def test_no_more_pages_are_sent_for_than_one_load_may_read() -> None:
    api = Api(1000, lambda: {"total": 1000})
    with (
        read(api, limits={"concurrency": 4, "pages": 7}) as lab,
        pytest.raises(TooLargeError, match="7 pages"),
    ):
        lab.rows("/rows", OFFSET, key=["id"])
    assert len(api.asked) == 7


def test_large_pages_are_not_kept_waiting() -> None:
    api = Api(200, lambda: {"total": 200})
    api.rows = [{"id": n, "text": "x" * 1_000_000} for n in range(200)]
    api.before = in_any_order
    with read(api) as lab:
        pages = lab.paging("/rows", OFFSET, key=["id"])
        for _ in range(4):
            next(pages)
    assert api.most_at_once == 1


def test_the_end_does_not_wait_for_an_answer() -> None:
    api = Api(1000, lambda: {"total": 1000})
    hangs, answered = threading.Event(), list[int]()

    def hang(first: int) -> None:
        if first > 50:
            hangs.wait(20)
            answered.append(first)

    api.before = hang
    with read(api) as lab:
        pages = lab.paging("/rows", OFFSET, key=["id"])
        for _ in range(4):
            next(pages)
        while len(api.asked) < 8:
            time.sleep(0.001)
        lab.session.close()
        assert answered == []
        hangs.set()


def test_the_end_does_not_wait_for_another_try() -> None:
    api = Api(1000, lambda: {"total": 1000})
    api.before = lambda first: ({}, {":status": "503", "Retry-After": "500"}) if first > 50 else None
    with served(api) as url, no_reader_left():
        lab = Lab(url)
        lab.session = ApiSession(Client(base_url=url), Retry(), Limits(), lab.redact, lab.meter)
        pages = lab.paging("/rows", OFFSET, key=["id"])
        for _ in range(4):
            next(pages)
        while not lab.meter.waiting:
            time.sleep(0.001)
        lab.session.close()


def test_a_request_that_begins_late_does_not_wait_for_itself() -> None:
    api = Api(100)
    free = threading.Event()
    with read(api, limits={"concurrency": 1}) as lab:
        assert lab.session.start(free.wait) is not None  # the only thread is busy
        request = Request("GET", lab.base_url, params={"offset": 10})
        coming = vars(request)["coming"] = lab.session.send_ahead(request)
        prepared = lab.session.prepare_request(request)
        free.set()
        assert coming.answer.result(10).json() == {"data": api.rows[10:20]}
        assert lab.session.send(prepared) is coming.answer.result()


class Children:
    """An API in which each parent has `parent` + 1 rows, in pages of 2."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.refused: int | None = None
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, query: dict[str, str]) -> Answer:
        parent, offset = int(query["parent"]), int(query["offset"])
        with self._lock:
            self.asked.append((parent, offset))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.02 if parent % 3 == 0 else 0.002)
        with self._lock:
            self.at_once -= 1
        if parent == self.refused:
            return {"error": "no"}, {":status": "404"}
        rows = [{"id": 100 * parent + n} for n in range(parent + 1)]
        return {"data": rows[offset : offset + 2], "total": len(rows)}, {}

    def readings(self, lab: Lab, parents: int) -> list[Iterator[list[Any]]]:
        """The children of each parent."""
        two = {"type": "offset", "limit": 2, "total_path": "total"}
        return [lab.paging("/rows", two, params={"parent": parent}) for parent in range(parents)]


def test_children_of_several_parents_are_read_side_by_side_and_come_in_order() -> None:
    api = Children()
    with read(api) as lab:
        pages = list(side_by_side(api.readings(lab, 12), lab.session))
        assert lab.meter.pages == len(pages)
    assert [row["id"] for page in pages for row in page] == [
        100 * parent + n for parent in range(12) for n in range(parent + 1)
    ]
    assert 1 < api.most_at_once <= 4
    assert len(set(api.asked)) == len(api.asked) == len(pages)


def test_a_parent_whose_children_fail_is_the_error_and_the_rest_stop() -> None:
    api = Children()
    api.refused = 5
    came: list[int] = []
    with read(api) as lab, pytest.raises(RefusedError, match=r"parent=5\b"):
        came.extend(row["id"] for page in side_by_side(api.readings(lab, 100), lab.session) for row in page)
    assert came[-1] == 404
    assert max(api.asked)[0] <= 10
