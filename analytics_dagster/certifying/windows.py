"""Checks of time windows: what their bounds mean to the API, and whether they add up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from analytics_dagster.certifying.pages import Reading
from analytics_dagster.certifying.probe import Probe
from analytics_dagster.certifying.verdicts import Fault, NotApplicable, check
from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.spec import Window

_SECOND, _HOUR, _DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
_FAR = timedelta(days=3652)
_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_CUT = "the whole may be cut, and `step` in endpoint.incremental asks for less at once"


@check("neighbouring windows add up to the whole, also with edges at rows")
def windows_add_up(probe: Probe) -> str:
    window, whole = _whole(probe)
    edges = _edges(probe, window, whole)
    parts = _parts(probe, window, edges)
    _same(probe, window, whole, parts)
    return f"{len(probe.timed(whole, window)):,} rows in {len(parts)} windows"


@check("each row is inside of its window: the cursor is the clock that is filtered on")
def rows_are_inside(probe: Probe) -> str:
    window, whole = _whole(probe)
    _refuse_outside(probe, whole)  # before edges are looked for, as there may be no row within
    if (timed := probe.timed(whole)) and not probe.timed(whole, window):
        row, time = timed[0]
        raise Fault(
            f"none of {len(timed):,} rows is in {window}, such as {probe.some([probe.mark(row)])} of"
            f" {time.isoformat()}: correct format, timezone, start and end in endpoint.incremental, or"
            f" cursor_path. {whole.asked}"
        )
    parts = _parts(probe, window, _edges(probe, window, whole))
    for reading in parts:
        _refuse_outside(probe, reading)
    readings = [whole, *parts]
    return f"{sum(len(reading.rows) for reading in readings):,} rows in {len(readings)} windows"


@check("a bound at the very instant of a row means what the file says")
def bounds_mean_what_they_say(probe: Probe) -> str:
    incremental, (window, whole) = probe.incremental, _whole(probe)
    times = [time for time in _times(probe, whole, window)[1:] if not time.microsecond]
    if probe.bounds.unit > _SECOND or not times:
        raise NotApplicable("no row has an instant that a bound says exactly")
    at = times[len(times) // 2]
    raw = incremental.model_copy(update={"start": "inclusive"})  # so that the bound is this very instant
    endpoint = probe.resource.endpoint.model_copy(update={"incremental": raw})
    resource = probe.resource.model_copy(update={"endpoint": endpoint})
    said: list[str] = []
    after, before = min(at + _HOUR, window.end), max(at - _HOUR, window.start)
    for side, asked in (("start", Window(at, after)), ("end", Window(before, at))):
        if side not in probe.sends:
            continue
        found = any(time == at for _, time in probe.timed(probe.read(asked, resource=resource)))
        meant = "inclusive" if found else "exclusive"
        if meant != getattr(incremental, side):
            raise Fault(
                f"a request whose {side} is {at.isoformat()} has {'' if found else 'not '}the rows of that"
                f" instant: write `{side}: {meant}` in endpoint.incremental"
            )
        said.append(f"{side} {meant}")
    return ", ".join(said)


@check("a window without rows has none")
def empty_window(probe: Probe) -> str:
    window, whole = _whole(probe)
    unit = probe.bounds.unit
    if "end" not in probe.sends:
        raise NotApplicable("the API gets no end")
    gaps = [(after - before, before) for before, after in pairwise(_times(probe, whole, window))]
    length, before = max(gaps, default=(timedelta(), window.start))
    if length < 4 * unit:
        raise NotApplicable("there is no gap between rows that is long enough")
    empty = Window(before + unit, before + length - unit)
    reading = probe.read(empty)
    _refuse_outside(probe, reading)
    if rows := probe.timed(reading, empty):
        raise Fault(f"{reading.asked} has {len(rows):,} rows, and a larger window had none there")
    return f"nothing in {empty}"


@check("a start in the far future has no rows")
def far_future(probe: Probe) -> str:
    if "start" not in probe.sends:
        raise NotApplicable("the API gets no start")
    future = Window(probe.now + _FAR, probe.now + _FAR + _DAY)
    probe.whole()
    try:
        reading = probe.read(future, most=1)
    except RefusedError:
        return "the API refuses it"
    if reading.rows:
        some = probe.some(probe.marks(reading.rows))
        raise Fault(f"{reading.asked} has {len(reading.rows):,} rows, such as {some}")
    return f"nothing from {future.start:%Y} on"


@check("a load that goes on from a cursor has nothing older, and all that is newer")
def goes_on(probe: Probe) -> str:
    if probe.resource.partitions:
        raise NotApplicable("it has partitions, and keeps no cursor")
    window, whole = _whole(probe)
    times = _times(probe, whole, window)
    states = sorted({times[len(times) // 3], times[len(times) * 2 // 3], times[-1]})
    for state in states:
        rest = Window(state, window.end)
        reading = probe.read(rest)
        _refuse_outside(probe, reading)
        _same(probe, rest, whole, [reading])
    return f"from {len(states)} cursors on"


@check("the days on which clocks change are whole")
def clocks_change(probe: Probe) -> str:
    incremental, (sample, _) = probe.incremental, _whole(probe)
    partitions = probe.resource.partitions
    zones = {incremental.timezone, partitions.timezone if partitions else incremental.timezone}
    first = partitions.first if partitions else probe.now - _FAR
    changes = [change for zone in sorted(zones) for change in _changes(ZoneInfo(zone), first, probe.now)]
    changes = sorted(changes, key=lambda change: abs(change - sample.start))[:2]
    if not changes:
        raise NotApplicable("clocks did not change in these years and this time zone")
    rows = 0
    around = 3 * _HOUR if probe.bounds.unit <= _HOUR else 2 * _DAY
    for change in changes:
        window = Window(change - around, change + around)
        whole = probe.refuse_cut(probe.read(window, most=probe.most))
        rows += len(probe.timed(whole, window))
        cuts = [change - around / 3, change, change + around / 3]
        _same(probe, window, whole, _parts(probe, window, cuts))
    if not rows:
        raise NotApplicable("there are no rows around the last change of clocks")
    return f"{rows:,} rows around {' and '.join(change.date().isoformat() for change in changes)}"


def _whole(probe: Probe) -> tuple[Window, Reading]:
    _ = probe.incremental
    whole = probe.whole()
    if not probe.sends:
        raise NotApplicable("the API gets no bounds")
    assert whole.window is not None
    return whole.window, whole


def _times(probe: Probe, reading: Reading, window: Window) -> list[datetime]:
    """The instants of rows, in order, each once."""
    times = sorted({time for _, time in probe.timed(reading, window)})
    if not times:
        raise NotApplicable("no row of the window has a cursor within it")
    return times


def _edges(probe: Probe, window: Window, whole: Reading) -> list[datetime]:
    """Instants at which rows are: most of them, one in the middle, one that is no whole second."""
    counts = Counter(time for _, time in probe.timed(whole, window))
    times = [time for time in _times(probe, whole, window) if time > window.start]
    if not times:
        raise NotApplicable("all rows are of one instant")
    fractions = [time for time in times if time.microsecond]
    edges = {max(times, key=lambda time: counts[time]), times[len(times) // 2]}
    return sorted(edges | set(fractions[len(fractions) // 3 :][:1]))


def _parts(probe: Probe, window: Window, edges: list[datetime]) -> list[Reading]:
    places = [window.start, *edges, window.end]
    return [probe.part(Window(*pair)) for pair in pairwise(places) if pair[0] < pair[1]]


def _same(probe: Probe, window: Window, whole: Reading, parts: list[Reading]) -> None:
    """Refuse what is in the whole, and not in the parts, or the other way round."""
    in_whole = probe.timed(whole, window)
    in_parts = [pair for part in parts for pair in probe.timed(part, part.window)]
    of_whole, of_parts = (probe.marks(row for row, _ in pairs) for pairs in (in_whole, in_parts))
    for difference, what in (
        (of_whole - of_parts, "do not come where its parts are asked for"),
        (of_parts - of_whole, f"come only where its parts are asked for: {_CUT}"),
    ):
        if difference:
            times = sorted(time for row, time in [*in_whole, *in_parts] if probe.mark(row) in difference)
            asked = "; ".join(dict.fromkeys(part.asked for part in (whole, *parts)))
            raise Fault(
                f"{difference.total():,} rows of {window} {what}, from {times[0].isoformat()} to"
                f" {times[-1].isoformat()}: {probe.some(difference)}. {asked}"
            )


def _refuse_outside(probe: Probe, reading: Reading) -> None:
    window, bounds = reading.window, probe.bounds
    assert window is not None
    first = bounds.earliest(window.start) if "start" in probe.sends else _EVER[0]
    last = bounds.latest(window.end) if "end" in probe.sends else _EVER[1]
    outside = [(row, time) for row, time in probe.timed(reading) if not first <= time <= last]
    if outside:
        row, time = outside[0]
        far = max(max(first - time, time - last) for _, time in outside)
        raise Fault(
            f"{len(outside):,} of {len(reading.rows):,} rows are outside of {window}, by {far} at most, such"
            f" as {probe.some([probe.mark(row)])} of {time.isoformat()}: the API ignores a bound, takes it"
            f" for a whole hour or day, or filters by another clock than the cursor. {reading.asked}"
        )


def _changes(zone: ZoneInfo, first: datetime, now: datetime) -> list[datetime]:
    """The instants at which clocks changed, in the last ten years."""

    def offset(instant: datetime) -> timedelta | None:
        return instant.astimezone(zone).utcoffset()

    found: list[datetime] = []
    day = max(first, now - _FAR).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while (following := day + _DAY) < now:
        if offset(day) != offset(following):
            hours = (day + hour * _HOUR for hour in range(1, 25))
            found.append(next(hour for hour in hours if offset(hour) == offset(following)))
        day = following
    return found
