"""One value as another type, exactly or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_DATE_OF_JSON = re.compile(r"/Date\((-?\d+)([+-]\d{4})?\)/", re.ASCII)  # an offset is for showing it alone
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TOO_FAR = "beyond the years 1 to 9999"
_WORDS = {"true": True, "1": True, "false": False, "0": False}

Cast = Callable[[Any], Any]
"""Raises CastError for a value that does not fit."""


class CastError(Exception):
    """A value does not become another type; the message shows no value."""


def caster(name: str) -> Cast:
    """What makes values of a type.

    Args:
        name: One of the `CASTS` of a file, or `date:` or `timestamp:` and a strptime pattern.
    """
    kind, _, pattern = name.partition(":")
    if pattern:
        return partial(_by_pattern, pattern, is_date=kind == "date")
    return {
        "bigint": _bigint,
        "double": _double,
        "decimal": _number,
        "bool": _bool,
        "text": as_text,
        "timestamp": _timestamp,
        "date": _date,
        "epoch": partial(_since_1970, 10**6),
        "epoch_ms": _milliseconds,
    }[kind]


def as_text(value: Any) -> str:
    """A text, a number or a truth value as text, in JSON's words.

    Raises:
        CastError: For anything else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal):
        return str(value)
    if isinstance(value, date):  # or a datetime, which is one
        return value.isoformat()
    raise CastError("no plain value")


def _number(value: Any) -> Decimal:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise CastError("no number")
        return Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise CastError("no number")
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise CastError("no finite number")
    return number


def _bigint(value: Any) -> int:
    number = _number(value)
    if number.adjusted() > 20 or not -(2**63) <= number < 2**63:
        raise CastError("beyond 64 bits; cast to decimal or text")
    if number != int(number):
        raise CastError("no whole number")
    return int(number)


def _double(value: Any) -> float:
    try:
        number = float(_number(value))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CastError("beyond the largest double; cast to decimal or text")
    return number


def _bool(value: Any) -> bool:
    try:
        return _WORDS[as_text(value).strip().lower()]
    except (KeyError, CastError):
        raise CastError("none of true, false, 1 and 0") from None


def _timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):
        return _in_utc(value)
    if not isinstance(value, str):
        raise CastError("no text with a time; numbers are read by epoch or epoch_ms")
    if _FINER.search(value):
        raise CastError("finer than a microsecond; cast to text")
    try:
        return _in_utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        raise CastError(
            "no time such as 2024-01-31T12:00:00Z; write its pattern, as in timestamp:%d.%m.%Y"
        ) from None


def _date(value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise CastError("no text such as 2024-01-31; write its pattern, as in date:%Y%m%d")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise CastError("no day of the calendar") from None


def _since_1970(microseconds: int, value: Any) -> datetime:
    number = _number(value)
    if number.adjusted() > 20:
        raise CastError(_TOO_FAR)
    moments = Fraction(number if number.adjusted() > -20 else Decimal(0)) * microseconds
    if moments.denominator > 1 or (number and not moments):
        raise CastError("finer than a microsecond; cast to decimal")
    try:
        return _EPOCH + timedelta(microseconds=moments.numerator)
    except OverflowError:
        raise CastError(_TOO_FAR) from None


def _milliseconds(value: Any) -> datetime:
    found = _DATE_OF_JSON.fullmatch(value) if isinstance(value, str) else None
    return _since_1970(10**3, found[1] if found else value)


def _by_pattern(pattern: str, value: Any, *, is_date: bool) -> date:
    try:
        # A whole number may well be a date: 20240131.
        found = datetime.strptime(as_text(value), pattern)  # noqa: DTZ007 - localized in the next line
        return found.date() if is_date else _in_utc(found)
    except (CastError, ValueError, OverflowError):
        raise CastError(f"not written as {pattern}") from None


def _in_utc(time: datetime) -> datetime:
    return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
