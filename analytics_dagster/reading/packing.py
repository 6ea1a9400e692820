"""How a spooled body is packed: the streams that are in it, and what is wrong with them."""

from __future__ import annotations

import fnmatch
import gzip
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from analytics_dagster.spec.response import ResponseFormat

_SHOWN = 80  # characters
# zipfile says so of ways to compress and encrypt that it does not know, too.
_DAMAGED = (zipfile.BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError)


class FormatError(ValueError):
    """A body is not what the file's `response` says; the message names the first place that is not."""


class Packed:
    """A body and what it is packed in.

    Args:
        file: The body.
        response: How it should be packed.
        is_unpacked: Whether HTTP has unpacked a gzip already.
        shows: Whether messages may show what is in the body.
    """

    def __init__(self, file: BinaryIO, response: ResponseFormat, *, is_unpacked: bool, shows: bool) -> None:
        self._file = file
        self._response = response
        self._is_unpacked = is_unpacked
        self._shows = shows

    def members(self) -> Iterator[tuple[str | None, BinaryIO]]:
        """The streams to read, unpacked, and the names of those in a ZIP.

        Raises:
            FormatError: If the body is packed in another way.
        """
        if not self._response.is_zip:
            self._file.seek(0)
            with place(None, shows=self._shows), self._gunzipped(self._file) as stream:
                yield None, stream
            return
        with place(None, shows=self._shows):
            archive = zipfile.ZipFile(self._file)
        with archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            pattern = self._response.members
            wanted = [info for info in files if fnmatch.fnmatchcase(info.filename, pattern or "*")]
            if files and not wanted:
                there = ", ".join(info.filename for info in files[:5])
                raise FormatError(f"the ZIP has no file like response.members `{pattern}`; it has {there}")
            for info in wanted:
                if pattern is None and info.filename.startswith("__MACOSX/"):
                    continue
                with (
                    place(info.filename, shows=self._shows),
                    archive.open(info) as packed,
                    self._gunzipped(cast("BinaryIO", packed)) as stream,
                ):
                    yield info.filename, stream

    @contextmanager
    def _gunzipped(self, stream: BinaryIO) -> Generator[BinaryIO]:
        if not self._response.is_gzip:
            yield stream
            return
        magic = stream.read(2)
        stream.seek(0)
        if magic == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield cast("BinaryIO", unpacked)
        elif self._is_unpacked and not self._response.is_zip:
            yield stream
        else:
            raise FormatError(f"it is no gzip{begins(repr(stream.read(_SHOWN)), shows=self._shows)}")


def begins(text: str, *, shows: bool) -> str:
    """How something begins, for the end of a message; nothing where it may not be shown."""
    if not shows:
        return ""
    text = " ".join(text.split())
    return f": {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"


@contextmanager
def place(name: str | None, *, shows: bool) -> Generator[None]:
    """Say where something is wrong, and in words for people what the libraries raise.

    Args:
        name: The file in a ZIP; None for the body as a whole.
        shows: Whether messages may show what is in it.

    Raises:
        FormatError: In place of what libraries raise.
    """
    where = "" if name is None else f"in its file `{name}`, "
    problem: ValueError
    try:
        yield
    except UnicodeDecodeError as error:
        problem = FormatError(
            f"{where}byte {error.object[error.start : error.start + 1]!r} is not in the encoding"
            f" {error.encoding}; write response.encoding"
        )
    except FormatError as error:
        problem = error if str(error).startswith("in its file") else FormatError(f"{where}{error}")
    except ValueError as error:
        problem = FormatError(f"{where}{error}")
    except RecursionError:
        problem = FormatError(f"{where}it is nested too deeply")
    except _DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        problem = FormatError(f"{where}the packed data are cut or damaged: {said if shows else ''}")
    else:
        return
    raise problem
