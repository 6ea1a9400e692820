"""A seed becomes a history; the same one each time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random
from typing import Any, cast

from analytics_dagster.sandbox import Fault
from analytics_dagster.spec import Window
from analytics_dagster.spec.api import Partitions
from analytics_dagster.spec.windows import window_containing
from analytics_dagster_tests.faults.clock import Clock, Form
from analytics_dagster_tests.faults.history import (
    SINCE,
    WINDOWED,
    Change,
    Endpoint,
    History,
    Kill,
    Load,
    Paging,
    Process,
    Row,
    Step,
    Version,
    Way,
)
from analytics_dagster_tests.faults.values import Fields, as_json

_ZONES = ["UTC", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]
# Among them days on which clocks change, a leap day, and the begin of Unix time. Mondays, for weeks.
_STARTS = {
    "hour": [date(2024, 3, 31), date(2024, 10, 27), date(2024, 1, 1), date(1970, 1, 1)],
    "day": [date(2024, 3, 30), date(2024, 10, 26), date(2024, 2, 28), date(2024, 1, 1), date(1969, 12, 31)],
    "week": [date(2024, 3, 25), date(2023, 12, 25)],
    "month": [date(2024, 2, 1), date(2024, 10, 1)],
}
_WAYS: list[Way] = [
    *("upsert", "replace_window", "replace_window", "replace_window_without_key"),
    *("replace", "merge", "since_merge", "since_merge", "since_append"),
]
_SIZES = [0, 1, 2, 3, 7, 10, 20, 20, 40, 60]
_DAYS = timedelta(days=5)

# Faults that the next try of a request does not meet again, and those that no further try helps against.
_PASSING: list[dict[str, Any]] = [
    *({"kind": "status", "status": status} for status in (429, 500, 502, 503, 504)),
    *({"kind": "status", "status": 429, "retry_after": after} for after in ("0", "0.01", "3600")),
    {"kind": "status", "status": 503, "retry_after": "Fri, 31 Dec 2099 23:59:59 GMT"},
    {"kind": "slow", "seconds": 0.05},
    {"kind": "trickle", "seconds": 0.05},
    *({"kind": kind} for kind in ("reset", "cut", "truncate", "html", "empty")),
]
_LASTING: list[dict[str, Any]] = [
    *({"kind": "status", "status": status} for status in (400, 401, 403, 404, 410, 501)),
    {"kind": "status", "status": 200, "body": {"error": "out of order"}},
    {"kind": "status", "status": 200, "body": []},
]
_NO_ROWS: dict[str, Any] = {
    "kind": "status",
    "status": 200,
    "body": {"data": [], "total": 999, "total_pages": 999},
}


def draw(seed: int) -> History:
    """The history of a seed."""
    rng = Random(seed)
    sources = [_Source(rng, name) for name in ("rows", "other")[: rng.choice([1, 1, 1, 2])]]
    endpoints = tuple(source.endpoint for source in sources)
    steps = [_step(rng, sources, number) for number in range(rng.choice([1, 2, 2, 3]))]
    # At last everything is loaded once more, and nothing goes wrong.
    by_dagster = len(sources) == 1 and rng.random() < 0.05
    changes = {source.name: source.change() for source in sources if rng.random() < 0.3}
    loads = tuple(Load(one.name, one.all_windows) for one in endpoints)
    if by_dagster:
        loads = _run(endpoints[0])
    last = Process(loads, place=rng.randrange(2), by_dagster=by_dagster)
    return History(seed, rng.choice([100, 100, 100, 4, 9]), endpoints, (*steps, Step(changes, (last,))))


class _Source:
    """An endpoint and the rows that it has, as the history goes on."""

    def __init__(self, rng: Random, name: str) -> None:
        self.name = name
        self._rng = rng
        way = rng.choice(_WAYS)
        every = rng.choice(["hour", "day", "day", "week", "month"])
        zone = rng.choice(_ZONES)
        start = rng.choice(_STARTS[every])
        partitions = Partitions.model_validate({"every": every, "start": start, "timezone": zone})
        windows: list[Window] = []
        while way in WINDOWED and len(windows) < 3:
            windows.append(window_containing(partitions, windows[-1].end if windows else partitions.first))
        self._clock = _clock(rng, way, every, zone)
        first = partitions.first
        self._span = Window(windows[0].start, windows[-1].end) if windows else Window(first, first + _DAYS)
        self._edges = [window.start for window in windows] + [self._span.end]
        self._key = (
            () if way == "replace_window_without_key" else rng.choice([("id",), ("id",), ("id", "part")])
        )
        if way in {"replace", "since_append"}:
            self._key = rng.choice([self._key, ()])
        self._fields = Fields(rng)
        self._text_ids = rng.random() < 0.5
        self._rows: dict[int, Row] = {}
        self._versions: dict[int, int] = {}
        self._newest: datetime | None = None
        rows = tuple(self._insert() for _ in range(rng.choice(_SIZES)))
        limit = rng.choice([1, 2, 3, 5, 7, 10, 20, 100])
        if len(rows) > 20:
            limit = max(limit, 5)
        style = rng.choice(["offset", "offset", "pages", "cursor", "links", "relative-links", "header-links"])
        self.endpoint = Endpoint(
            name,
            way,
            self._clock,
            Paging(
                style,
                limit,
                total=rng.random() < 0.6,
                order=rng.choice(["number", "newest", "oldest"]),
            ),
            self._key,
            rng.choice([None, None, 0, 1]),
            every,
            zone,
            tuple(windows),
            rows,
        )

    def change(self) -> Change:
        """New rows, new versions of some, and the end of others."""
        rng = self._rng
        put = [self._insert(late=True) for _ in range(rng.choice([0, 0, 1, 5]))]
        old = list(self._rows)
        put += [self._update(number) for number in rng.sample(old, min(len(old), rng.choice([0, 1, 5])))]
        old = list(self._rows)
        gone = rng.sample(old, min(len(old), rng.choice([0, 0, 1, 5])))
        for number in gone:
            del self._rows[number]
        latest = {row.name.number: row for row in put if row.name.number not in gone}
        return Change(tuple(latest.values()), tuple(gone))

    def _insert(self, *, late: bool = False) -> Row:
        number = len(self._versions)
        self._versions[number] = 0
        return self._put(number, self._newer(None) if late and self._follows else self._at())

    def _update(self, number: int) -> Row:
        old = self._rows[number]
        if not self._clock.moves:
            return self._put(number, old.at)
        return self._put(
            number, self._newer(old) if self._follows or self._rng.random() < 0.7 else self._at(old)
        )

    @property
    def _follows(self) -> bool:
        """Whether what is new must come with a later cursor than all that was there, to be found at all."""
        return self._newest is not None and self.endpoint.way in SINCE

    def _newer(self, old: Row | None) -> datetime:
        """A time later than that of a row's last version, and no earlier than that of any row ever."""
        newest = self._newest
        assert newest is not None
        step = self._rng.choice([0, 0, 1, 1000])
        found = self._clock.rounded(newest + step * self._clock.unit)
        while found < newest or (old and found <= old.at):
            newest += max(self._clock.unit, timedelta(hours=1))
            found = self._clock.rounded(newest)
        return found

    def _at(self, old: Row | None = None) -> datetime:
        """Any time; rather often at the edge of a window, or that of another row."""
        rng, unit = self._rng, self._clock.unit
        while True:
            kind = rng.random()
            if kind < 0.25:
                at = rng.choice(self._edges) - rng.choice([0, 0, 1]) * unit
            elif kind < 0.4 and self._rows:
                at = rng.choice(list(self._rows.values())).at
            else:
                length = self._span.end - self._span.start
                at = self._span.start + length * rng.uniform(-0.05, 1.05)
            at = self._clock.rounded(at)
            if not old or at != old.at:
                return at

    def _put(self, number: int, at: datetime) -> Row:
        self._versions[number] += 1
        name = Version(number, self._versions[number])
        given: int = number // 2 if "part" in self._key else number
        row: dict[str, Any] = {"id": f"ß {given}" if self._text_ids else given}
        if "part" in self._key:
            row["part"] = "ab"[number % 2]
        row |= {"number": number, "version": name.version, **self._fields.draw(self._rng)}
        written = self._clock.write(at)
        row |= {"meta": {"at": written}} if self._clock.nested else {"at": written}
        self._rows[number] = Row(name, at, as_json(row))
        self._newest = max(at, self._newest or at)
        return self._rows[number]


