"""CSV as rows with named fields, all of whose values are texts or null."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from analytics_dagster.reading.packing import FormatError, begins
from analytics_dagster.spec.response import Csv

DOCUMENT = 4 << 20
"""Bytes of rows that are decoded at once."""

LONGEST_ROW = 64 << 20
"""Bytes of one row."""

_ROWS = 10_000  # that are decoded at once
_OTHER_DELIMITERS = ",;\t|"
_NO_CSV = ("<!doctype", "<html", "<?xml", '{"', "{'")


class CsvTable:
    """One file of CSV.

    Args:
        text: The file, its line ends as they are.
        written: How it is written.
        required: Whether it must have a header at least.
        is_cut: Whether it may end anywhere, as there is more that was not read.
        shows: Whether messages may show what is in it.
    """

    def __init__(self, text: TextIO, written: Csv, *, required: bool, is_cut: bool, shows: bool) -> None:
        self._text = text
        self._written = written
        self._required = required
        self._is_cut = is_cut
        self._shows = shows
        self._size = 0

    def documents(self) -> Iterator[tuple[list[dict[str, str | None]], int]]:
        """Lists of rows, and how long each is in characters.

        Raises:
            FormatError: If a row or the header is none.
        """
        csv.field_size_limit(LONGEST_ROW)
        reader = csv.reader(
            self._lines(),
            delimiter=self._written.delimiter,
            quotechar=self._written.quote,
            quoting=csv.QUOTE_NONE if self._written.quote is None else csv.QUOTE_MINIMAL,
            strict=True,
        )
        try:
            yield from self._documents(reader)
        except csv.Error as error:
            if not self._is_cut:  # which may be within quotes
                raise FormatError(f"line {reader.line_num:,} is no CSV: {error}") from None

    def _documents(self, reader: Any) -> Iterator[tuple[list[dict[str, str | None]], int]]:
        names, null = self._names(reader), frozenset(self._written.null)
        rows: list[dict[str, str | None]] = []
        for row in reader:
            if not row:  # an empty line
                continue
            if len(row) != len(names):
                raise FormatError(
                    f"line {reader.line_num:,} has {len(row)} values for {len(names)} columns"
                    + begins(self._written.delimiter.join(row), shows=self._shows)
                )
            rows.append(
                {name: None if value in null else value for name, value in zip(names, row, strict=True)}
            )
            if len(rows) >= _ROWS or self._size >= DOCUMENT:
                yield rows, self._size
                rows, self._size = [], 0
        if rows:
            yield rows, self._size

    def _lines(self) -> Iterator[str]:
        while line := self._text.readline(LONGEST_ROW):
            self._size += len(line)
            if len(line) == LONGEST_ROW:
                raise FormatError(f"a line is longer than {LONGEST_ROW:,} characters")
            yield line

    def _names(self, reader: Any) -> list[str]:
        written = self._written
        header: list[str] | None = next((row for row in reader if row), None) if written.header else []
        if header is None:
            if self._required:
                raise FormatError(
                    "it is empty, without even a header; where that means no rows, write"
                    " `data_selector_required: false`"
                )
            return []
        line = written.delimiter.join(header)
        said = begins(line, shows=self._shows)
        if line.strip() == "{" or line.lstrip().lower().startswith(_NO_CSV):
            raise FormatError(f"something else came in place of CSV{said}")
        names = written.names or header
        if written.header and len(names) != len(header):
            raise FormatError(f"the header has {len(header)} columns, and csv.names has {len(names)} names")
        others = [one for one in _OTHER_DELIMITERS if one != written.delimiter and one in line]
        if len(names) == 1 and others:
            raise FormatError(
                f"the header is one name{said}; write the right csv.delimiter, which may be"
                f" {json.dumps(others[0])}"
            )
        for number, name in enumerate(names, 1):
            if not name.strip():
                raise FormatError(f"column {number} of the header has no name; give csv.names")
            if names.index(name) != number - 1:
                raise FormatError(f"the header has two columns `{name}`; give csv.names")
        return names
