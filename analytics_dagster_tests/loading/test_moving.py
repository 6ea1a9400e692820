"""Rows that come or go while they are read: the load reads again, commits what is whole, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from analytics_dagster.reading.errors import SelectorError, UnstableError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into
from analytics_dagster_tests.reading.helpers import Answer, PagedApi, served

FILE = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
limits: {concurrency: 1}
resources:
- name: rows
  primary_key: id
  write_disposition: replace
  endpoint: {path: rows, data_selector: data, paginator: {type: offset, limit: 100}}
"""


@pytest.fixture
def moving() -> Iterator[PagedApi]:
    """An API that states how many rows it has."""
    api = PagedApi("offset", around=lambda _: {"total": len(api.rows)})
    with served(api) as api.url:
        yield api


@pytest.fixture
def file(moving: PagedApi) -> ApiFile:
    return parse_text(FILE.replace("URL", moving.url), "sandbox.yaml")


def test_rows_that_moved_are_read_again(
    duckdb_store: Store, file: ApiFile, moving: PagedApi, caplog: pytest.LogCaptureFixture
) -> None:
    moving.before_page = lambda page: moving.rows.pop(0) if page in (2, 4) else None
    with caplog.at_level(logging.WARNING, "analytics_dagster"):
        assert load_into(duckdb_store, file, "rows").rows == 248
    assert duckdb_store.ids("rows") == list(range(2, 250))
    assert [message.splitlines()[-1] for message in caplog.messages] == [
        "Reading again from the start (2 of 3).",
        "Reading again from the start (3 of 3).",
    ]
    assert "stated 250 at first and 249 later" in caplog.messages[0]


def test_rows_that_never_rest_fail_and_leave_what_was_there(
    duckdb_store: Store, file: ApiFile, moving: PagedApi
) -> None:
    load_into(duckdb_store, file, "rows")
    moving.asked.clear()
    moving.before_page = lambda page: moving.rows.pop(0) if page % 2 == 0 else None
    with pytest.raises(UnstableError, match=r"stated 248 at first and 247 later.*It was read 3 times:"):
        load_into(duckdb_store, file, "rows")
    assert len(moving.asked) == 6
    assert duckdb_store.ids("rows") == list(range(250))


def test_the_primary_key_shows_rows_that_moved_where_the_total_does_not(
    duckdb_store: Store, file: ApiFile, moving: PagedApi, caplog: pytest.LogCaptureFixture
) -> None:
    moving.before_page = lambda page: moving.rows.insert(0, moving.rows.pop()) if page == 2 else None
    load_into(duckdb_store, file, "rows")
    assert duckdb_store.ids("rows") == list(range(250))
    assert "1 rows came on two pages" in caplog.text


ONE = """
- name: one
  primary_key: id
  write_disposition: replace
  endpoint: {path: "rows/{resources.rows.id}", HOW}
"""


@pytest.mark.parametrize(
    ("how", "answer", "expected"),
    [
        ("", {"id": 7, "total": 60, "tags": ["a", "b"]}, 1),
        ("data_selector: data", {"data": {"id": 7}}, 1),
        ("data_selector: data", {"message": "gone"}, SelectorError),
        ("data_selector: data, data_selector_required: false", {"message": "gone"}, 0),
        ("data_selector: data, data_selector_required: false", {"error": "gone"}, SelectorError),
    ],
)
def test_one_row_by_its_id_is_watched_too(
    duckdb_store: Store, how: str, answer: Any, expected: int | type[SelectorError]
) -> None:
    def both(query: dict[str, str]) -> Answer:
        return ({"data": [{"id": 7}], "total": 1} if "offset" in query else answer), {}

    with served(both) as url:
        file = parse_text((FILE + ONE).replace("URL", url).replace("HOW", how), "sandbox.yaml")
        if isinstance(expected, int):
            assert load_into(duckdb_store, file, "one").rows == expected
        else:
            with pytest.raises(expected):
                load_into(duckdb_store, file, "one")
