"""Room on the disk that holds answers and rows while they are read, on which other programs count too."""

from __future__ import annotations

import shutil
from pathlib import Path

from analytics_dagster.reading.errors import LoadError

_KEPT_FREE = 10**9  # bytes, or a twentieth of a small disk


def refuse_full(place: Path | str) -> None:
    """Give up before nothing is left.

    Raises:
        LoadError: If there is little room left in a directory.
    """
    disk = shutil.disk_usage(place)
    if disk.free < min(_KEPT_FREE, disk.total // 20):
        raise LoadError(disk_full(place))


def disk_full(place: Path | str) -> str:
    """What to say where there is no room for a file or in a directory."""
    return (
        f"The disk of {place} is nearly full, so the load was given up; the rows that it had read are thrown"
        " away. Free some space, set TMPDIR to a larger disk, or load smaller windows. If the rows are more"
        " than the API has, check the paginator."
    )
