"""Checks of what rows hold: keys, cursor, types, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

from analytics_dagster.certifying.pages import Reading
from analytics_dagster.certifying.probe import Probe, as_text
from analytics_dagster.certifying.verdicts import Fault, NotApplicable, check
from analytics_dagster.loading.cursor import RowTimes, is_number_cursor

EXACT = 1 << 53
"""Up to which a double holds all integers."""

_NEVER_ENDING = 10  # empty pages
_ENOUGH = 8  # values, to take what they have in common for no accident
_JAVASCRIPT = 10**17  # from which on a shortest double ends in zeros


@check("good credentials are accepted, and all pages can be read")
def read(probe: Probe) -> str:
    reading = probe.sample()
    last = reading.pages[-_NEVER_ENDING:]
    if not reading.is_whole and len(last) == _NEVER_ENDING and not any(page.rows for page in last):
        raise Fault(
            f"the last {len(last)} of {len(reading.pages)} pages are empty, and still there is a next one:"
            " where an empty page is the last, write `stop_after_empty_page: true` in the paginator."
            f" {reading.asked}"
        )
    of = f" of {reading.window}" if reading.window else ""
    part = "" if reading.is_whole else ", and there are more than the budget allows for"
    return f"{len(reading.rows):,} rows on {len(reading.pages):,} pages{of}{part}"


@check("there are rows, and data_selector finds them")
def has_rows(probe: Probe) -> str:
    reading = probe.sample()
    rows = reading.rows
    if strange := next((row for row in rows if not isinstance(row, dict)), None):
        raise Fault(f"a row is {probe.some([as_text(strange)])[:80]}, which has no fields: {reading.asked}")
    if rows:
        return f"{len(rows):,} rows"
    for page in reading.pages:
        for path, found in _lists(page.answer.json(), "$") if page.answer is not None else ():
            raise Fault(
                f"data_selector finds no rows, and the answer has {len(found):,} objects at `{path}`:"
                f" {page.url}"
            )
    raise Fault(f"no rows, so that little can be seen: {reading.asked}")


def _lists(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    """The lists of objects in an answer, with their paths."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _lists(inner, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield path, cast("list[Any]", value)


@check("the primary key is in every row, and never null")
def keys_are_there(probe: Probe) -> str:
    reading = _with_rows(probe)
    for key in _keys(probe):
        lacking = [row for row in reading.rows if row.get(key) is None]
        if lacking:
            raise Fault(
                f"`{key}` is missing or null in {len(lacking):,} of {len(reading.rows):,} rows, such as"
                f" {probe.some([as_text(lacking[0])])[:200]}"
            )
    return f"{', '.join(probe.keys)} in {len(reading.rows):,} rows"


@check("no primary key comes twice")
def keys_are_unique(probe: Probe) -> str:
    reading = _with_rows(probe)
    _keys(probe)
    counts = probe.marks(reading.rows)
    if twice := [mark for mark, count in counts.items() if count > 1]:
        raise Fault(f"{len(twice):,} keys come more than once: {probe.some(twice)}; {reading.asked}")
    return f"{len(counts):,} keys"


@check("the cursor is in every row, and is a time")
def cursor_is_there(probe: Probe) -> str:
    incremental = probe.resource.endpoint.incremental
    if incremental is None:
        raise NotApplicable("it has no cursor")
    rows, times = _with_rows(probe).rows, RowTimes(probe.resource)
    values = [times.value(row) for row in rows]
    lacking = sum(value is None for value in values)
    if lacking and incremental.on_cursor_value_missing == "raise":
        raise Fault(f"`{incremental.cursor_path}` is missing or null in {lacking:,} of {len(rows):,} rows")
    if not is_number_cursor(incremental):
        times.of(rows)
    return f"`{incremental.cursor_path}` in {len(rows) - lacking:,} of {len(rows):,} rows"


@check("integers and decimals are sent exactly")
def numbers_are_exact(probe: Probe) -> str:
    fields: dict[str, list[Any]] = {}
    measured: set[str] = set()  # which count nothing: a double is all that they ever were
    for row in _with_rows(probe).rows:
        for path, value in _numbers(row, ""):
            if abs(value) > EXACT:
                fields.setdefault(path, []).append(value)
            elif value % 1:
                measured.add(path)
    fields = {path: values for path, values in fields.items() if path not in measured}
    if not fields:
        raise NotApplicable("no whole number is beyond 2^53")
    for field, values in fields.items():
        if floats := [value for value in values if not isinstance(value, int)]:
            raise Fault(f"`{field}` is {floats[0]}, a number beyond 2^53 that went through a double")
        if went := _rounded(sorted({abs(value) for value in values})):
            raise Fault(
                f"`{field}`: all of {len(values):,} integers beyond 2^53 are {went}, such as {values[0]}: the"
                " API rounds them. See whether it sends them as text, too."
            )
    return f"integers beyond 2^53 in {', '.join(f'`{field}`' for field in fields)}"


def _numbers(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The numbers of a row, by the paths of their fields."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _numbers(inner, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _numbers(inner, path)
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        yield path, value


def _rounded(values: list[int]) -> str | None:
    """What shows that different integers were rounded to doubles; None where nothing does."""
    if len(values) < _ENOUGH:
        return None
    large = [value for value in values if value > _JAVASCRIPT]
    if len(large) >= _ENOUGH and all(value == int(Decimal(repr(float(value)))) for value in large):
        return "the shortest digits of a double"
    doubles = all(int(float(value)) == value for value in values)
    # Ids that are made of a time and a count may end in zero bits, too, but then all in more than these.
    spare = [value.bit_length() - 53 for value in values]
    odd = sum(value >> bits & 1 for value, bits in zip(values, spare, strict=True))
    return "doubles" if doubles and odd * 4 >= len(values) and sum(spare) > 2 * _ENOUGH else None


def _with_rows(probe: Probe) -> Reading:
    return probe.refuse_empty(probe.sample())


def _keys(probe: Probe) -> list[str]:
    if not probe.keys:
        raise NotApplicable("it has no primary key")
    return probe.keys
