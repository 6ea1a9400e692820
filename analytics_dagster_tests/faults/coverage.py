"""What histories exercise, so that a hole shows in the table of counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import get_args
from zoneinfo import ZoneInfo

from analytics_dagster.spec import Window
from analytics_dagster_tests.faults.history import Change, Endpoint, History, Process, Row, Step, Way

NAMES: dict[str, tuple[str, ...]] = {
    "way of loading": get_args(Way),
    "on_rerun": ("merge", "replace_window"),
    "full refresh": ("of rows loaded since a cursor or merged",),
    "windows": ("hour", "day", "week", "month", "several as one", "clocks change in one", "without rows"),
    "time zone": ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "not the cursor's"),
    "cursor": (
        *("iso", "micro", "offset", "naive", "date", "epoch", "epoch_ms", "pattern", "number", "nested"),
        *("at the edge of a window", "the same in two rows", "moved by changes", "in another window"),
    ),
    "bounds": ("[ )", "[ ]", "( )", "( ]"),
    "key": ("one field", "two fields", "none"),
    "pages": (
        *("offset", "pages", "cursor", "links", "relative-links", "header-links"),
        *("total", "no total", "capped", "newest first", "oldest first"),
    ),
    "nested tables": ("all", "one level", "none"),
    "changes": ("late rows", "new versions", "gone rows", "an answer of before"),
    "faults": (
        *("status", "slow", "trickle", "reset", "cut", "truncate", "html", "empty"),
        *("Retry-After", "error with 200", "no rows, a total"),
    ),
    "killed": ("page", "row", "statement", "commit", "normalize", "load", "end", "ms"),
    "after a kill": ("the same place", "another place"),
    "at once": ("two of one endpoint", "of two endpoints"),
    "destination": ("held by others", "held for too long", "connections cut"),
    "runs": ("by load()", "by Dagster"),
    "while reading": ("rows changed",),
    "ended": ("done", "refused", "lost"),
}

_NESTING = {None: "all", 1: "one level", 0: "none"}


def exercised(history: History) -> set[str]:
    """What a history has, as drawn: `group: name` of the table."""
    found: set[str] = set()
    for endpoint in history.endpoints:
        found.update(_of_endpoint(endpoint, history.cap))
    dead: set[int] = set()
    for step in history.steps:
        found.update(_of_step(step, history))
        for process in step.processes:
            if dead:
                found.add(f"after a kill: {'the same' if process.place in dead else 'another'} place")
        dead.update(process.place for process in step.processes if process.kill)
    return found


def table(counts: Counter[str], histories: int) -> Iterator[str]:
    """The counts, group by group; what no history had is there with a zero.

    Args:
        counts: In how many histories each was.
        histories: How many were played.
    """
    yield f"In how many of {histories} histories each was:"
    for group, names in NAMES.items():
        listed = (f"{name} {counts[f'{group}: {name}']}" for name in names)
        yield f"  {group}: {', '.join(listed)}"


def _of_endpoint(endpoint: Endpoint, cap: int) -> Iterator[str]:
    yield f"way of loading: {endpoint.way}"
    if endpoint.windows:
        yield f"on_rerun: {'merge' if endpoint.way == 'upsert' else 'replace_window'}"
        yield f"windows: {endpoint.every}"
        yield f"time zone: {endpoint.zone}"
        if endpoint.clock.zone != endpoint.zone:
            yield "time zone: not the cursor's"
        if any(not any(row.at in window for row in endpoint.rows) for window in endpoint.windows):
            yield "windows: without rows"
        if any(_clocks_change(window, endpoint.zone) for window in endpoint.windows):
            yield "windows: clocks change in one"
    if endpoint.has_cursor:
        yield from _of_cursor(endpoint)
    yield f"key: {('none', 'one field', 'two fields')[len(endpoint.key)]}"
    paging = endpoint.paging
    yield f"pages: {paging.style}"
    if paging.style in {"offset", "pages"}:
        yield f"pages: {'total' if paging.total else 'no total'}"
    if cap < paging.limit:
        yield "pages: capped"
    if paging.order != "number":
        yield f"pages: {paging.order} first"
    yield f"nested tables: {_NESTING[endpoint.nesting]}"


def _of_cursor(endpoint: Endpoint) -> Iterator[str]:
    clock = endpoint.clock
    yield f"cursor: {clock.form}"
    if clock.nested:
        yield "cursor: nested"
    if clock.moves:
        yield "cursor: moved by changes"
    times = [row.at for row in endpoint.rows]
    if len(set(times)) < len(times):
        yield "cursor: the same in two rows"
    edges = {edge for window in endpoint.windows for edge in (window.start, window.end)}
    if edges.intersection(times):
        yield "cursor: at the edge of a window"
    if endpoint.windows:
        yield (f"bounds: {'[' if clock.start_inclusive else '('} {']' if clock.end_inclusive else ')'}")


def _of_step(step: Step, history: History) -> Iterator[str]:
    for endpoint in history.endpoints:
        for change in filter(None, (step.changes.get(endpoint.name), step.meanwhile.get(endpoint.name))):
            yield from _of_change(change, endpoint)
    if step.stale:
        yield "changes: an answer of before"
    if step.meanwhile:
        yield "while reading: rows changed"
    for fault in step.faults:
        yield f"faults: {fault.kind}"
        if fault.retry_after is not None:
            yield "faults: Retry-After"
        if fault.kind == "status" and fault.status == 200:
            yield f"faults: {'no rows, a total' if 'data' in (fault.body or ()) else 'error with 200'}"
    if step.held:
        yield f"destination: held {'by others' if step.held <= step.patience else 'for too long'}"
    if step.cut_off is not None:
        yield "destination: connections cut"
    for process in step.processes:
        yield from _of_process(process, history)
    loaded = [{load.endpoint for load in process.loads} for process in step.processes]
    for one, other in combinations(loaded, 2):
        yield f"at once: {'two of one endpoint' if one & other else 'of two endpoints'}"


def _of_change(change: Change, endpoint: Endpoint) -> Iterator[str]:
    first = {row.name.number: row for row in endpoint.rows}
    if change.gone:
        yield "changes: gone rows"
    for row in change.put:
        yield f"changes: {'late rows' if row.name.version == 1 else 'new versions'}"
        old = first.get(row.name.number)
        if old and _window(endpoint, old) != _window(endpoint, row):
            yield "cursor: in another window"


def _of_process(process: Process, history: History) -> Iterator[str]:
    yield f"runs: {'by Dagster' if process.by_dagster else 'by load()'}"
    for load in process.loads:
        endpoint = next(one for one in history.endpoints if one.name == load.endpoint)
        if load.full_refresh:
            yield "full refresh: of rows loaded since a cursor or merged"
        if load.window and load.window not in endpoint.windows:
            yield "windows: several as one"


def _clocks_change(window: Window, zone: str) -> bool:
    offsets = {edge.astimezone(ZoneInfo(zone)).utcoffset() for edge in (window.start, window.end)}
    return len(offsets) > 1


def _window(endpoint: Endpoint, row: Row) -> Window | None:
    return next((window for window in endpoint.windows if row.at in window), None)
