"""When an API whose quota is used up takes requests again: by its headers, else by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from analytics_dagster.reading.rates import requests_left, reset_in, retry_after
from analytics_dagster.spec import in_timezone

_FARTHEST = 366 * 86400.0  # seconds
_LATE = timedelta(seconds=5)  # for clocks that differ


def seconds_until_new(
    headers: Mapping[str, str], every: Literal["hour", "day"], timezone: str, now: datetime
) -> float:
    """How long to wait, in seconds, from one to a year.

    `Retry-After` counts first, then the limit of which nothing is left, then any time to reset; without them
    the next full hour or midnight.

    Args:
        headers: Of the answer that says that the quota is used up.
        every: How often the quota is new.
        timezone: Of the day or hour.
        now: The present instant.
    """
    asked = retry_after(headers)
    if asked is None and (left := requests_left(headers)) is not None and left[0] == 0:
        asked = left[1]
    if asked is None:
        asked = reset_in(headers)
    if asked is None:
        asked = (_next(every, timezone, now) - now).total_seconds()
    return min(max(asked, 1.0), _FARTHEST)


def _next(every: Literal["hour", "day"], timezone: str, now: datetime) -> datetime:
    local = now.astimezone(ZoneInfo(timezone))
    if every == "day":
        following = in_timezone(local.date() + timedelta(days=1), timezone)
    else:  # in UTC, as clocks may go back within the hour
        begun = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        following = local.astimezone(UTC) - begun + timedelta(hours=1)
    return following.astimezone(UTC) + _LATE
