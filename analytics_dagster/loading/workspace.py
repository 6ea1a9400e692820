"""Working directories that belong to one load alone, and the tidying up after loads that died."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from analytics_dagster.loading.cursor import PageStep
from analytics_dagster.loading.turns import locked_file
from analytics_dagster.reading.disk import refuse_full
from analytics_dagster.reading.meter import Meter

_SMALL = 10**8  # bytes of answers; a load that reads less fits into what is left


def root() -> Path:
    """The directory for what loads need while they go on; one for each user."""
    path = Path(tempfile.gettempdir()) / f"analytics_dagster-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextmanager
def private_directory() -> Generator[Path]:
    """A new directory that no other load uses, removed at the end.

    A locked file beside it marks it as alive, from before it is made until it is gone. Directories whose
    file nobody holds belong to loads that died, and go too.
    """
    _sweep(root())
    directory, lock, descriptor = _new(root())
    try:
        directory.mkdir()
        yield directory
    finally:
        _remove(directory, lock, descriptor)


class EnoughDisk(PageStep):
    """Fails before pages that do not end fill the disk, on which other programs count too.

    Args:
        directory: Where dlt collects the rows.
        meter: Knows how much was read.

    Raises:
        LoadError: If there is little room left.
    """

    placement_affinity: ClassVar[float] = 4

    def __init__(self, directory: Path, meter: Meter) -> None:
        super().__init__(self._rows)
        self._directory = directory
        self._meter = meter

    def _rows(self, page: list[Any]) -> list[Any]:
        if self._meter.bytes > _SMALL:
            refuse_full(self._directory)
        return page


def _new(place: Path) -> tuple[Path, Path, int]:
    while True:  # a sweep of another load may have just this file
        directory = place / f"load-{uuid4().hex}"
        lock = directory.with_suffix(".lock")
        descriptor = locked_file(lock)
        if descriptor is not None:
            return directory, lock, descriptor


def _sweep(place: Path) -> None:
    for lock in place.glob("load-*.lock"):
        descriptor = locked_file(lock)
        if descriptor is not None:
            _remove(lock.with_suffix(""), lock, descriptor)


def _remove(directory: Path, lock: Path, descriptor: int) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    lock.unlink(missing_ok=True)
    os.close(descriptor)
