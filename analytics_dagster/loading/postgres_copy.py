"""PostgreSQL's COPY of rows that come by columns, so that an empty text stays one."""

from __future__ import annotations

import csv
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.storages import FileStorage
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob


class CopiesExactly(PostgresClient):
    """dlt's client, with a job of our own for CSV files, and no indexes on rows that are staged."""

    @contextmanager
    def with_staging_dataset(self) -> Generator[Any]:
        """Inside, tables are those of staged rows; the destination's own refuse what is there twice."""
        hints, self.active_hints = self.active_hints, {}
        try:
            with super().with_staging_dataset() as client:
                yield client
        finally:
            self.active_hints = hints

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, *more: Any, **named: Any
    ) -> LoadJob:
        """What loads a file."""
        job = super().create_load_job(table, file_path, load_id, *more, **named)
        return _Copy(file_path) if isinstance(job, PostgresCsvCopyJob) else job


class _Copy(PostgresCsvCopyJob):
    """dlt's own job makes NULL of each empty text (FORCE_NULL). In Arrow's files NULL alone has no quotes."""

    def run(self) -> None:
        client: Any = self._job_client.sql_client
        table = client.make_qualified_table_name(self.load_table_name)
        with FileStorage.open_zipsafe_ro(self._file_path, "rb") as file:
            names = next(csv.reader([file.readline().decode()]))
            columns = ", ".join(map(client.escape_column_name, names))
            with client.begin_transaction(), client.native_connection.cursor() as cursor:
                cursor.copy_expert(
                    f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT CSV, NULL '', ENCODING 'utf-8')", file
                )
