"""The scratch destination of one resource, and what a load left in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from dlt.common.schema import Schema

from analytics_dagster.certifying.quota import Requests
from analytics_dagster.certifying.verdicts import NotApplicable
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import LoadResult, prepare_load, until_stable
from analytics_dagster.spec import ApiFile, Resource, Window


class Scratch:
    """A DuckDB file for the loads of one resource.

    Args:
        file: The API file.
        resource: The resource.
        requests: The budget.
        directory: For the file; nobody else uses it.
        values: Values for the file's templates that come before the environment.

    Attributes:
        schema: dlt's, after a load.
        state: dlt's, as a text, after a load.
    """

    schema: Schema
    state: str

    def __init__(
        self,
        file: ApiFile,
        resource: Resource,
        requests: Requests,
        directory: Path,
        values: Mapping[str, str] | None,
    ) -> None:
        self.destination = Destination("duckdb", str(directory / f"{resource.name}.duckdb"))
        self._file = file
        self._resource = resource
        self._requests = requests
        self._values = values

    @property
    def table(self) -> str:
        """The table; to be asked after a load.

        Raises:
            NotApplicable: If the load made none.
        """
        name = self.schema.naming.normalize_tables_path(self._resource.table_name or self._resource.name)
        if name not in self.schema.tables:
            raise NotApplicable("the load stored no row")
        return name

    def load(self, windows: Sequence[Window]) -> LoadResult:
        """Load windows, or everything where there are none.

        Raises:
            LoadError: If that fails.
        """

        def once() -> LoadResult:
            with prepare_load(
                self._file,
                self._resource.name,
                windows,
                self.destination,
                values=self._values,
                on_change=self._requests.watch(),
            ) as prepared:
                prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
                self.schema = prepared.pipeline.default_schema
                self.state = json.dumps(prepared.pipeline.state, default=str)
                return prepared.result()

        return until_stable(once)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query of the file finds."""
        with duckdb.connect(str(self.destination.duckdb_path()), read_only=True) as connection:
            return connection.execute(sql).fetchall()
