"""Whether an API keeps to the bounds of time that it is given, which `check` sees by one more request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from dlt.sources.rest_api import rest_api_source

from analytics_dagster.certifying.pages import Reading, RecordedPages, only_first
from analytics_dagster.loading.children import ask_children
from analytics_dagster.loading.cursor import ReadCursor, RowTimes, is_number_cursor
from analytics_dagster.loading.failures import explained
from analytics_dagster.loading.resolve import ResolvedApi
from analytics_dagster.loading.source import api_session, rest_api_config, schema_name
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import Incremental, Resource, Window
from analytics_dagster.spec.placeholders import bounds_sent

WHERE = "the first page"
"""Begins messages, under a heading that says more."""

_FIRST_YEAR = 1990  # before which no API has rows, but seconds that are read as milliseconds are


@dataclass(frozen=True)
class Finding:
    """One thing that works (True), does not (False), or could not be seen (None)."""

    works: bool | None
    text: str


def read_pages(
    resolved: ResolvedApi,
    resource: Resource,
    window: Window | None,
    on_change: Callable[[Meter], None],
    most: int = 1,
    parents: int = 1,
) -> tuple[Reading, LoadError | None]:
    """Read the first pages of a resource; of a child, those for the first rows of its parent.

    Args:
        resolved: The API, its templates filled in.
        resource: The resource, which may have other bounds than the file gives it.
        window: What to ask for; None without partitions.
        on_change: Called after each change of the counts.
        most: How many pages at most.
        parents: For how many rows of a parent at most.

    Returns:
        What came, and what went wrong.
    """
    limits = resolved.api.limits.model_copy(update={"concurrency": 1})  # nothing is read ahead
    resolved = ResolvedApi(resolved.api.model_copy(update={"limits": limits}), resolved.redact)
    page = Reading(window)
    session = api_session(resolved, Meter(on_change=on_change), sample=True)
    config = cast("dict[str, Any]", rest_api_config(resolved, resource, session, window))
    for entry in config["resources"]:
        if not isinstance(entry, dict):  # the lists of values that stand for a parent
            continue
        endpoint: dict[str, Any] = cast("Any", entry)["endpoint"]
        kept = page if entry["name"] == resource.name else Reading()
        endpoint["paginator"] = RecordedPages(
            endpoint["paginator"], kept, most if kept is page else 1, resolved.redact
        )
    source = rest_api_source(cast("Any", config), name=schema_name(resolved.api, resource))
    ask_children(source, resolved.api, resource, session, first=parents)
    for name, parent in source.resources.items():
        if name != resource.name:
            parent.add_filter(only_first(parents))
    if resource.endpoint.incremental:
        source.resources[resource.name].add_step(ReadCursor(resource, None, forget=False))
    try:
        with explained(resolved.redact, WHERE), session:
            for _ in source:
                pass
    except LoadError as error:
        return page, error
    return page, None


def filter_findings(
    resolved: ResolvedApi,
    resource: Resource,
    window: Window | None,
    rows: Sequence[Any],
    on_change: Callable[[Meter], None],
    parents: int = 1,
) -> list[Finding]:
    """Ask for rows from the newest of a page on, and see whether older ones come all the same.

    Args:
        resolved: The API, its templates filled in.
        resource: The resource that the page is of.
        window: What was asked for; None without partitions.
        rows: The page as it came.
        on_change: Called after each change of the counts.
        parents: For how many rows of a parent to ask.
    """
    endpoint = resource.endpoint
    cursor = endpoint.incremental
    is_asked = cursor and "start" in bounds_sent(endpoint) and not is_number_cursor(cursor)
    if cursor is None or not is_asked or endpoint.response:
        return []
    times, bounds = RowTimes(resource), Bounds(cursor)
    known = [time for time in times.of(list(rows)) if time]
    if problem := _problem(cursor, bounds, window, known):
        return [Finding(False, problem)]
    newest = max((time for time in known if window is None or time in window), default=None)
    begin = newest and bounds.earliest(newest)
    if newest is None or begin is None or min(known) >= begin:
        text = f"whether the API filters by `{cursor.cursor_path}` cannot be told by these rows"
        return [Finding(None, text)]
    further, later_window = _from(resource, cursor, window, newest)
    pages, failed = read_pages(resolved, further, later_window, on_change, parents=parents)
    later = [time for time in times.of(pages.rows) if time]
    asked = f"asked for rows from {newest:%Y-%m-%dT%H:%M:%SZ} on"
    if failed:
        return [Finding(False, f"{asked}: {failed}")]
    if older := [time for time in later if time < begin]:
        return [Finding(False, f"{asked}, {len(older):,} of {len(later):,} are older: {_remedy(cursor)}")]
    text = f"the API filters by `{cursor.cursor_path}`: a later bound leaves older rows out"
    # Of a page in another order, those of that instant may stand on a later one.
    is_lost = newest not in later and (pages.is_whole or later == sorted(later))
    if is_lost:
        text = (
            f"{asked}, those of that very instant do not come, as where times are compared as texts that are"
            " written otherwise: write `start: exclusive` in endpoint.incremental"
        )
    return [Finding(not is_lost, text)]


def _problem(
    cursor: Incremental, bounds: Bounds, window: Window | None, known: Sequence[datetime]
) -> str | None:
    """What is wrong with the times of a page's rows."""
    if (early := min(known, default=None)) and early.year < _FIRST_YEAR:
        return (
            f"cursor `{cursor.cursor_path}` of a row is {early:%Y-%m-%d}, as format: {cursor.format or 'iso'}"
            " reads it; correct format in endpoint.incremental"
        )
    if window is None:
        return None
    earliest, latest = bounds.earliest(window.start), bounds.latest(window.end)
    outside = [time for time in known if not earliest <= time < latest]
    if not outside:
        return None
    return f"{len(outside):,} of {len(known):,} rows are outside {window}: {_remedy(cursor)}"


def _from(
    resource: Resource, cursor: Incremental, window: Window | None, start: datetime
) -> tuple[Resource, Window | None]:
    """A resource and window that begin later."""
    if window:
        return resource, Window(start, window.end)
    begun = cursor.model_copy(update={"initial_value": start})
    endpoint = resource.endpoint.model_copy(update={"incremental": begun})
    return resource.model_copy(update={"endpoint": endpoint}), None


def _remedy(cursor: Incremental) -> str:
    return (
        f"the API does not filter by `{cursor.cursor_path}`, or not as the file says, so each load would read"
        " too much. Correct cursor_path, start_param, end_param or format in endpoint.incremental"
    )
