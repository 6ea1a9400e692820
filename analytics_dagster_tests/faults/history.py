"""What a history consists of: endpoints with their rows, and steps of changes, faults and runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from analytics_dagster.sandbox import Fault
from analytics_dagster.spec import Window
from analytics_dagster_tests.faults.clock import Clock

Way = Literal[
    "upsert",
    "replace_window",
    "replace_window_without_key",
    "replace",
    "merge",
    "since_merge",
    "since_append",
]
"""How an endpoint is loaded: windows of three kinds, everything of two, what is new of two."""

WINDOWED = ("upsert", "replace_window", "replace_window_without_key")
SINCE = ("since_merge", "since_append")

RETRIES = 2
"""How often a load tries a request again."""
LONGEST_WAIT = "30ms"


class Version(NamedTuple):
    """One version of one row."""

    number: int
    version: int


@dataclass(frozen=True)
class Row:
    """A row of the API at some time; `text` is its JSON."""

    name: Version
    at: datetime
    text: str


@dataclass(frozen=True)
class Paging:
    """How an endpoint cuts its rows into pages; `style` is the sandbox's."""

    style: str
    limit: int
    total: bool
    order: Literal["number", "newest", "oldest"]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of the API, and how its rows are loaded."""

    name: str
    way: Way
    clock: Clock
    paging: Paging
    key: tuple[str, ...]
    nesting: int | None
    every: str
    zone: str
    windows: tuple[Window, ...]
    rows: tuple[Row, ...]

    @property
    def all_windows(self) -> Window | None:
        """All its windows as one; None if it has none."""
        return Window(self.windows[0].start, self.windows[-1].end) if self.windows else None

    @property
    def has_cursor(self) -> bool:
        """Whether the loads look at the clock."""
        return self.way not in {"replace", "merge"}

    @property
    def options(self) -> dict[str, Any]:
        """What the API file says about it."""
        paging = self.paging
        size = "page_size" if paging.style == "pages" else "limit"
        endpoint: dict[str, Any] = {
            "path": f"/v1/{self.place}",
            "paginator": _paginator(paging),
            "params": {} if paging.style == "offset" else {size: paging.limit},
        }
        if paging.style in {"offset", "pages"} and not paging.total:
            endpoint["params"]["total"] = "false"
        found: dict[str, Any] = {"name": self.name, "endpoint": endpoint}
        found["write_disposition"] = {
            "replace": "replace",
            "since_append": "append",
            "replace_window_without_key": "append",
        }.get(self.way, "merge")
        if self.key:
            found["primary_key"] = list(self.key)
        if self.nesting is not None:
            found["max_table_nesting"] = self.nesting
        if self.has_cursor:
            endpoint["incremental"] = dict(self.clock.options)
        if self.windows:
            endpoint["incremental"]["end_param"] = "created_before"
            start = self.windows[0].start
            found["partitions"] = {"every": self.every, "start": start.isoformat(), "timezone": self.zone}
            if self.every != "hour":
                found["partitions"]["start"] = start.date().isoformat()
            if self.way == "replace_window":
                found["on_rerun"] = "replace_window"
        elif self.has_cursor:
            number = self.clock.form == "number"
            endpoint["incremental"]["initial_value"] = -(10**9) if number else "1900-01-01T00:00:00Z"
        return found

    @property
    def place(self) -> str:
        """The path behind the API's root."""
        return self.name if self.paging.style == "offset" else f"{self.paging.style}/{self.name}"


def _paginator(paging: Paging) -> dict[str, Any]:
    match paging.style:
        case "offset":
            return {"type": "offset", "limit": paging.limit}
        case "pages":
            total = "total_pages" if paging.total else None
            return {"type": "page_number", "base_page": 1, "total_path": total}
        case "cursor":
            return {"type": "cursor", "cursor_path": "cursors.next", "cursor_param": "cursor"}
        case "header-links":
            return {"type": "header_link"}
        case _:
            return {"type": "json_link", "next_url_path": "next"}


@dataclass(frozen=True)
class Change:
    """Rows that are new or changed at the source, and the numbers of those that are gone."""

    put: tuple[Row, ...]
    gone: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """One load: a window of an endpoint, or what its way of loading says; `run` is that of all its run."""

    endpoint: str
    window: Window | None = None
    run: Window | None = None
    full_refresh: bool = False


