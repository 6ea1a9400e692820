"""Working directories that belong to one load alone, and the tidying up after loads that died."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def _root() -> Path:
    return Path(tempfile.gettempdir()) / "analytics_dagster"


@contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory that no other load uses, removed at the end.

    A lock marks it as alive; directories whose lock nobody holds belong to loads that died, and go too.
    """
    root = _root()
    root.mkdir(mode=0o700, exist_ok=True)
    _sweep(root)
    directory = Path(tempfile.mkdtemp(prefix="load-", dir=root))
    lock = FileLock(directory.with_suffix(".lock"))
    with lock:
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    Path(lock.lock_file).unlink(missing_ok=True)


def _sweep(root: Path) -> None:
    for path in root.glob("load-*.lock"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        lock.release()
        path.unlink(missing_ok=True)
