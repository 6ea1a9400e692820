"""What is in a spooled body: held to be whole, and decoded bit by bit to documents of rows."""

from __future__ import annotations

import io
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from dlt.common import jsonpath

from analytics_dagster.reading.csv_table import DOCUMENT, LONGEST_ROW, CsvTable
from analytics_dagster.reading.decode import decode_json
from analytics_dagster.reading.errors import TooLargeError
from analytics_dagster.reading.packing import FormatError, Packed, begins, place
from analytics_dagster.spec.response import Csv, ResponseFormat

SAMPLE = 1 << 20
"""Bytes of an answer that are read where a beginning will do, and of what they unpack to."""

_BLOCK = 1 << 20  # bytes
_TAIL = 1 << 16  # bytes in which the last line is looked for
_NAMES = {"json": "JSON", "jsonl": "JSON Lines", "csv": "CSV", "gzip": "gzip", "zip": "ZIP"}
_ERRORS = {"error", "errors"}
_BESIDE_ERRORS = _ERRORS | {
    *("code", "detail", "details", "error_code", "error_description", "error_message", "message"),
    *("msg", "ok", "request", "request_id", "requestId", "status", "status_code", "success", "type"),
}


@dataclass(frozen=True)
class Format:
    """How the answers of one endpoint become documents.

    Args:
        response: The file's `response`.
        data_selector: What is picked from each line of JSON Lines; None for the line itself.
        required: Whether each line must have something there, and CSV at least a header.
    """

    response: ResponseFormat
    data_selector: Any = None
    required: bool = True

    def __deepcopy__(self, _: Any) -> Format:
        """Itself, as nothing here changes."""
        return self

    def __str__(self) -> str:
        return " in ".join(_NAMES[word] for word in reversed(self.response.format))


