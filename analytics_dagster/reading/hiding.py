"""Finds what must not be seen in a row, and what stands there in its place."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any, cast

from analytics_dagster.reading.casts import as_text
from analytics_dagster.reading.shapes import UnfitError, kind
from analytics_dagster.spec.expressions import EACH


class HashValue:
    """SHA-256 of a value's text, as hexadecimal digits.

    Args:
        salt: The key of HMAC-SHA-256; None for the plain hash.
    """

    def __init__(self, salt: str | None) -> None:
        self._salt = salt.encode() if salt else None

    def __call__(self, value: Any, name: str) -> str | None:
        """The hash of a plain value; null stays null.

        Args:
            value: A text, a number or a truth value.
            name: Of the field, for messages.

        Raises:
            UnfitError: If it is an object or a list.
        """
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise UnfitError(
                f"the field `{name}`, which is to be hashed, is {kind(value)}; name the fields in it, such as"
                " visits[*].ip, or drop it"
            )
        text = as_text(value).encode("utf-8", "surrogatepass")
        return (
            hmac.digest(self._salt, text, "sha256").hex() if self._salt else hashlib.sha256(text).hexdigest()
        )


def boxes(value: Any, path: Sequence[Any], place: str = "the row") -> Iterator[tuple[dict[str, Any], str]]:
    """The objects that a path leads into, each with its key there.

    Args:
        value: A row.
        path: As `field_path` gives it.
        place: What the value is, for messages.

    Raises:
        UnfitError: If the path leads into anything but objects, and lists where it says `[*]`: what is
            to be hidden may stand elsewhere in them. Where a field is missing or null, there is nothing.
    """
    if value is None:
        return
    step, rest = path[0], path[1:]
    if not isinstance(value, list if step is EACH else dict):
        expected = "a list" if step is EACH else "an object"
        remedy = "; write [*] for all entries of a list" if isinstance(value, list) else ""
        raise UnfitError(
            f"{place} is {kind(value)}, and drop or hash takes it for {expected}, so what is to be hidden"
            f" might be missed{remedy}"
        )
    if step is EACH:
        for item in cast("list[Any]", value):
            yield from boxes(item, rest, f"an entry of {place}")
        return
    fields = cast("dict[str, Any]", value)
    if step not in fields:
        return
    if rest:
        yield from boxes(fields[step], rest, f"`{step}`")
    else:
        yield fields, step
