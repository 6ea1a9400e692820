"""Pages put together to batches, for which what is done once a batch costs little."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from typing import Any, cast

from dlt.extract import DltResource

from analytics_dagster.reading.meter import Meter

BATCH_ROWS = 10_000
_BYTES = 16_000_000  # of bodies


def gather_pages(resource: DltResource, meter: Meter, size: int) -> None:
    """Have a resource give its rows in batches of many pages.

    Each reading ends with an empty batch, so that also steps after a filter know of one without rows.

    Args:
        resource: A resource of dlt's REST source. The pages that a child resource has for one page of its
            parent are put together.
        meter: Knows how much was read.
        size: How many rows make a batch; large rows make one sooner.
    """
    pipe: Any = resource._pipe  # pyright: ignore[reportPrivateUsage]
    read = pipe.gen

    if pipe.has_parent:

        @wraps(read)
        def children(item: Any, meta: Any = None) -> Any:
            pages = read(item, meta=meta)
            return _batches(cast("Any", pages), meter, size) if isinstance(pages, Iterator) else pages

        pipe.replace_gen(children)
    else:

        def rows() -> Iterator[Any]:
            return _batches(read(), meter, size)

        pipe.replace_gen(rows)


def _batches(pages: Iterator[Any], meter: Meter, size: int) -> Iterator[Any]:
    rows: list[Any] = []
    begun = meter.bytes
    for page in pages:
        if not isinstance(page, list):  # rows that are to be read in another thread
            yield page
            continue
        rows += cast("list[Any]", page)
        if len(rows) >= size or meter.bytes - begun >= _BYTES:
            yield rows
            rows, begun = [], meter.bytes
    if rows:
        yield rows
    yield []
