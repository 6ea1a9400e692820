"""What an answer's headers say of the API's limits: how long to wait, and how many requests are left."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_COUNTS = ("RateLimit-{}", "X-RateLimit-{}", "X-Rate-Limit-{}")
_STRUCTURED = re.compile(r"(?:^|[;,])\s*(r|t|remaining|reset)\s*=\s*(\d+)")
_EPOCH = 10**8  # seconds that no limit lasts: larger numbers count from 1970
_EPOCH_MS = 10**11


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, section 10.2.3); fractions are common too."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    instant = _instant(value)
    return None if instant is None else max(0.0, instant - time.time())


def requests_left(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """How many requests the API takes, and the seconds until it takes more; None where it says nothing.

    It may say so in `RateLimit` (draft-ietf-httpapi-ratelimit-headers), or in `RateLimit-Remaining` and
    `RateLimit-Reset`, or in the same with `X-`. A time to reset is in seconds from now or from 1970.
    """
    return min(_all_left(headers), default=None)


def reset_in(headers: Mapping[str, str]) -> float | None:
    """The seconds until a limit begins anew of which nothing says how many requests are left."""
    resets = (headers.get(name.format("Reset"), "").strip() for name in _COUNTS)
    found = [float(reset) for reset in resets if re.fullmatch(r"\d+(\.\d+)?", reset)]
    return max((_seconds(reset, headers) for reset in found), default=None)


def _all_left(headers: Mapping[str, str]) -> Iterator[tuple[int, float]]:
    for policy in _policies(headers.get("RateLimit", "")):
        found = {name[0] if len(name) == 1 else name: value for name, value in _STRUCTURED.findall(policy)}
        remaining, reset = found.get("r", found.get("remaining")), found.get("t", found.get("reset"))
        if remaining is not None and reset is not None:
            yield int(remaining), float(reset)
    for name in _COUNTS:
        remaining = headers.get(name.format("Remaining"), "").strip()
        reset = headers.get(name.format("Reset"), "").strip()
        if re.fullmatch(r"\d+", remaining) and re.fullmatch(r"\d+(\.\d+)?", reset):
            yield int(remaining), _seconds(float(reset), headers)


def _policies(value: str) -> list[str]:
    """The members of a list (RFC 9651); an older draft had one, whose parts were set off by commas."""
    return [value] if re.search(r"\bremaining\s*=", value) else re.split(r",(?=\s*\")", value)


def _seconds(reset: float, headers: Mapping[str, str]) -> float:
    if reset < _EPOCH:
        return reset
    now = _instant(headers.get("Date", "")) or time.time()  # by the API's own clock
    return max(0.0, (reset / 1000 if reset > _EPOCH_MS else reset) - now)


def _instant(date: str) -> float | None:
    """An HTTP date in seconds since 1970."""
    try:
        instant = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
