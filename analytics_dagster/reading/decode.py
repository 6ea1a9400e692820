"""JSON as it was sent: fast where that is exact, exact where that is not."""

import json
import re
from decimal import Decimal
from typing import Any

import orjson

# orjson turns integers beyond 64 bits into floats and shortens long decimals; both have runs of
# sixteen digits or more, with or without a point.
_LONG_NUMBER = re.compile(rb"[0-9.]{16}")


def decode_json(body: bytes) -> Any:
    """Decode a JSON text; no number loses a digit.

    Raises:
        ValueError: If the body is not exactly one JSON text.
    """
    if not body.strip():
        raise ValueError("the body is empty")
    if _LONG_NUMBER.search(body):
        return json.loads(body, parse_float=_exact_float, parse_constant=_no_constant)
    return orjson.loads(body)


def _exact_float(text: str) -> float | Decimal:
    number = float(text)
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
