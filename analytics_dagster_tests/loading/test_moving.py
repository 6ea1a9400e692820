"""Rows that come or go while they are read: the load reads again, commits what is whole, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from analytics_dagster.reading.errors import SelectorError, UnstableError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into
from analytics_dagster_tests.reading.helpers import PagedApi, served

FILE = """\
name: sandbox
client: {base_url: "URL"}
retry: {max_retries: 0}
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


def test_one_row_by_its_id_is_watched_too(duckdb_store: Store, moving: PagedApi) -> None:
    text = FILE.replace("URL", moving.url).replace(
        "data_selector: data, paginator: {type: offset, limit: 100}", ""
    )
    one = """\
- name: one
  primary_key: id
  write_disposition: replace
  endpoint: {path: "rows/{resources.rows.id}", data_selector: SELECTOR, params: {offset: 0, limit: 1}}
"""
    text = text.replace(
        "path: rows,", "path: rows, params: {offset: 0, limit: 1}, paginator: {type: auto, total_path: ~}"
    )
    with pytest.raises(SelectorError, match="data_selector `datum` matches nothing"):
        load_into(duckdb_store, parse_text(text + one.replace("SELECTOR", "datum"), "sandbox.yaml"), "one")
    result = load_into(
        duckdb_store, parse_text(text + one.replace("SELECTOR", "'data[0]'"), "sandbox.yaml"), "one"
    )
    assert result.rows == 1
