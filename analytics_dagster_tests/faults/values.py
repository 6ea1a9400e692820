"""Values that loaders are known to damage, and rows of them as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

_NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 1.5, 0.1, -2.5, 1e22, 5e-324, 1.7976931348623157e308),
    *(2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**63) - 1, 10**28 + 1, 10**30 + 1, 10**90 + 1),
    *map(Decimal, ("0.1234567890123456789", "123456789.123456789123", "1e400", "1.10", "100.0")),
]
_TEXTS = [
    *("", " ", "a", "ß", "NaN", "null", "true", "007", "1.10", "1e5", "0x10", "٣", "-", "\\", "'", '"'),
    *(
        "a\tb\r\n\\'\"\u2028\x01\x7f",
        "😀👩‍👩‍👧",
        "\U0010ffff",
        "e\u0301",
        "NULL",
        "\\N",
        "{}",
        "[1]",
        "a,b;c|d",
        "%s {}",
    ),
]
_TIMES = [
    *("2024-01-01T00:00:00Z", "2024-03-31T02:30:00", "2024-01-01T00:00:00.123456Z"),
    *("2024-01-01T00:00:00.123456789Z", "1900-01-01T00:00:00+05:30", "0001-01-01T00:00:00Z", "2024-01-01"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00", "1969-12-31"),
    *("2024-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "20240101", "2024", "12:30", "2024-W01-1"),
]


def _anything(rng: Random) -> Any:
    return rng.choice(rng.choice([_NUMBERS, _TEXTS, _TIMES, [True, False, None]]))


def _object(rng: Random) -> Any:
    return {"x": _anything(rng), "y": {"z": rng.randrange(9), "u": _anything(rng)}, "empty": {}}


_KINDS: list[Callable[[Random], Any]] = [
    lambda rng: rng.randrange(100),
    lambda rng: rng.choice(_NUMBERS),
    lambda rng: rng.choice([1, 1, 2, 1.5]),
    lambda rng: rng.choice([True, False]),
    lambda rng: rng.choice(_TEXTS),
    lambda rng: rng.choice(_TIMES),
    _anything,
    _object,
    lambda rng: [_anything(rng) for _ in range(rng.randrange(4))],
    lambda rng: [{"n": number, "x": _anything(rng)} for number in range(rng.randrange(3))],
    lambda rng: [_object(rng), {"inner": [1, [2, 3], {"w": _anything(rng)}]}][: rng.randrange(3)],
]


class Fields:
    """The fields that the rows of an endpoint have besides key and cursor, each of a kind of its own."""

    def __init__(self, rng: Random) -> None:
        names = "abcdef"[: rng.choice([0, 1, 2, 2, 3, 6])]
        self._kinds = {name: rng.choice(_KINDS) for name in names}

    def draw(self, rng: Random) -> dict[str, Any]:
        """The fields of one row; each may be null, or not there at all."""
        return {
            name: None if rng.random() < 0.1 else kind(rng)
            for name, kind in self._kinds.items()
            if rng.random() < 0.9
        }


def as_json(value: Any) -> str:
    """JSON in which a `Decimal` is a number of the same digits."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {as_json(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(as_json, value)) + "]"
        case _:
            return json.dumps(value)


def from_json(text: str) -> Any:
    """The value that JSON says; all decimals are exact."""
    return json.loads(text, parse_float=Decimal)
