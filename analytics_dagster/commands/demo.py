"""`demo`: the sample API through Dagster into DuckDB, from start to end, with nothing set up before."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from analytics_dagster.commands.choice import find_resource
from analytics_dagster.commands.load import finish, plan_runs
from analytics_dagster.commands.report import cell, from_here, reading
from analytics_dagster.commands.runs import Outcome, execute, forgetful_instance
from analytics_dagster.commands.terminal import standard_error, standard_output, table
from analytics_dagster.loading.destination import Destination
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.sample import FILES, variables_of
from analytics_dagster.sandbox import Fault, running_sandbox
from analytics_dagster.spec import ApiFile, find_files, read_files

_COLUMNS = ("id", "created_at", "name", "user_id", "duration_ms")
_FIRST_FILE = """\
  # apis/example.yaml
  client:
    base_url: https://api.example.com
    auth: {type: bearer, token: "${EXAMPLE_TOKEN}"}
  resources:
    - name: users
      primary_key: id
      write_disposition: merge
      endpoint: {path: /v1/users, data_selector: data, paginator: {type: offset, limit: 100}}"""


def demo() -> None:
    """Serve the sample API, load January 2024 of it, and show what arrived.

    Raises:
        CommandError: If something failed; it says why.
    """
    console = standard_output()
    outcomes: list[Outcome] = []
    with running_sandbox() as sandbox, _environment(variables_of(sandbox)):
        console.print(f"The sample API answers at {sandbox.url}. Dagster loads it now.")
        console.print("Its first answer is 503, on purpose; the request is tried again.")
        sandbox.faults.add(Fault(kind="status", status=503, retry_after="0.5", match="/v1/users"))
        files = {file.api.name: file for file in read_files(find_files([FILES]))}
        main, oauth2 = files["sandbox"], files["sandbox_oauth2"]
        planned = [
            run
            for file, names, month in (
                (main, ["users", "orders"], (None, None)),
                (main, ["events"], ("2024-01-01", "2024-02-01")),
                (oauth2, ["sessions"], ("2024-01-01", "2024-02-01")),
            )
            for run in plan_runs(file, [find_resource(file, name) for name in names], *month)[0]
        ]
        definitions = build_defs(files.values())
        with forgetful_instance() as instance:
            for run in planned:
                outcomes += execute(run, definitions, instance, standard_error())
    console.print()
    finish(outcomes, console)
    _show_rows(console, main)
    _show_next(console)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _show_rows(console: Console, file: ApiFile) -> None:
    destination = Destination.from_environment()
    with reading(destination, file, find_resource(file, "events")) as (client, name):
        columns = ", ".join(client.escape_column_name(column) for column in _COLUMNS)
        query = f"SELECT {columns} FROM {name} ORDER BY created_at, id LIMIT 3"  # noqa: S608 - quoted names
        rows = client.execute_sql(query) or []
        shown = table(*_COLUMNS)
        for row in rows:
            shown.add_row(*(escape(cell(value, 32)) for value in row))
        if destination.type == "duckdb":
            place = from_here(destination.duckdb_path())
        else:
            place = f"the {destination.type} destination"
        console.print(escape(f"\nThree rows of {file.api.name}.events in {place}:"), soft_wrap=True)
        console.print(shown)


def _show_next(console: Console) -> None:
    tools = from_here(Path(sys.executable).parent)
    project = "" if Path("workspace.yaml").exists() else " -m analytics_dagster.definitions"
    console.print(
        escape(
            "\nNext: see the same assets in Dagster's UI, at http://localhost:3000\n"
            f"  {tools}/dagster dev{project}\n"
            "or write a first API file of your own (files in ./apis take the place of the sample's)\n"
            f"{_FIRST_FILE}\n"
            "and try it\n"
            f"  {tools}/analytics-dagster check example\n"
            f"  {tools}/analytics-dagster load example"
        ),
        soft_wrap=True,
    )
