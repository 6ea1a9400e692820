"""Whether dlt keeps all values of a JSON text as they are, seen without a look at each of them."""

from __future__ import annotations

from dlt.common.json import PUA_START_UTF8_MAGIC

# How texts begin that dlt takes for decimals, times and the like, which it writes so itself.
_MARKED = b'"' + PUA_START_UTF8_MAGIC
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19  # digits of the first integer that 64 bits with a sign do not hold
_BEFORE_NUMBERS = b":,[- \n\r\t"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LEVELS = 20  # dlt takes many more; nearly all answers have fewer


def is_plain(body: bytes) -> bool:
    """Whether nothing in a JSON text needs a look before dlt gets it.

    Args:
        body: In UTF-8, with no number that its decoded form does not have digit by digit.

    Returns:
        False also where that is not sure.
    """
    return (
        not _has_long_integer(body.translate(_DIGITS))
        and not (b"\\" in body and b"\\u" in body)  # NUL, or a character of dlt's own
        and not (_MARKED[1:2] in body and _MARKED in body)
        and _is_shallow(body)
    )


def _has_long_integer(digits: bytes) -> bool:
    start = digits.find(_LONG)
    while start >= 0:
        if digits[start - 1 : start] in _BEFORE_NUMBERS:
            return True
        start = digits.find(_LONG, start + len(_LONG))
    return False


def _is_shallow(body: bytes) -> bool:
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(_LEVELS):
        if not brackets:
            return True
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return False
