"""How rows are staged in DuckDB and merged from there, so that each is written once and few are in memory."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dlt.common.typing import TSortOrder
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

_NUMBER = "rowid"
_FILE_NUMBER = "file_row_number"  # DuckDB's name for it in a Parquet file
_MOST_ROWS_OF_A_FILE = 2**40
_one_at_a_time = threading.Lock()


class StagedFile(DuckDbCopyJob):
    """Loads a file. A staged one by a view of it, as rows of a table would be written twice."""

    def run(self) -> None:
        """Called by dlt, in a thread for each file."""
        client = self._job_client
        if not (client.in_staging_dataset_mode and self._file_path.endswith(".parquet")):
            super().run()
            return
        with _one_at_a_time:
            self._stage(client.sql_client)

    def _stage(self, client: SqlClientBase[Any]) -> None:
        table = client.make_qualified_table_name(self.load_table_name)
        is_view = bool(
            client.execute_sql(
                "SELECT 1 FROM duckdb_views() WHERE schema_name = %s AND view_name = %s",
                client.dataset_name,
                self.load_table_name,
            )
        )
        columns = _columns(client, table)
        if is_view:
            del columns[_NUMBER]
        elif columns.keys() & {_NUMBER, _FILE_NUMBER}:
            super().run()
            return
        rows = " UNION ALL ".join(
            _rows(client, columns, file, number) for number, file in enumerate(self._kept_files())
        )
        with client.begin_transaction():
            client.execute_sql(f"DROP {'VIEW' if is_view else 'TABLE'} {table}")
            client.execute_sql(f"CREATE VIEW {table} AS {rows}")

    def _kept_files(self) -> list[Path]:
        """The files of the table so far, where they stay as long as the pipeline: dlt moves its own."""
        file = Path(self._file_path)
        _, package, _, _, pipeline, *_ = file.parents
        place = pipeline / "staged" / package.name / self.load_table_name
        place.mkdir(parents=True, exist_ok=True)
        kept = place / file.name
        if not kept.exists():
            try:
                os.link(file, kept)
            except OSError:  # a file system without links
                shutil.copyfile(file, kept)
        return sorted(place.iterdir())


def _rows(client: SqlClientBase[Any], columns: Mapping[str, str], file: Path, number: int) -> str:
    """The rows of a file as those of the table would be, by number too."""
    literal = client.capabilities.escape_literal
    assert literal is not None
    source = f"read_parquet({literal(str(file))}, {_FILE_NUMBER} = true)"
    present = _columns(client, f"(SELECT * FROM {source})")
    first = number * _MOST_ROWS_OF_A_FILE
    selected = [f"{_FILE_NUMBER} + {first} AS {_NUMBER}"]
    for name, data_type in columns.items():
        column = client.escape_column_name(name)
        selected.append(f"CAST({column if name in present else 'NULL'} AS {data_type}) AS {column}")
    return f"SELECT {', '.join(selected)} FROM {source}"


def _columns(client: SqlClientBase[Any], source: str) -> dict[str, str]:
    """The names and types of a table's or query's columns."""
    found = client.execute_sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {source})")
    return dict(cast("Any", found or ()))


class LeanMerge(SqlMergeFollowupJob):
    """dlt's merge, which numbers all staged rows to keep one a key; here those of keys that come again."""

    @classmethod
    def gen_select_from_dedup_sql(
        cls,
        table_name: str,
        primary_keys: Sequence[str],
        columns: Sequence[str],
        dedup_sort: tuple[str, TSortOrder] | None = None,
        condition: str | None = None,
        condition_columns: Sequence[str] | None = None,
        skip_dedup: bool = False,  # noqa: FBT001, FBT002 - dlt's
    ) -> str:
        """The rows to insert. Numbering all of them would hold them in memory at once."""
        sort = cast("Any", dedup_sort)
        hidden = f'"{_NUMBER}"' in map(str.lower, columns)  # by a column of that name
        if skip_dedup or hidden or len(columns) == 1:
            return super().gen_select_from_dedup_sql(
                table_name,
                primary_keys,
                columns,
                sort,
                cast("Any", condition),
                cast("Any", condition_columns),
                skip_dedup,
            )
        keys = ", ".join(primary_keys)
        again = f"SELECT {keys} FROM {table_name} GROUP BY {keys} HAVING count(*) > 1"
        sorted_by = [str(dedup_sort[0])] if dedup_sort else []
        numbered = dict.fromkeys([*primary_keys, *sorted_by, _NUMBER])
        twins = f"(SELECT {', '.join(numbered)} FROM {table_name} WHERE ({keys}) IN ({again}))"
        kept = super().gen_select_from_dedup_sql(twins, primary_keys, [_NUMBER], sort)
        return (
            f"SELECT {', '.join(columns)} FROM {table_name}"
            f" WHERE (({keys}) IN ({again}) IS NOT TRUE OR {_NUMBER} IN ({kept}))"
            f" AND ({condition or '1 = 1'})"
        )
