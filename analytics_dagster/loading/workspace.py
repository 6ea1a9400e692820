"""Working directories that belong to one load alone, and the tidying up after loads that died."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock, Timeout

from analytics_dagster.loading.cursor import PageStep
from analytics_dagster.reading.errors import LoadError

_KEPT_FREE = 10**9  # bytes, or a twentieth of a small disk


def root() -> Path:
    """The directory for what loads need while they go on; one for each user."""
    path = Path(tempfile.gettempdir()) / f"analytics_dagster-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextmanager
def private_directory() -> Generator[Path]:
    """A new directory that no other load uses, removed at the end.

    A lock marks it as alive; directories whose lock nobody holds belong to loads that died, and go too.
    """
    _sweep(root())
    directory = Path(tempfile.mkdtemp(prefix="load-", dir=root()))
    lock = FileLock(directory.with_suffix(".lock"))
    try:
        with lock:
            try:
                yield directory
            finally:
                shutil.rmtree(directory, ignore_errors=True)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)


class EnoughDisk(PageStep):
    """Fails before pages that do not end fill the disk, on which other programs count too.

    Args:
        directory: Where dlt collects the rows.

    Raises:
        LoadError: If there is little room left.
    """

    placement_affinity: ClassVar[float] = 4

    def __init__(self, directory: Path) -> None:
        super().__init__(self._rows)
        self._directory = directory

    def _rows(self, page: list[Any]) -> list[Any]:
        disk = shutil.disk_usage(self._directory)
        if disk.free < min(_KEPT_FREE, disk.total // 20):
            raise LoadError(disk_full(self._directory))
        return page


def disk_full(place: Path | str) -> str:
    """What to say where there is no room for a file or in a directory."""
    return (
        f"The disk of {place} is nearly full, so the load was given up; the rows that it had read are thrown"
        " away. Free some space, set TMPDIR to a larger disk, or load smaller windows. If the rows are more"
        " than the API has, check the paginator."
    )


def _sweep(place: Path) -> None:
    for path in place.glob("load-*.lock"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        lock.release()
        path.unlink(missing_ok=True)
