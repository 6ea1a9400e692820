"""A window that is read in parts gives the rows that it gives in one piece, in less time, or in one piece."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_dagster.loading.account import Account
from analytics_dagster.loading.cursor import CountRows, RowTimes
from analytics_dagster.loading.load import until_stable
from analytics_dagster.loading.parts import _whole
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import api_session, build_source
from analytics_dagster.reading import budget
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.reading.errors import PartsError, RequestError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile, Window, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.reading.helpers import Answer, no_reader_left, served
from analytics_dagster_tests.reading.test_bounds import CHANGES, FINEST, MEANINGS, incremental, passes
from analytics_dagster_tests.reading.test_bounds import Api as BoundedApi

Row = dict[str, Any]
START = datetime(2024, 1, 1, tzinfo=UTC)


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


class Api:
    """An API that gives pages of its rows within bounds, and leads from one to the next by a token.

    `chosen` is the filter: by default, rows from `since` up to `until`, by their `t`.
    """

    def __init__(self, times: list[datetime], size: int = 10) -> None:
        self.rows: list[Row] = [{"id": n, "t": iso(t), "up": iso(t)} for n, t in enumerate(times)]
        self.size = size
        self.chosen: Callable[[Row, str, str], bool] = lambda row, since, until: since <= row["t"] < until
        self.before: Callable[[dict[str, str]], Answer | None] = lambda _: None
        self.state_total = False
        self.asked: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def windows(self) -> set[tuple[str, str]]:
        """The windows that were asked for."""
        return {(query["since"], query["until"]) for query in self.asked}

    def __call__(self, query: dict[str, str]) -> Answer:
        with self._lock:
            self.asked.append(query)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if (instead := self.before(query)) is not None:
                return instead
            found = [row for row in self.rows if self.chosen(row, query["since"], query["until"])]
            first = int(query.get("cursor", "0"))
            after = first + self.size
            answer: dict[str, Any] = {
                "data": found[first:after],
                "next": str(after) if after < len(found) else None,
            }
            if self.state_total:
                answer["total"] = len(found)
            return answer, {}
        finally:
            with self._lock:
                self._at_once -= 1


def file_of(url: str, incremental: str = "", **how: Any) -> ApiFile:
    return parse_text(file_text(url, incremental, **how), "apis/sandbox.yaml")


def file_text(
    url: str,
    incremental: str = "",
    *,
    key: bool = True,
    limits: str = "{concurrency: 4}",
    paginator: str = "{type: cursor, cursor_path: next}",
    every: str = "day",
) -> str:
    way = "primary_key: id\n  write_disposition: merge" if key else "write_disposition: append"
    return f"""\
name: sandbox
client: {{base_url: "{url}"}}
retry: {{max_retries: 0}}
limits: {limits}
resources:
- name: rows
  {way}
  partitions: {{every: {every}, start: 2024-01-01}}
  endpoint:
    path: rows
    data_selector: data
    paginator: {paginator}
    incremental: {{cursor_path: t, start_param: since, end_param: until{incremental}}}
