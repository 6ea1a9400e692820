"""Values on their way to dlt: those it would alter or cannot take become exact, or stop the load."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, cast

import orjson
from dlt.common.arithmetics import DEFAULT_NUMERIC_PRECISION, DEFAULT_NUMERIC_SCALE
from dlt.common.configuration.container import Container
from dlt.common.json import PUA_CHARACTER_MAX, PUA_START
from dlt.common.pipeline import PipelineContext

from analytics_dagster.loading.cursor import PageStep
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.plain import is_plain
from analytics_dagster.spec import Resource

# dlt writes a decimal or a time into its files as text after a character of this range, and reads each text
# that an API sent with such a first character as one, too.
_MARKERS = tuple(chr(PUA_START + number) for number in range(PUA_CHARACTER_MAX + 1))
_TOGETHER = 500  # rows
_DEEPEST = 250  # what dlt's encoder takes is 254 levels, of which a page and a row are the first


def destination_name() -> str:
    """The destination of the load under way; `dlt.current.pipeline()` looks all settings up for that."""
    destination: Any = Container()[PipelineContext].pipeline().destination
    return destination.destination_name


def fits_decimal(
    number: Decimal, precision: int = DEFAULT_NUMERIC_PRECISION, scale: int = DEFAULT_NUMERIC_SCALE
) -> bool:
    """Whether a decimal column holds a number digit for digit; PostgreSQL would round it without a word."""
    if not number:
        return True
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # JSON has no infinity
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return exponent + zeros >= -scale and number.adjusted() < precision - scale


def named_row(row: Any, keys: list[str], otherwise: str) -> str:
    """What to call a row in a message: by its primary key where it has one."""
    if isinstance(row, dict) and keys and all(key in row for key in keys):
        fields = cast("dict[str, Any]", row)
        return "the row with " + ", ".join(f"{key}: {fields[key]!r:.80}" for key in keys)
    return otherwise


class KeepValues(PageStep):
    """First of all steps: see to it that dlt gets no value that it would alter or cannot take.

    Numbers that neither 64 bits nor a decimal column hold become text, digit for digit.

    Args:
        resource: The resource that is read.
        meter: Knows whether all that came is plain.

    Raises:
        ContractError: For a text that cannot be kept.
    """

    placement_affinity: ClassVar[float] = 0.1

    def __init__(self, resource: Resource, meter: Meter) -> None:
        super().__init__(self._rows)
        # Other rows have values that did not come so: computed ones, those of a list in the file.
        self._came = None if resource.is_child or resource.records else meter
        key = resource.primary_key or []
        self._keys = [key] if isinstance(key, str) else list(key)
        self._read = 0
        self._takes_nul = False

    def bind(self, pipe: Any) -> KeepValues:
        """Called by dlt before the first page, when the destination is known."""
        # Parquet files, which DuckDB is given, hold NUL. dlt's SQL leaves it out without a word.
        self._takes_nul = destination_name() == "duckdb"
        return self

    def _rows(self, page: list[Any]) -> list[Any]:
        if self._keys and {} in page:
            number = self._read + page.index({}) + 1
            raise ContractError(
                f"row {number} is {{}}, without the primary key. Correct `data_selector` if it is no row."
            )
        if self._came and self._came.is_plain:
            self._read += len(page)
            return page
        for start in range(0, len(page), _TOGETHER):
            rows = page[start : start + _TOGETHER]
            if not _is_plain(rows):
                page[start : start + _TOGETHER] = self._looked_at(rows)
            self._read += len(rows)
        return page

    def _looked_at(self, rows: list[Any]) -> list[Any]:
        for number, row in enumerate(rows):
            try:
                rows[number] = self._kept(row, [])
            except _UnfitError as unfit:
                name = named_row(row, self._keys, f"row {self._read + number + 1}")
                raise ContractError(f"{name}: {unfit}") from None
        return rows

    def _kept(self, value: Any, path: list[str]) -> Any:
        if isinstance(value, str):
            self._check(value, path)
        elif isinstance(value, Decimal) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            number = Decimal(value)
            return number if fits_decimal(number) else str(value)
        elif isinstance(value, dict | list) and len(path) == _DEEPEST:
            raise _UnfitError(path[:3], "is nested too deeply", f"dlt takes {_DEEPEST} levels")
        elif isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            for key in fields:
                if not _is_unicode(key):
                    self._check(key, path)
                fields[key] = self._kept(fields[key], [*path, key])
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            for number, item in enumerate(items):
                items[number] = self._kept(item, [*path, str(number)])
        return cast("Any", value)

    def _check(self, text: str, path: list[str]) -> None:
        if not _is_unicode(text):
            raise _UnfitError(
                path, f"{text!r:.80} has half of a surrogate pair", "no destination stores that"
            )
        if "\0" in text and not self._takes_nul:
            raise _UnfitError(path, f"{text!r:.80} has a NUL character", "the destination cannot store it")
        if text.startswith(_MARKERS) and len(text) > 1:
            raise _UnfitError(
                path,
                f"{text!r:.80} begins with a character that dlt keeps for itself",
                "set DLT_JSON_TYPED_PUA_START to another one of the private characters, such as 0xe000",
            )


class _UnfitError(Exception):
    def __init__(self, path: list[str], what: str, then: str) -> None:
        super().__init__(
            f"the field `{'.'.join(path)!a:.200}`: ".replace("'", "") + f"{what}; {then}."
            " Ask the API for a value without it, or leave the field out where the API can do that."
        )


def _is_plain(page: list[Any]) -> bool:
    """Whether nothing in a page needs a look; as quick as it gets, for nearly all pages are plain."""
    try:
        text = orjson.dumps(page)
    except TypeError:  # numbers beyond 64 bits, decimals, lone surrogates, too many levels
        return False
    return is_plain(text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
