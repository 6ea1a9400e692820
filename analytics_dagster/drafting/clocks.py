"""By which time an API filters, and how it wants to be told: guessed from parameters and the rows' fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analytics_dagster.drafting.operations import Parameter
from analytics_dagster.drafting.rows import CLOCKS, Rows, time_fields
from analytics_dagster.drafting.schemas import Shape
from analytics_dagster.drafting.words import stem, words

_LOWER = {"after", "since", "from", "start", "starting", "starts", "begin", "gte", "gt", "ge", "min"}
_UPPER = {"before", "until", "to", "end", "ending", "ends", "lte", "lt", "le", "max", "till"}
_AFTER = {"after", "gt"}  # which may or may not let the bound itself through
_UP_TO = {"lte", "le"}
_UNSAID = {
    *("at", "date", "time", "timestamp", "ts", "datetime", "on", "day", "last", "filter", "query", "range"),
    *("utc", "unix", "ms", "iso", "value", "epoch", "window", "period", "by", "page", "most", "recently"),
}
_SAYS_TIME = re.compile(
    r"\b(date|time|timestamp|datetime|iso.?8601|epoch|unix|rfc.?3339)\b|YYYY", re.IGNORECASE
)
_EVENT_STEMS = ("times", "time", "date", "occur", "event", "creat", "start", "recei", "updat")


@dataclass(frozen=True)
class Clock:
    """The bounds of a time, the field of a row that holds it, and why that is thought."""

    field: str
    start: Parameter
    end: Parameter | None
    format: str
    is_exclusive: bool
    takes_end: bool
    why: str

    @property
    def bounds(self) -> list[tuple[Parameter, str]]:
        """The parameters, with which bound each is."""
        return [(self.start, "start"), *([(self.end, "end")] if self.end else [])]


@dataclass(frozen=True)
class _Bound:
    parameter: Parameter
    is_lower: bool
    marker: str
    subject: frozenset[str]


def find_clock(parameters: Iterable[Parameter], rows: Rows) -> Clock | None:
    """Guess the clock of an operation.

    Of several, one that sees changes comes first, then one that has both bounds, then one that each row has.

    Args:
        parameters: Those that ask for no page.
        rows: What comes.
    """
    bounds = [bound for one in parameters if one.place in ("query", "body") and (bound := _bound(one))]
    found: list[Clock] = []
    times = time_fields(rows)
    for lower in bounds:
        if not lower.is_lower:
            continue
        upper = next((b for b in bounds if not b.is_lower and b.subject == lower.subject), None)
        field, reason = _field(lower, times)
        if field is None:
            continue
        written, stated = _format(lower.parameter)
        if times[field].kind in ("integer", "number") and written not in ("epoch", "epoch_ms"):
            continue  # a number could count seconds or milliseconds, and nothing says which
        names = f"`{lower.parameter.name}`" + (f" and `{upper.parameter.name}`" if upper else "")
        said = "" if stated else "; its format is not stated"
        if times[field].may_be_null:
            reason += "; it may be null, and such a row is in no window"
        found.append(
            Clock(
                field=field,
                start=lower.parameter,
                end=upper.parameter if upper else None,
                format=written,
                is_exclusive=lower.marker in _AFTER,
                takes_end=upper is not None and upper.marker in _UP_TO,
                why=f"guessed from parameter{'s' * bool(upper)} {names}{said}; {reason}",
            )
        )

    def worth(clock: Clock) -> tuple[bool, bool, bool]:
        sees_changes = any(stem(word) in ("updat", "modif", "chang") for word in words(clock.field))
        return not sees_changes, clock.end is None, times[clock.field].may_be_null

    return min(found, key=worth, default=None)


def _bound(one: Parameter) -> _Bound | None:
    parts = words(one.name)
    markers = [word for word in parts if word in _LOWER | _UPPER]
    # In `start_date_gte`, `start` is of the field's name.
    if not markers or (len(markers) > 1 and parts[-1] != markers[-1]):
        return None
    marker = markers[-1]
    subject = frozenset(stem(word) for word in parts if word not in _UNSAID | {marker})
    of_time = (
        one.shape.format in ("date", "date-time")
        or bool(subject & set(CLOCKS))
        or bool(set(parts) & {"date", "time", "timestamp", "datetime", "at", "ts"})
        or bool(_SAYS_TIME.search(one.text))
    )
    if not of_time or one.shape.kind not in ("string", "integer", "number", ""):
        return None
    return _Bound(one, marker in _LOWER, marker, subject)


def _field(bound: _Bound, times: Mapping[str, Shape]) -> tuple[str | None, str]:
    """The field that a bound is of, and why."""

    def subject(name: str) -> frozenset[str]:
        return frozenset(stem(word) for word in words(name) if word not in _UNSAID)

    if bound.subject:
        fitting = [name for name in times if subject(name) == bound.subject]
        return next(iter(fitting), None), "the field has its name"
    told = {stem(word) for word in words(bound.parameter.text)} & set(CLOCKS)
    by_text = [name for name in times if subject(name) & told]
    if len(by_text) == 1:
        return by_text[0], "its description names this time"
    if len(times) == 1:
        return next(iter(times)), "the only time in a row"
    always = [name for name, shape in times.items() if not shape.may_be_null]
    if len(always) == 1:
        return always[0], f"the only time that each row has, of {len(times)}"
    for known in _EVENT_STEMS:
        for name in times:
            if known in {stem(word) for word in words(name)}:
                return name, f"that it filters by this time, of {len(times)} in a row, is not stated"
    return None, ""


def _format(one: Parameter) -> tuple[str, bool]:
    """How a bound is written, and whether the document states that."""
    text, example = one.text, str(one.shape.raw.get("example", ""))
    if one.shape.format == "date-time":
        return "iso", True
    if one.shape.format == "date":
        return "date", True
    if one.shape.kind in ("integer", "number"):
        says = re.search(r"milli|\bms\b", text, re.IGNORECASE) or "ms" in words(one.name)
        is_long = (example.isdecimal() and len(example) > 11) or (one.shape.format == "int64" and bool(says))
        return ("epoch_ms" if says or is_long else "epoch"), bool(
            says or re.search(r"second|epoch|unix", text, re.IGNORECASE)
        )
    if re.fullmatch(r"\d{4}-\d\d-\d\d", example) or re.search(r"YYYY-MM-DD(?![T\s]*[hH])", text):
        return "date", True
    if re.search(r"\b(unix|epoch)\b", text, re.IGNORECASE):
        return ("epoch_ms" if "milli" in text.lower() else "epoch"), True
    return "iso", bool(re.search(r"8601|3339", text) or "T" in example)