class Documents:
    """The documents in one body, one after another: JSON texts, or lists of rows of some megabytes.

    Args:
        file: The body.
        how: What it should be.
        charset: The encoding that the answer names.
        most: The most bytes that one document of JSON may have.
        is_unpacked: Whether HTTP has unpacked a gzip already.
        shows: Whether messages may show what is in the body.

    Attributes:
        is_begun: Whether there is a current document.
        current: The document whose turn it is; at first and at the end an empty list.
        size: Its bytes.
        is_sample: Whether the file holds no more than the beginning of the body.
    """

    def __init__(
        self,
        file: BinaryIO,
        how: Format,
        charset: str,
        most: int,
        *,
        is_unpacked: bool = False,
        shows: bool = True,
    ) -> None:
        self.how = how
        self._packed = Packed(file, how.response, is_unpacked=is_unpacked, shows=shows)
        self._response = how.response
        self._charset = how.response.encoding or charset
        self._most = most
        self.is_sample = False
        self._shows = shows
        self._decode: Callable[[BinaryIO], Iterator[tuple[Any, int]]] = {
            "json": self._json,
            "jsonl": self._lines,
            "csv": self._csv,
        }[how.response.kind]
        self._coming = self._all()
        weakref.finalize(self, file.close)
        self._next: tuple[Any, int] | None = None
        self.is_begun = False
        self.current: Any = []
        self.size = 0

    @property
    def has_more(self) -> bool:
        """Whether another document follows."""
        return self._next is not None

    def begin(self) -> None:
        """Look whether the body is whole, and go to the first document.

        Raises:
            FormatError: If the body is cut, damaged or something else than expected.
            TooLargeError: If it is larger than allowed.
        """
        if not self.is_sample:
            self._check()
        self.is_begun = True
        self._next = next(self._coming, None)
        self.advance()

    def advance(self) -> None:
        """Go to the next document.

        Raises:
            FormatError: If the one after it cannot be decoded.
            TooLargeError: If it is larger than allowed.
        """
        self.current, self.size = self._next or ([], 0)
        self._next = next(self._coming, None)

    def _check(self) -> None:
        total = 0
        for name, stream in self._packed.members():
            with place(name, shows=self._shows):
                head = tail = b""
                lines = 0
                while block := stream.read(_BLOCK):
                    head = head or block[:4]
                    total += len(block)
                    if total > self._response.max_bytes:
                        raise TooLargeError(
                            f"the answer is larger than response.max_bytes ({self._response.max_bytes:,}"
                            " bytes) once it is unpacked. Ask for smaller windows, or raise the limit in the"
                            " API file"
                        )
                    if self._response.kind != "json":
                        lines += block.count(b"\n")
                        tail = (tail + block)[-_TAIL:]
                if tail:
                    self._check_end(head, tail, lines)

    def _check_end(self, head: bytes, tail: bytes, lines: int) -> None:
        """Refuse a body whose last line says that the export broke off, or that is cut."""
        encoding = self._encoding(head)
        mark = head[: {"utf-16": 2, "utf-32": 4}.get(encoding, 0)]  # says how the tail is to be read
        text = (mark + tail).decode(encoding, "replace")
        _, newline, line = text.rstrip().rpartition("\n")
        line = line.lstrip("\ufeff")
        if self._response.end_error and self._response.end_error in line:
            raise FormatError(f"the export broke off, as its last line tells{self._said(line)}")
        if self._response.kind != "jsonl" or text.endswith("\n") or not (newline or len(tail) < _TAIL):
            return
        try:
            json.loads(line or "0")
        except ValueError:
            raise FormatError(f"line {lines + 1:,}, the last one, is cut{self._said(line)}") from None

    def _all(self) -> Iterator[tuple[Any, int]]:
        for name, stream in self._packed.members():
            with place(name, shows=self._shows):
                yield from self._decode(self._begun(stream) if self.is_sample else stream)
            if self.is_sample:
                return

    def _begun(self, stream: BinaryIO) -> BinaryIO:
        """Whole lines from the beginning of a stream that may be cut."""
        begun = bytearray()
        with suppress(EOFError):  # of a gzip that is cut
            while len(begun) < SAMPLE and (block := stream.read(1 << 14)):
                begun += block
        end = begun.rfind(b"\n") + 1
        end += begun.startswith(b"\0", end)  # of UTF-16
        return io.BytesIO(bytes(begun[:end]))

    def _json(self, stream: BinaryIO) -> Iterator[tuple[Any, int]]:
        body = stream.read(self._most + 1)
        if len(body) > self._most:
            raise TooLargeError(
                f"a document of JSON is larger than client.max_response_bytes ({self._most:,} bytes). Ask for"
                " smaller windows, or raise the limit in the API file"
            )
        yield decode_json(body, self._charset), len(body)

    def _lines(self, stream: BinaryIO) -> Iterator[tuple[Any, int]]:
        before, rows = 0, 0
        for block in self._blocks(stream):
            lines = block.split(b"\n")
            found = self._decoded(lines, before)
            before += block.count(b"\n")
            rows += len(found)
            if rows == len(found) == 1:
                self._refuse_error(found[0])
            if self.how.data_selector is not None:
                found = self._picked(found, rows - len(found))
            if found:
                yield found, len(block)

    def _decoded(self, lines: list[bytes], before: int) -> list[Any]:
        """The values of lines, at once where that is sure to be right."""
        filled = [line for line in lines if line and not line.isspace()]
        try:
            found = decode_json(b"[" + b",".join(filled) + b"]")
        except (ValueError, RecursionError):
            pass
        else:
            if len(found) == len(filled):
                return found
        found = list[Any]()
        for number, line in enumerate(lines, before + 1):
            if not line or line.isspace():
                continue
            try:
                found.append(decode_json(line))
            except (ValueError, RecursionError) as error:
                said = self._said(line.decode("utf-8", "replace"))
                raise FormatError(f"line {number:,} is no JSON ({error}){said}") from None
        return found

    def _picked(self, lines: list[Any], before: int) -> list[Any]:
        rows: list[Any] = []
        for number, line in enumerate(lines, before + 1):
            found = jsonpath.find_values(self.how.data_selector, line)
            if not found and self.how.required:
                raise FormatError(
                    f"the JSON of row {number:,} has nothing at data_selector; where each line is a row,"
                    " write `data_selector: $`"
                )
            for value in found:
                rows += cast("list[Any]", value) if isinstance(value, list) else [value]
        return rows

    def _refuse_error(self, row: Any) -> None:
        """Tell of an error that came in place of rows."""
        keys = set(cast("dict[str, Any]", row)) if isinstance(row, dict) else set[str]()
        if keys & _ERRORS and keys <= _BESIDE_ERRORS and any(cast("Any", row)[key] for key in keys & _ERRORS):
            raise FormatError(f"an error came in place of rows{self._said(json.dumps(row))}")

    def _blocks(self, stream: BinaryIO) -> Iterator[bytes]:
        """Whole lines in UTF-8, some megabytes at once."""
        encoding = self._encoding(_head(stream))
        read: Callable[[], bytes]
        text: io.TextIOWrapper | None = None
        if encoding == "utf-8-sig":
            stream.seek(3 if stream.read(3) == b"\xef\xbb\xbf" else 0)
            read = partial(stream.read, DOCUMENT)
        else:
            text = io.TextIOWrapper(stream, encoding, newline="")
            read = partial(_recoded, text)
        rest = b""
        try:
            while block := read():
                block = rest + block
                end = block.rfind(b"\n") + 1
                if not end and len(block) > LONGEST_ROW:
                    raise FormatError(f"a line is longer than {LONGEST_ROW:,} bytes")
                if end:
                    yield block[:end]
                rest = block[end:]
            if rest:
                yield rest
        finally:
            if text:
                _let_go(text)

    def _csv(self, stream: BinaryIO) -> Iterator[tuple[Any, int]]:
        text = io.TextIOWrapper(stream, self._encoding(_head(stream)), newline="")
        try:
            yield from CsvTable(
                text,
                self._response.csv or Csv(),
                required=self.how.required,
                is_cut=self.is_sample,
                shows=self._shows,
            ).documents()
        finally:
            _let_go(text)

    def _encoding(self, head: bytes) -> str:
        shown = json.detect_encoding(head)
        if shown == "utf-8":
            shown = self._charset
        return "utf-8-sig" if shown.lower().replace("_", "-") in ("utf-8", "utf8") else shown

    def _said(self, text: str) -> str:
        return begins(text, shows=self._shows)


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(4)
    stream.seek(0)
    return head


def _let_go(text: io.TextIOWrapper) -> None:
    """Leave what is below open, as others read it too; it may be closed already."""
    with suppress(ValueError):
        text.detach()


def _recoded(text: io.TextIOWrapper) -> bytes:
    return text.read(DOCUMENT).encode("utf-8", "surrogatepass")
