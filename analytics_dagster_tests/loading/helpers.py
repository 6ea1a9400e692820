"""API files and destinations for the tests of `loading`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from textwrap import dedent, indent
from typing import Any

import duckdb
import psycopg2

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import LoadResult, load
from analytics_dagster.loading.turns import turn_number
from analytics_dagster.sandbox import SandboxSettings
from analytics_dagster.spec import ApiFile, Window, parse_text

SMALL = SandboxSettings(users=40, events=900, sessions=60, orders=30, days=5)
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' ORDER BY 1"


@dataclass(frozen=True)
class Store:
    """A destination, and the name that a test's API (so its dataset) has there."""

    destination: Destination
    api: str

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query, in which `{}` stands for the dataset."""
        assert self.destination.credentials is not None
        sql = sql.replace("{}", self.api)
        if self.destination.type == "duckdb":
            with duckdb.connect(self.destination.credentials, read_only=True) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                return connection.execute(sql).fetchall()
        connection = psycopg2.connect(self.destination.credentials)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def staged(self, table: str) -> list[str]:
        """The datasets with staged rows of a table; others may use the same server."""
        prefix = f"_staging_{turn_number(f'{self.api}.{table}'):016x}_"
        datasets = "SELECT schema_name FROM information_schema.schemata"
        return [name for (name,) in self.fetch(datasets) if name.startswith(prefix)]

    def ids(self, table: str) -> list[Any]:
        return [row[0] for row in self.fetch(f"SELECT id FROM {{}}.{table} ORDER BY id")]

    def versions(self, table: str) -> list[tuple[Any, ...]]:
        """What `versions` of the ground truth gives, as it is stored."""
        rows = self.fetch(f"SELECT id, name, updated_at FROM {{}}.{table}")
        return sorted((row_id, name, updated.astimezone(UTC)) for row_id, name, updated in rows)


def versions(truth: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["name"], datetime.fromisoformat(row["updated_at"])) for row in truth)


def same(sent: Any, found: Any) -> bool:
    """Whether a stored value says what was sent: numbers by value or by their digits, times by instant."""
    if isinstance(sent, str):
        if isinstance(found, datetime):
            instant = datetime.fromisoformat(sent)
            return found.astimezone(UTC) == (instant if instant.tzinfo else instant.replace(tzinfo=UTC))
        return found == sent and isinstance(found, str)
    if isinstance(sent, bool) or sent is None:
        return found is sent or (sent is not None and found == str(sent).lower())
    if isinstance(found, bool) or found is None:
        return False
    exact = Decimal(str(sent))
    return Decimal(str(found)) == exact


def sandbox_text(url: str, resource: str, name: str = "sandbox") -> str:
    """A file for the sandbox with one resource, or several: a YAML list's items."""
    head = f"""\
        name: {name}
        client:
          base_url: {url}
          auth: {{type: api_key, name: X-API-Key, api_key: sandbox-key, location: header}}
        retry: {{max_retries: 0}}
        resource_defaults:
          endpoint: {{data_selector: data, paginator: {{type: offset, limit: 100}}}}
        resources:
    """
    return dedent(head) + indent(dedent(resource).strip(), "  ") + "\n"


def sandbox_file(url: str, resource: str, name: str = "sandbox") -> ApiFile:
    return parse_text(sandbox_text(url, resource, name), f"{name}.yaml")


def day(number: int, days: int = 1) -> Window:
    """The window of the January 2024 day, or of some days from it on."""
    return Window(datetime(2024, 1, number, tzinfo=UTC), datetime(2024, 1, number + days, tzinfo=UTC))


def load_into(
    store: Store, file: ApiFile, resource: str, window: Window | None = None, **how: Any
) -> LoadResult:
    return load(file, resource, window, store.destination, **how)


def run_python(code: str, *arguments: str, **how: Any) -> subprocess.Popen[str]:
    """A Python process of its own that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


LOADING = """
    import sys, os, signal
    from analytics_dagster.loading.destination import Destination
    from analytics_dagster.loading.load import load
    from analytics_dagster.spec import read_file
    def run(resource, **how):
        return load(read_file(sys.argv[1]), resource, destination=Destination("duckdb", sys.argv[2]), **how)
"""
"""The beginning of `code` for a process with an API file and a DuckDB file as arguments."""


def hold(database: str) -> subprocess.Popen[str]:
    """A process that reads a DuckDB file, and has it open until it gets a line."""
    process = run_python(
        """
        import sys, duckdb
        connection = duckdb.connect(sys.argv[1], read_only=True)
        print("open", flush=True)
        sys.stdin.readline()
        """,
        database,
    )
    assert process.stdout
    assert process.stdout.readline() == "open\n"
    return process