"""


def read(api: Api, window: Window | None = None, **how: Any) -> list[int]:
    """The ids of the rows of a window, in their order."""
    with served(api) as url, no_reader_left():
        return read_at(url, window or day(1), **how)


def read_at(url: str, window: Window, **how: Any) -> list[int]:
    resolved = resolve(file_of(url, **how))
    [resource] = resolved.api.resources

    def once() -> list[int]:
        meter = Meter()
        with api_session(resolved, meter) as session:
            source = build_source(resolved, resource, session, CountRows([], None, meter), window)
            pipe: Any = source.resources["rows"]._pipe
            rows = [row for batch in pipe.gen() for row in batch]
        return [row["id"] for row in rows if datetime.fromisoformat(row["t"]) in window]

    return until_stable(once)


def evenly(count: int, days: float = 1) -> list[datetime]:
    return [START + timedelta(days=days) * n / count for n in range(count)]


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("key", [True, False])
def test_a_window_of_many_pages_is_read_in_parts_side_by_side(order: str, *, key: bool) -> None:
    api = Api(evenly(1000))
    api.before = lambda _: time.sleep(0.002)
    if order == "descending":
        api.rows.reverse()
    assert sorted(read(api, key=key)) == list(range(1000))
    assert api.most_at_once == 4
    assert len(api.windows) > 10
    assert len(api.asked) < 1.3 * 100


def test_parts_are_loaded_as_the_window_would_be(duckdb_store: Store) -> None:
    api = Api(evenly(1000))
    api.before = lambda query: time.sleep(0.01 if query["since"] < "2024-01-01T06" else 0)
    api.state_total = True
    with served(api) as url, no_reader_left():
        result = load_into(duckdb_store, file_of(url, key=False), "rows", day(1))
    assert (result.rows, result.counts, result.stated) == (1000, [1000], 1000)
    assert result.requests == len(api.asked)
    assert [row[0] for row in duckdb_store.fetch("SELECT id FROM {}.rows ORDER BY rowid")] == list(
        range(1000)
    )


@pytest.mark.parametrize("rows", [0, 5, 10, 11, 80])
def test_few_rows_are_asked_for_as_ever(rows: int) -> None:
    api = Api(evenly(rows))
    read(api)
    assert len(api.windows) == 1
    assert len(api.asked) == max(1, -(-rows // 10))


def test_a_burst_after_which_nothing_comes_costs_few_requests(duckdb_store: Store) -> None:
    """The first page lets expect thousands of pages, and there are two."""
    api = Api([START + timedelta(seconds=n) for n in range(15)])
    assert read(api) == list(range(15))
    assert len(api.asked) < 30


def test_parts_grow_and_shrink_with_what_comes(duckdb_store: Store) -> None:
    quiet = [START + timedelta(minutes=20 * n) for n in range(30)]
    busy = [START + timedelta(hours=12, seconds=10 * n) for n in range(1000)]
    api = Api([*quiet, *busy])
    api.before = lambda _: time.sleep(0.001)
    api.state_total = True
    assert read(api) == list(range(1030))
    assert len(api.asked) < 1.4 * 103


@pytest.mark.parametrize(
    "how",
    [
        {"incremental": ", step: none"},
        {"incremental": ", on_cursor_value_missing: include"},
        {"incremental": ", format: date"},
        {"incremental": ", row_order: asc"},
        {"limits": "{concurrency: 1}"},
        {"paginator": "{type: offset, limit: 10, total_path: null}"},
    ],
    ids=str,
)
def test_where_parts_could_not_be_trusted_a_window_is_read_in_one_piece(
    how: dict[str, Any],
) -> None:
    api = Api(evenly(200))
    api.before = lambda query: query.update(cursor=query.get("offset", query.get("cursor", "0")))
    assert read(api, **how) == list(range(200))
    assert len(api.windows) == 1


def test_a_window_that_is_not_over_is_read_in_one_piece(duckdb_store: Store) -> None:
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    api = Api([now + timedelta(minutes=n) for n in range(1000)])
    assert read(api, Window(now, now + timedelta(days=1))) == list(range(1000))
    assert len(api.windows) == 1


def by_day(row: Row, since: str, until: str) -> bool:
    return since[:10] <= row["t"][:10] <= until[:10]


def by_day_to_its_start(row: Row, since: str, until: str) -> bool:
    return since[:10] <= row["t"][:10] < until[:10]


VICES: dict[str, Callable[[Row, str, str], bool]] = {
    "ignores both bounds": lambda _row, _since, _until: True,
    "ignores the end": lambda row, since, _until: row["t"] >= since,
    "ignores the start": lambda row, _since, until: row["t"] < until,
    "end inclusive": lambda row, since, until: since <= row["t"] <= until,
    "days alone, both inclusive": by_day,
    "days alone": by_day_to_its_start,
    "nothing for less than a day": lambda row, since, until: (
        since[10:] == until[10:] == "T00:00:00Z" and since <= row["t"] < until
    ),
    "hours alone": lambda row, since, until: since[:13] <= row["t"][:13] < until[:13],
    "another clock": lambda row, since, until: since <= row["up"] < until,
}


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize("vice", VICES)
def test_an_api_that_is_not_as_the_file_says_loses_and_doubles_nothing(vice: str, *, key: bool) -> None:
    api = Api([START - timedelta(minutes=3) + timedelta(minutes=n) for n in range(1450)])
    api.chosen = VICES[vice]
    for row in api.rows:  # what was uploaded later, but on the same day
        late = datetime.fromisoformat(row["t"]) + timedelta(minutes=7 * (row["id"] % 3 == 0))
        row["up"] = min(iso(late), "2024-01-01T23:59:59Z")
    _whole.clear()
    found = read(api, key=key)
    expected = [row["id"] for row in api.rows if "2024-01-01" <= row["t"] < "2024-01-02"]
    expected = [n for n in expected if vice != "another clock" or api.rows[n]["up"] >= "2024-01-01"]
    assert found == expected


def test_a_resource_whose_parts_do_not_add_up_is_not_cut_again() -> None:
    api = Api(evenly(2000, 2))
    api.chosen = by_day
    with served(api) as url:
        assert read_at(url, day(1)) == list(range(1000))
        api.asked.clear()
        assert read_at(url, day(2)) == list(range(1000, 2000))
    assert len(api.windows) == 1


def test_parts_keep_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(budget._SECONDS, "second", 0.2)
    api, seen = Api(evenly(300)), list[float]()
    api.before = lambda _: seen.append(time.monotonic())
    assert read(api, limits="{concurrency: 4, requests: 8, per: second}") == list(range(300))
    seen.sort()
    assert len(api.windows) > 1
    assert api.most_at_once <= 4
    assert all(later - earlier >= 0.2 for earlier, later in zip(seen, seen[8:], strict=False))


def test_an_api_that_refuses_a_part_is_asked_for_the_window() -> None:
    api = Api(evenly(1000))
    whole = (iso(START), iso(START + timedelta(days=1)))
    api.before = lambda query: (
        None if (query["since"], query["until"]) == whole else ({"error": "days only"}, {":status": "400"})
    )
    assert read(api) == list(range(1000))


def test_a_failing_page_is_the_error_and_the_rest_stop() -> None:
    api = Api(evenly(3000))

    def fail(query: dict[str, str]) -> Answer | None:
        if "2024-01-01T06" <= query["since"] < "2024-01-01T07" and query.get("cursor") == "20":
            return {}, {":status": "500"}
        return None

    api.before = fail
    with pytest.raises(RequestError, match=r"since=2024-01-01T06.*cursor=20.*500"):
        read(api)
    assert len(api.asked) < 180


def test_a_total_of_the_window_that_its_parts_do_not_reach_is_noticed(duckdb_store: Store) -> None:
    """Rows that no part has, as bounds are rounded inwards, and which the first page did not show."""
    api = Api(evenly(1000))
    api.state_total = True
    gap = {row["id"] for row in api.rows[500:510]}

    def chosen(row: Row, since: str, until: str) -> bool:
        is_whole = until[:10] > since[:10] and since.endswith("00:00:00Z") and until.startswith("2024-01-02")
        return since <= row["t"] < until and (is_whole or row["id"] not in gap)

    api.chosen = chosen
    assert read(api) == list(range(1000))


def test_a_window_is_asked_for_in_steps() -> None:
    api = Api(evenly(100, 3))
    assert read(api, day(1, 3), incremental=", step: 24h") == list(range(100))
    assert api.windows == {
        (iso(START + timedelta(days=n)), iso(START + timedelta(days=n + 1))) for n in range(3)
    }


@pytest.mark.parametrize("gives", ["a day", "all from a day on"])
def test_a_step_may_be_asked_for_by_its_day_alone(duckdb_store: Store, gives: str) -> None:
    api = Api(evenly(100, 3))
    api.chosen = lambda row, since, _: since == row["t"][:10] or (gives != "a day" and row["t"] > since)
    with served(lambda query: api({"until": "", **query})) as url, no_reader_left():
        text = file_text(url, ", format: date, step: 24h").replace(", end_param: until", "")
        file = parse_text(text, "apis/sandbox.yaml")
        if gives != "a day":
            with pytest.raises(PartsError, match=r"which is beyond its end.*or leave `step` out"):
                load_into(duckdb_store, file, "rows", day(1, 3))
            return
        assert load_into(duckdb_store, file, "rows", day(1, 3)).counts == [100]
    assert duckdb_store.ids("rows") == list(range(100))
    assert {since for since, _ in api.windows} == {f"2024-01-0{number}" for number in (1, 2, 3)}


def test_steps_are_loaded_as_the_windows_would_be(duckdb_store: Store) -> None:
    api = Api(evenly(100, 3))
    with served(api) as url, no_reader_left():
        assert load_into(duckdb_store, file_of(url, ", step: 24h"), "rows", day(1, 3)).counts == [100]
    assert duckdb_store.ids("rows") == list(range(100))


@pytest.mark.parametrize("vice", ["ignores the end", "ignores the start", "another clock"])
def test_steps_that_do_not_add_up_fail_with_the_remedy(vice: str) -> None:
    api = Api(evenly(300))
    api.chosen = VICES[vice]
    for row in api.rows:
        row["up"] = iso(datetime.fromisoformat(row["t"]) + timedelta(minutes=20))
    with pytest.raises(PartsError, match=r"another clock.*leave `step` out"):
        read(api, incremental=", step: 1h", key=False)


def test_steps_of_an_inclusive_end_give_no_row_twice() -> None:
    api = Api([START + timedelta(minutes=30 * n) for n in range(48)])
    api.rows += [dict(row) for row in api.rows[::4]]  # some are there twice, and stay so
    api.chosen = VICES["end inclusive"]
    found = read(api, incremental=", step: 1h", key=False)
    assert sorted(found) == sorted([*range(48), *range(0, 48, 4)])


def test_what_is_read_before_its_turn_is_bounded() -> None:
    api = Api(evenly(400))
    for row in api.rows:
        row["text"] = "x" * 100_000  # ten rows make a page of a megabyte
    gate = threading.Event()

    def hold_the_first(query: dict[str, str]) -> None:
        if query["since"] == "2024-01-01T00:00:00Z":
            gate.wait(10)

    api.before = hold_the_first
    pages: list[int] = []
    with served(api) as url:
        resolved = resolve(file_of(url, ", step: 1h", limits="{concurrency: 4}"))
        with api_session(resolved, Meter()) as session:
            counted = CountRows([], None, session.meter)
            source = build_source(resolved, resolved.api.resources[0], session, counted, day(1))
            pipe: Any = source.resources["rows"]._pipe
            threading.Timer(1, lambda: (pages.append(len(api.asked)), gate.set())).start()
            assert sum(len(batch) for batch in pipe.gen()) == 400
    assert 8 <= pages[0] <= 20  # of 48


@given(
    zone_and_day=st.sampled_from([(zone, day_of) for zone, days in CHANGES.items() for day_of in days]),
    pattern=st.sampled_from([name for name in FINEST if FINEST[name] != "month"]),
    meaning=st.sampled_from(MEANINGS),
    step=st.sampled_from([1, 2, 7, 24, 30]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_steps_have_each_row_of_a_window_once_whatever_the_format(
    zone_and_day: tuple[str, str], pattern: str, meaning: tuple[str, str], step: int, data: st.DataObject
) -> None:
    zone = ZoneInfo(zone_and_day[0])
    midnight = datetime.fromisoformat(zone_and_day[1]).replace(tzinfo=zone)
    window = Window(midnight - timedelta(days=1), midnight + timedelta(days=2))
    pattern, _, rounds = pattern.partition(",")
    api = BoundedApi(pattern, zone, bool(rounds))
    cursor = incremental(format=pattern, timezone=zone.key, start=meaning[0], end=meaning[1])
    parts = list(Cuts(cursor).steps(window, timedelta(hours=step)))
    edges = [*(part.start for part in parts), midnight.astimezone(UTC), window.end]
    near = st.sampled_from([0, 1, -1, 500_000, -500_000, 1_740_000_000])
    moments = st.builds(lambda at, by: at + timedelta(microseconds=by), st.sampled_from(edges), near)
    times = data.draw(st.lists(moments, max_size=40))  # some of them several times
    rows = [{"at": time.astimezone(zone).isoformat()} for time in times]
    file = parse_text(
        "client: {base_url: 'https://x.y'}\nresources: [{name: a, write_disposition: replace}]", "a.yaml"
    )
    [resource] = file.api.resources
    endpoint = resource.endpoint.model_copy(update={"incremental": cursor})
    bounds, seen = Bounds(cursor), list[datetime]()
    account = Account(RowTimes(resource.model_copy(update={"endpoint": endpoint})), bounds, window)
    for part in parts:
        low, high = api.bound(bounds.start(part.start)), api.bound(bounds.end(part.end))
        found = [
            row
            for row, time in zip(rows, times, strict=True)
            if passes(api.mark(time.astimezone(UTC)), low, high, *meaning)
        ]
        for first in range(0, len(found), 7):
            page = account.own(part, found[first : first + 7])
            seen += [time for row in page if (time := datetime.fromisoformat(row["at"])) in window]
        account.end(part)
    assert sorted(seen) == sorted(time.astimezone(UTC) for time in times if time in window)
