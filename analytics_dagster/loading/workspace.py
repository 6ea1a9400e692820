"""Working directories that belong to one load alone, and the tidying up after loads that died."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


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
