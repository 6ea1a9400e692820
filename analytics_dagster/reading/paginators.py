"""The paginators that an API file describes: dlt's and our own, watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from dlt.sources.helpers.rest_client import paginators as dlt_paginators
from dlt.sources.rest_api.config_setup import create_paginator

from analytics_dagster.reading.completion import Completion
from analytics_dagster.reading.counting import CountedOffset, CountedPageNumber
from analytics_dagster.reading.keyset import Keyset
from analytics_dagster.reading.records import MakeRows
from analytics_dagster.reading.references import HeaderNext
from analytics_dagster.reading.selection import RowSelection
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.totals import StatedTotal, Tally
from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.spec import (
    HeaderNextPaginator,
    KeysetPaginator,
    LinksPaginator,
    OffsetPaginator,
    PageNumberPaginator,
    Paginator,
    Records,
    UntilEmptyPaginator,
)


def build_paginator(
    paginator: Paginator | None,
    data_selector: str | None,
    session: ApiSession,
    *,
    required: bool = True,
    key: Sequence[str] = (),
    records: Records | None = None,
    completion: Completion | None = None,
    watched: Callable[..., WatchedPaginator] = WatchedPaginator,
) -> WatchedPaginator:
    """The paginator that an API file describes, for `rest_api_source`.

    Args:
        paginator: The file's paginator; None or `auto` to choose one by the first answer, as dlt does.
        data_selector: Where an answer holds its rows; None where dlt finds it.
        session: Sends the requests of these pages.
        required: Whether an answer without anything at the selector is an error.
        key: The fields that tell rows apart.
        records: What a row is; None for what the selector picks.
        completion: Makes each first request what the file says.
        watched: Makes the paginator.
    """
    if isinstance(paginator, UntilEmptyPaginator):
        paginator = paginator.in_full
    make_rows = MakeRows(records) if records else None
    entries = bool(records and records.rows and records.rows.entries)
    selection = RowSelection(data_selector, required=required, entries=entries)
    tally = _tally(paginator, selection, key)
    if paginator is None or paginator.type == "auto":
        past_end = paginator.past_end if paginator else None
        return watched(None, selection, tally, session, make_rows, completion, past_end=past_end)
    options, form = _dlt_options(paginator)
    pages: dlt_paginators.BasePaginator
    # Without one list, the length of a page is not known, and dlt's own paginators have to do.
    if selection.is_one_list and isinstance(paginator, OffsetPaginator):
        pages = CountedOffset(tally, **options)
    elif selection.is_one_list and isinstance(paginator, PageNumberPaginator):
        # dlt's default path is `total`, which in many APIs does not count pages.
        must_fit = paginator.names_total and paginator.total_is is None
        pages = CountedPageNumber(tally, must_fit=must_fit, **options)
    elif isinstance(paginator, KeysetPaginator):
        pages = Keyset(paginator)
    elif isinstance(paginator, HeaderNextPaginator):
        pages = HeaderNext(paginator.header)
    else:
        kind = "json_link" if paginator.type == "json_response" else paginator.type  # dlt's older word
        if not isinstance(paginator, OffsetPaginator | PageNumberPaginator):
            del options["total_path"]
        pages = cast("dlt_paginators.BasePaginator", create_paginator(cast("Any", {"type": kind, **options})))
    links = paginator if isinstance(paginator, LinksPaginator) else None
    return watched(pages, selection, tally, session, make_rows, completion, form, paginator.past_end, links)


def _dlt_options(paginator: Paginator) -> tuple[dict[str, Any], list[str]]:
    """What dlt's paginator takes, and those of its parameters that go into a form body."""
    ours = {"type", "total_is", "past_end"}
    if isinstance(paginator, LinksPaginator):
        ours |= {"next_method", "stop_after_empty_page"}
    options = paginator.model_dump(exclude=ours)
    options["total_path"] = paginator.total_in_body
    form: list[str] = []
    for key in [key for key in options if key.endswith("_form")]:
        if (name := options.pop(key)) is not None:
            options[f"{key.removesuffix('_form')}_param"] = name
            form.append(name)
    return options, form


def _tally(paginator: Paginator | None, selection: RowSelection, key: Sequence[str]) -> Tally:
    """What the file says of totals."""
    path, is_null = None, False
    if paginator is not None and paginator.names_total:
        path, is_null = paginator.total_path, paginator.total_path is None
    counts = paginator.total_is if paginator else None
    wanted, of_pages = not is_null and counts != "page", StatedTotal(None, wanted=False)
    if isinstance(paginator, PageNumberPaginator):
        if counts is None:
            path, of_pages = None, StatedTotal(paginator.total_path, wanted=wanted)
        # How many rows are before a later page is not known.
        wanted = wanted and paginator.page in (None, paginator.base_page)
    total = StatedTotal(path, wanted=wanted, counts_set=counts == "set")
    return Tally(total, of_pages, selection, key, at_first=isinstance(paginator, KeysetPaginator))
