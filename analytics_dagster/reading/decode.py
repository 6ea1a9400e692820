"""JSON as it was sent: fast where that is exact, exact where that is not."""

import json
import re
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from analytics_dagster.reading.plain import is_plain

# orjson turns integers beyond 64 bits into floats, and makes the nearest double of every decimal. Only
# numbers with more than fifteen digits, or as small as 1e-308, can lose by it.
_AS_ZEROS = bytes.maketrans(b".123456789E", b"0000000000e")
_MANY = b"0" * 16
_NUMBER = re.compile(rb"0+(?:e[-+]?0+)?")
_TINY = re.compile(rb"[0-9]e-[0-9]{3,}\s*([,\]}]|$)", re.IGNORECASE)


def decode_json(body: bytes, charset: str = "utf-8") -> Any:
    """Decode a JSON text; no number loses a digit.

    Takes and raises what `decode` does.
    """
    return decode(body, charset)[0]


def decode(body: bytes, charset: str = "utf-8") -> tuple[Any, bool]:
    """Decode a JSON text, and see whether dlt surely keeps all of its values as they are.

    Args:
        body: The text.
        charset: The encoding that the answer names; a byte order mark, or the zeros of UTF-16 and UTF-32,
            say it more surely.

    Returns:
        What `json.loads` returns, but a `Decimal` for each decimal that no float equals; and whether nothing
        in it needs a look before dlt gets it.

    Raises:
        ValueError: If the body is not exactly one JSON text.
        RecursionError: If it is nested too deeply.
    """
    shown = json.detect_encoding(body)
    encoding = charset if shown == "utf-8" else shown
    if encoding != "utf-8":
        body = body.decode(encoding).encode()
    if not body.strip():
        raise ValueError("the body is empty")
    # The other decoder takes some more, too: lone surrogates, 1e400, deeper nesting.
    with suppress(orjson.JSONEncodeError, orjson.JSONDecodeError):
        document = orjson.loads(body)
        if _has_no_long_number(body) or orjson.dumps(document) == body or not _may_lose_digits(body):
            return document, is_plain(body)
    decimals: list[Decimal] = []
    document = json.loads(
        body.decode(), parse_float=partial(_exact_float, decimals), parse_constant=_no_constant
    )
    return document, not decimals and is_plain(body)


def _has_no_long_number(body: bytes) -> bool:
    digits = body.translate(_AS_ZEROS)
    return _MANY not in digits and b"0e-000" not in digits


def _may_lose_digits(body: bytes) -> bool:
    digits = body.translate(_AS_ZEROS)
    start = digits.find(_MANY)
    while start >= 0:
        end = _NUMBER.match(digits, start).end()  # pyright: ignore[reportOptionalMemberAccess]  it is one
        if not _is_kept(body[start:end]):
            return True
        start = digits.find(_MANY, end)
    return b"0e-000" in digits and _TINY.search(body) is not None


def _is_kept(number: bytes) -> bool:
    """Whether a number of many digits has less than 64 bits, or is written as the float that it becomes."""
    if number.isdigit():
        return len(number) < 19
    try:
        return repr(float(number)).encode() == number
    except ValueError:  # a part of a text, such as 1.2.3
        return False


def _exact_float(decimals: list[Decimal], text: str) -> float | Decimal:
    """A float, or if none equals the text a decimal, which is added to those before."""
    number = float(text)
    exact = Decimal(text)
    if Decimal(repr(number)) == exact:
        return number
    decimals.append(exact)
    return exact


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