@dataclass(frozen=True)
class Kill:
    """When a process dies: at a page, row, SQL statement or commit by its number, or after milliseconds."""

    where: Literal["page", "row", "statement", "commit", "normalize", "load", "end", "ms"]
    number: int


@dataclass(frozen=True)
class Process:
    """A process that does some loads one after another.

    `place` numbers the directories that it works in; those of one number share them. `by_dagster` lets
    Dagster materialize the windows, from that of the first load to that of the last.
    """

    loads: tuple[Load, ...]
    place: int = 0
    kill: Kill | None = None
    delay: float = 0
    by_dagster: bool = False


@dataclass(frozen=True)
class Step:
    """A change at the source, then processes at once while the API and the destination have their faults.

    `stale` lets the API answer as if nothing had changed yet. `meanwhile` changes rows once more, after as
    many of the API's answers as `answers` says. `held` is how many seconds another program has the
    destination, and `patience` how long loads wait for it; `cut_off` ends all connections to a server after
    so many milliseconds.
    """

    changes: Mapping[str, Change]
    processes: tuple[Process, ...]
    faults: tuple[Fault, ...] = ()
    stale: bool = False
    held: float = 0
    patience: float = 60
    cut_off: int | None = None
    meanwhile: Mapping[str, Change] = field(default_factory=dict[str, Change])
    answers: int = 0


@dataclass(frozen=True)
class History:
    """All of it; `cap` is the most rows that a page of the API has, whatever is asked."""

    seed: int
    cap: int
    endpoints: tuple[Endpoint, ...]
    steps: tuple[Step, ...]

    def file(self, url: str, name: str) -> dict[str, Any]:
        """The API file.

        Args:
            url: Where the API is.
            name: Of the API, and so of the dataset.
        """
        auth = {"type": "api_key", "name": "X-API-Key", "api_key": "sandbox-key", "location": "header"}
        return {
            "name": name,
            "client": {"base_url": url, "auth": auth},
            "retry": {"max_retries": RETRIES, "backoff_factor": 0.001, "max_wait": LONGEST_WAIT},
            "resource_defaults": {"endpoint": {"data_selector": "data"}},
            "resources": [endpoint.options for endpoint in self.endpoints],
        }

    def told(self) -> Iterator[str]:
        """The history in words, line by line."""
        for one in self.endpoints:
            windows = f", {len(one.windows)} windows of {one.every} ({one.zone})" if one.windows else ""
            clock = one.clock
            moved = "moved" if clock.moves else "not moved"
            yield (
                f"`{one.name}`: {one.way}, {len(one.rows)} rows, key {list(one.key)}{windows};"
                f" cursor {clock.path} {clock.form} {clock.zone}, {moved} by changes,"
                f" bounds {'[' if clock.start_inclusive else '('}…{']' if clock.end_inclusive else ')'};"
                f" pages of {one.paging.limit} by {one.paging.style},"
                f" {'a' if one.paging.total else 'no'} total, {one.paging.order} first;"
                f" nesting {one.nesting}"
            )
        for number, step in enumerate(self.steps, 1):
            yield from (f"step {number}: {line}" for line in told(step))


def told(step: Step) -> Iterator[str]:
    """A step in words."""
    for name, change in step.changes.items():
        yield f"`{name}` changes: {_told(change)}"
    if step.stale:
        yield "the API answers as before that change"
    for name, change in step.meanwhile.items():
        yield f"`{name}` changes after {step.answers} answers: {_told(change)}"
    for fault in step.faults:
        what = fault.model_dump(exclude_defaults=True)
        yield f"fault {what.pop('kind')} {what}"
    if step.held:
        yield f"another program has the destination for {step.held} s; loads wait {step.patience} s"
    if step.cut_off is not None:
        yield f"all connections to the destination end after {step.cut_off} ms"
    for process in step.processes:
        loads = ", ".join(
            f"{load.endpoint} {load.window or ('full refresh' if load.full_refresh else 'all')}"
            for load in process.loads
        )
        kill = f", killed at {process.kill.where} {process.kill.number}" if process.kill else ""
        dagster = "Dagster loads" if process.by_dagster else "loads"
        yield f"{dagster} {loads} in place {process.place} after {process.delay} s{kill}"


def _told(change: Change) -> str:
    new = [f"{row.name.number} v{row.name.version} at {row.at.isoformat()}" for row in change.put]
    return f"{', '.join(new) or 'nothing new'}; gone: {list(change.gone) or 'none'}"
