"""Where rows go: the destination that the user set up, in the form that keeps a load whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import dlt
from dlt.common.destination import Destination as DltDestination

DEFAULT_FILE = "analytics.duckdb"


@dataclass(frozen=True)
class Destination:
    """A destination by dlt's name for it.

    Args:
        type: dlt's name of the destination, such as `duckdb` or `postgres`.
        credentials: A connection string or a DuckDB file; None for dlt's own settings
            (`DESTINATION__<TYPE>__CREDENTIALS`), which for DuckDB default to `analytics.duckdb` here.
    """

    type: str = "duckdb"
    credentials: str | None = None

    @classmethod
    def from_environment(cls) -> Destination:
        """The destination that `ANALYTICS_DESTINATION` names; DuckDB where it is not set."""
        return cls(os.environ.get("ANALYTICS_DESTINATION") or "duckdb")

    def duckdb_path(self) -> Path:
        """The file that DuckDB loads go to; used for DuckDB only."""
        configured = self.credentials or dlt.secrets.get("destination.duckdb.credentials") or DEFAULT_FILE
        return Path(str(configured).removeprefix("duckdb:///")).absolute()

    def open(self, staging: str) -> DltDestination:
        """dlt's destination for one load.

        Args:
            staging: The name of the dataset for staged rows; private to the load.
        """
        # The old rows of a full refresh stay until the new ones are whole.
        options = {"staging_dataset_name_layout": staging, "replace_strategy": "insert-from-staging"}
        if self.type == "duckdb":
            from analytics_dagster.loading.duckdb_file import duckdb_file

            return duckdb_file(credentials=str(self.duckdb_path()), destination_name="duckdb", **options)
        credentials = {"credentials": self.credentials} if self.credentials else {}
        return DltDestination.from_reference(self.type, **credentials, **options)
