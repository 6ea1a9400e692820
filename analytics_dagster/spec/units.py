"""Durations, sizes and instants as people write them in an API file; nothing that knows of APIs."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from analytics_dagster.spec.problems import nearest, shown

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)?", re.IGNORECASE)
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as `90s`, `10m`, `1.5h` or a number of seconds.

    Args:
        value: Text with a unit (ms, s, m, h, d), or a number of seconds.

    Raises:
        ValueError: If the value is neither.
    """
    if isinstance(value, timedelta):
        return value
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 <= seconds <= timedelta.max.total_seconds() / 2:  # not a number fails the comparison too
        raise ValueError(f"expected a duration such as 30s, 10m, 1h or 2d, not {shown(value)}")
    return timedelta(seconds=seconds)


def parse_step(value: Any) -> timedelta:
    """Read a duration that is not zero; zero is what `none` means.

    Raises:
        ValueError: If the value is neither a duration nor `none`.
    """
    if value in ("none", timedelta()):
        return timedelta()
    if not (step := parse_duration(value)):
        raise ValueError(f"expected a duration such as 1h or 24h, or none, not {shown(value)}")
    return step


def parse_size(value: Any) -> int:
    """Read a number of bytes such as `500MB` or `1GB` (powers of ten).

    Args:
        value: Text with a unit (B, KB, MB, GB, TB), or a number of bytes.

    Raises:
        ValueError: If the value is neither, or not positive.
    """
    size = 0.0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[(match[2] or "B").upper()]
    if not 0 < size < math.inf:
        raise ValueError(f"expected a size such as 500MB or 1GB, not {shown(value)}")
    return int(size)


def parse_time(value: Any) -> date | datetime:
    """Read a date or an ISO 8601 time; YAML hands over either as text or as its own type.

    Raises:
        ValueError: If the value is neither.
    """
    if isinstance(value, date):  # a datetime is a date too
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                pass
    raise ValueError(
        f"expected a date or time such as 2024-01-01 or 2024-01-01T06:00:00Z, not {shown(value)}"
    )


_timezones = cache(available_timezones)  # it reads a directory tree


def _known_timezone(value: str) -> str:
    if value not in _timezones():
        raise ValueError(
            f"expected a time zone such as UTC or Europe/Berlin, not {shown(value)}"
            + nearest(value, _timezones())
        )
    return value


def in_timezone(value: date | datetime, timezone: str) -> datetime:
    """The instant that a date (its midnight) or a time means in a time zone.

    A time that carries an offset keeps its instant.
    """
    zone = ZoneInfo(timezone)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    return value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "10m", "1h"]}),
]
Step = Annotated[
    timedelta,
    BeforeValidator(parse_step),
    WithJsonSchema({"type": ["string", "number"], "examples": ["1h", "24h", "none"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["500MB", "1GB"]}),
]
Time = Annotated[
    date | datetime,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "examples": ["2024-01-01", "2024-01-01T06:00:00Z"]}),
]
Timezone = Annotated[str, AfterValidator(_known_timezone)]
