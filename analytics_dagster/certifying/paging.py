"""Checks of pages: their size, order, end and total."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from analytics_dagster.certifying.pages import Reading
from analytics_dagster.certifying.probe import Probe, as_text
from analytics_dagster.certifying.verdicts import Fault, NotApplicable, check
from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.spec import OffsetPaginator, PageNumberPaginator, Paginator, Resource, families
from analytics_dagster.spec.paginators import UntilEmptyPaginator

_SIZES = (
    *("limit", "per_page", "perPage", "page_size", "pageSize", "pagesize", "size", "count", "take", "$top"),
    *("filter_limit", "max_results", "maxResults"),
)


@check("two readings have the same rows")
def readings_agree(probe: Probe) -> str:
    first, second = probe.whole(), probe.again
    _same(probe, first, second, "another reading")
    texts = {probe.mark(row): as_text(row) for row in first.rows}
    changed = [row for row in second.rows if as_text(row) != texts[probe.mark(row)]]
    if changed:
        before = next(row for row in first.rows if probe.mark(row) == probe.mark(changed[0]))
        fields = [name for name in before if before[name] != changed[0].get(name)]
        raise Fault(
            f"{len(changed):,} rows have other values in another reading, such as"
            f" {probe.some([probe.mark(changed[0])])} in {', '.join(fields)}. Fields of the moment can be"
            " left out with `records: {drop: […]}`."
        )
    return f"{len(first.rows):,} rows, twice"


@check("rows come in the same order again")
def order_is_stable(probe: Probe) -> str:
    first, second = probe.whole(), probe.again
    if len(first.pages) < 2:
        raise NotApplicable("all rows are on one page")
    marks = [[probe.mark(row) for row in reading.rows] for reading in (first, second)]
    places = [place for place, (one, other) in enumerate(zip(*marks, strict=False)) if one != other]
    if places:
        raise Fault(
            f"row {places[0] + 1:,} is {probe.some([marks[0][places[0]]])} at first, and"
            f" {probe.some([marks[1][places[0]]])} in another reading: between pages, rows may be skipped."
            " Ask the API for an order by what does not change."
        )
    return f"{len(marks[0]):,} rows"


@check("pages of another size have the same rows")
def other_page_size(probe: Probe) -> str:
    whole = probe.whole()
    size = _size(probe)
    rows = len(whole.rows)
    other = max(1, rows // 3 if rows <= size else size * 2 // 3)
    if other == size:
        raise NotApplicable("there are too few rows")
    reading = probe.read(whole.window, resource=_of_size(probe, other))
    _same(probe, whole, reading, f"pages of {other}")
    # The last page with rows is mostly shorter; an empty one may follow it.
    full = [len(page.rows) for walk in whole.walks for page, later in pairwise(walk) if later.rows]
    is_capped = full and max(full) < size
    capped = f"; pages have {max(full)} at most, though {size} are asked for" if is_capped else ""
    return f"{rows:,} rows in pages of {size} and {other}{capped}"


@check("a page past the end is empty")
def past_the_end(probe: Probe) -> str:
    paginator, whole = _paginator(probe), probe.whole()
    if isinstance(paginator, OffsetPaginator):
        further = {"offset": paginator.offset + len(whole.rows) + paginator.limit}
    elif isinstance(paginator, PageNumberPaginator):
        further = {"page": (paginator.page or paginator.base_page) + len(whole.pages) + 1}
    else:
        raise NotApplicable("the API itself says where the next page is")
    if probe.resource.is_child:
        raise NotApplicable("each parent has an end of its own")
    beyond = paginator.model_copy(update=further)
    try:
        reading = probe.read(whole.window, most=1, resource=_with(probe, paginator=beyond))
    except RefusedError as error:
        return f"it is refused: {probe.redact(str(error)).splitlines()[0]}"
    if reading.rows:
        raise Fault(
            f"{reading.asked} has {len(reading.rows):,} rows, and there were {len(whole.rows):,} in all"
        )
    return "no rows"


@check("the stated total is the number of rows")
def total_is_right(probe: Probe) -> str:
    whole = probe.whole()
    if whole.stated is None or len(whole.walks) != 1:
        raise NotApplicable("answers state no total of all rows")
    if whole.stated != len(whole.rows):
        raise Fault(f"{whole.stated:,} rows are stated, and {len(whole.rows):,} came: {whole.asked}")
    return f"{whole.stated:,} rows"


@check("each parent has children of its own")
def children_of_each(probe: Probe) -> str:
    if not probe.resource.is_child:
        raise NotApplicable("it has no parent")
    whole, cursor = probe.whole(), probe.resource.endpoint.incremental
    if whole.window and cursor and cursor.step:  # of which each parent would have several walks
        whole = probe.part(next(Cuts(cursor).steps(whole.window, cursor.step)))
    walks = [walk for walk in whole.walks if any(page.rows for page in walk)]
    if len(walks) < 2:
        raise NotApplicable("fewer than two of the first parents have children")
    taken = families.taken(probe.resource, families.by_name(probe.resolved.api.resources))
    of_each = [
        Counter(as_text({k: v for k, v in row.items() if k not in taken}) for row in _rows(walk))
        for walk in walks
    ]
    for place, later in enumerate(of_each[1:], 1):
        if shared := of_each[place - 1] & later:
            raise Fault(
                f"{shared.total():,} rows came for two parents: {walks[place - 1][0].url} and"
                f" {walks[place][0].url}. The API may not look at the parent, or write `include_from_parent`"
                " and a primary key with it."
            )
    return f"for {len(walks)} parents"


def _rows(walk: list[Any]) -> list[Any]:
    return [row for page in walk for row in page.rows]


def _same(probe: Probe, first: Reading, second: Reading, what: str) -> None:
    counts, again = probe.marks(first.rows), probe.marks(second.rows)
    for difference, how in ((counts - again, "missing in"), (again - counts, "only in")):
        if difference:
            raise Fault(
                f"{difference.total():,} of {len(first.rows):,} rows are {how} {what}:"
                f" {probe.some(difference)}; {second.asked}"
            )


def _paginator(probe: Probe) -> Paginator | None:
    paginator = probe.resource.endpoint.paginator or probe.resolved.api.client.paginator
    return paginator.in_full if isinstance(paginator, UntilEmptyPaginator) else paginator


def _with(probe: Probe, **changed: Any) -> Resource:
    endpoint = probe.resource.endpoint.model_copy(update=changed)
    return probe.resource.model_copy(update={"endpoint": endpoint})


def _size_param(probe: Probe) -> str:
    params = probe.resource.endpoint.params
    for name in _SIZES:
        if str(params.get(name, "")).isdecimal() and int(params[name]) > 0:
            return name
    raise NotApplicable("the file does not say how long pages are")


def _size(probe: Probe) -> int:
    paginator = _paginator(probe)
    if isinstance(paginator, OffsetPaginator):
        return paginator.limit
    return int(probe.resource.endpoint.params[_size_param(probe)])


def _of_size(probe: Probe, size: int) -> Resource:
    paginator = _paginator(probe)
    if isinstance(paginator, OffsetPaginator):
        return _with(probe, paginator=paginator.model_copy(update={"limit": size}))
    return _with(probe, params={**probe.resource.endpoint.params, _size_param(probe): size})