def _clock(rng: Random, way: Way, every: str, zone: str) -> Clock:
    forms = ["iso", "iso", "micro", "offset", "naive", "epoch", "epoch_ms", "pattern"]
    if every != "hour" and way not in SINCE:
        forms.append("date")
    if way in SINCE:
        forms += ["number", "number"]
    form = cast("Form", rng.choice(forms))
    own_zone = rng.choice([zone, zone, rng.choice(_ZONES)])
    return Clock(
        form,
        zone if form == "date" else own_zone,
        nested=form != "number" and rng.random() < 0.2,
        moves=way in SINCE or rng.random() < 0.6,
        start_inclusive=form == "number" or rng.random() < 0.7,
        end_inclusive=rng.random() < 0.3,
    )


def _step(rng: Random, sources: list[_Source], number: int) -> Step:
    changed = [source for source in sources if number and rng.random() < 0.8]
    changes = {source.name: source.change() for source in changed}
    trouble = rng.random()
    by_dagster = rng.random() < 0.1
    processes = [
        _process(rng, sources, dies=trouble < 0.5 and rng.random() < 0.7, by_dagster=by_dagster)
        for _ in range(rng.choice([1, 1, 1, 1, 2, 3]) if not by_dagster else 1)
    ]
    faults = tuple(_faults(rng, sources)) if trouble > 0.4 else ()
    held = rng.choice([0.1, 0.4]) if rng.random() < 0.06 else 0
    stale = bool(changes) and rng.random() < 0.15 and not _starts_over(processes) and not by_dagster
    # What comes or goes before the place of a stored cursor would be missed for ever.
    settled = [source for source in sources if source.endpoint.way not in SINCE]
    moving = settled if not stale and rng.random() < 0.12 else []
    return Step(
        changes,
        tuple(processes),
        faults,
        stale=stale,
        held=held,
        patience=rng.choice([0.05, 60]) if held else 60,
        cut_off=rng.randrange(400) if rng.random() < 0.08 else None,
        meanwhile={source.name: source.change() for source in moving},
        answers=rng.randrange(1, 6) if moving else 0,
    )


