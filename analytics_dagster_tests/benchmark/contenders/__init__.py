"""Those who load the same rows, each in a module of its own, as its users would write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Job:
    """What to load: `/events` of `url`, in pages of `page_size`, into the table `benchmark.events`.

    With `paging` by cursor, it is the window of 2024-01-01 of `/feed`.

    `shape` is a `Shape` of the data; `to` is a DuckDB file, or the connection string of a PostgreSQL
    database.
    """

    url: str
    page_size: int
    shape: Literal["flat", "nested", "json"]
    destination: Literal["duckdb", "postgres"]
    to: str
    paging: Literal["offset", "cursor"] = "offset"