def _starts_over(processes: list[Process]) -> bool:
    return any(load.full_refresh for process in processes for load in process.loads)


def _process(rng: Random, sources: list[_Source], *, dies: bool, by_dagster: bool) -> Process:
    source = rng.choice(sources)
    endpoint = source.endpoint
    if by_dagster:
        loads = _run(endpoint, rng.randrange(len(endpoint.windows) or 1))
    else:
        loads = tuple(_load(rng, rng.choice(sources).endpoint) for _ in range(rng.choice([1, 1, 1, 2])))
    return Process(
        loads,
        place=rng.randrange(3),
        kill=_kill(rng) if dies else None,
        delay=rng.choice([0, 0, 0.1]),
        by_dagster=by_dagster,
    )


def _run(endpoint: Endpoint, first: int = 0) -> tuple[Load, ...]:
    """The windows of an endpoint from one on, which are one run; or all of an endpoint without any."""
    windows = endpoint.windows[first:]
    run = Window(windows[0].start, windows[-1].end) if windows else None
    return tuple(Load(endpoint.name, window, run) for window in windows or (None,))


def _load(rng: Random, endpoint: Endpoint) -> Load:
    if not endpoint.windows:
        full_refresh = endpoint.way in {"merge", *SINCE} and rng.random() < 0.15
        return Load(endpoint.name, full_refresh=full_refresh)
    first = rng.randrange(len(endpoint.windows))
    last = rng.randrange(first, len(endpoint.windows))
    return Load(endpoint.name, Window(endpoint.windows[first].start, endpoint.windows[last].end))


def _kill(rng: Random) -> Kill:
    match rng.random():
        case chance if chance < 0.4:
            return Kill("statement", rng.randrange(1, 70))
        case chance if chance < 0.6:
            return Kill("commit", rng.randrange(1, 16))
        case chance if chance < 0.7:
            return Kill("page", rng.randrange(1, 6))
        case chance if chance < 0.75:
            return Kill("row", rng.randrange(1, 8))
        case chance if chance < 0.85:
            return Kill(rng.choice(["normalize", "load", "end"]), 1)
        case _:
            return Kill("ms", rng.randrange(1, 800))


def _faults(rng: Random, sources: list[_Source]) -> list[Fault]:
    faults: list[Fault] = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        endpoint = rng.choice(sources).endpoint
        options = {"match": f"/v1/{endpoint.place}", "skip": rng.choice([0, 0, 1, 2, 4])}
        kind = rng.random()
        if kind < 0.65:
            options |= {"first": rng.choice([1, 1, 1, 2, 3])}
            faults.append(Fault(**options, **rng.choice(_PASSING)))
        elif kind < 0.9 or not (endpoint.paging.total and endpoint.paging.style in {"offset", "pages"}):
            faults.append(Fault(**options, **rng.choice(_LASTING)))
        else:  # only a stated total tells that rows are missing
            faults.append(Fault(**options, **_NO_ROWS))
    return faults
