"""What people type: parses, calls, prints. Dagster and dlt are imported by the commands that need them."""

# ruff: noqa: PLC0415 - so that --help, schema and validate answer at once

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from analytics_dagster.commands.terminal import CommandError, standard_error, warnings_shown
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFileError

_verbose = False


class _Group(typer.core.TyperGroup):
    """Says that a command was interrupted; typer would say nothing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell("Interrupted. What was committed stays; nothing is left half written.")
            raise typer.Exit(130) from None


def _tell(message: str) -> None:
    if _verbose:
        traceback.print_exc()
    standard_error().print(message, style="red", markup=False, soft_wrap=True)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

ApiName = Annotated[str, typer.Argument(metavar="API", help="The API's name: that of its file, mostly.")]
ResourceNames = Annotated[
    list[str] | None,
    typer.Option("--resource", "-r", metavar="NAME", help="Only this resource; may be repeated."),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="The first window's start: a date or an ISO 8601 time."),
]
To = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="The last window's end, itself not included.")
]


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show a traceback when a command fails.")
    ] = False,
) -> None:
    """Analytics data from REST APIs into a warehouse: one YAML file per API, loaded by dlt, run by Dagster.

    API files are those of the directories in `ANALYTICS_APIS`, else of `./apis`, else the package's own
    sample API. Rows go to `analytics.duckdb` here, or where `ANALYTICS_DESTINATION` says.

    Exit codes: 0 it worked; 1 it did not, and a message says why; 130 interrupted with Ctrl-C.

    Example: `analytics-dagster demo`
    """
    global _verbose  # noqa: PLW0603 - one process, one command line
    _verbose = verbose


@app.command()
def demo() -> None:
    """Load a sample API into DuckDB, through Dagster, in under a minute.

    Serves the sample API on a free port, loads a full refresh, a month of daily windows in one run and a
    resource behind OAuth2, and shows what each took and what arrived. Run again, it leaves the same rows.

    Exit codes: 0 all loaded; 1 something failed.

    Example: `analytics-dagster demo`
    """
    from analytics_dagster.commands.demo import demo as run_demo

    run_demo()


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for a free one.", min=0, max=65535)] = 8000,
    seed: Annotated[int, typer.Option(help="Equal seeds serve equal rows.")] = 7,
    users: Annotated[int, typer.Option(help="Rows of users.", min=0)] = 500,
    events: Annotated[int, typer.Option(help="Rows of events.", min=0)] = 3_000,
    sessions: Annotated[int, typer.Option(help="Rows of sessions.", min=0)] = 1_000,
    orders: Annotated[int, typer.Option(help="Rows of orders.", min=0)] = 600,
    days: Annotated[int, typer.Option(help="Days from 2024-01-01 on that the rows are of.", min=1)] = 31,
    latency: Annotated[float, typer.Option(help="Seconds that every answer is held back.", min=0)] = 0,
) -> None:
    """Serve the sample API until Ctrl-C, to try API files and this tool against.

    Prints its address, its credentials, and a request to begin with.

    Exit codes: 0 it was ended; 1 the port is taken.

    Example: `analytics-dagster sandbox --port 8000 --events 100000`
    """
    from analytics_dagster.commands.sandbox import serve_sandbox
    from analytics_dagster.sandbox import SandboxSettings

    settings = SandboxSettings(
        seed=seed, users=users, events=events, sessions=sessions, orders=orders, days=days, latency=latency
    )
    serve_sandbox(host, port, settings)


@app.command()
def schema() -> None:
    """Print the JSON Schema of API files, by which an editor completes and checks them.

    Exit codes: 0.

    Example: `analytics-dagster schema > api.schema.json`, and as the first line of a file in `apis/`:
    `# yaml-language-server: $schema=../api.schema.json`
    """
    from analytics_dagster.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


catalog_app = typer.Typer(cls=_Group, invoke_without_command=True, rich_markup_mode="markdown")
app.add_typer(catalog_app, name="catalog")


@catalog_app.callback()
def catalog(context: typer.Context) -> None:
    """List ready API files for known analytics vendors; `catalog add NAME` copies one, to be yours.

    Says of each what it loads, how it authenticates, and which variables it needs.

    Exit codes: 0 it worked; 1 it did not.

    Example: `analytics-dagster catalog`
    """
    if context.invoked_subcommand is None:
        from analytics_dagster.commands.catalog import list_catalog

        list_catalog()


@catalog_app.command("add")
def catalog_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name in the catalog.")],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to; by default the first of `ANALYTICS_APIS`, else `./apis`."
        ),
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
) -> None:
    """Copy a file of the catalog to your API files, and say which variables to set.

    Exit codes: 0 it was copied; 1 a file is there already, or the catalog has none of this name.

    Example: `analytics-dagster catalog add ga4`
    """
    from analytics_dagster.commands.catalog import add

    add(name, to, overwrite=force)


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How the API is to be called.")],
    openapi: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="Its OpenAPI (3.0, 3.1) or Swagger (2.0) document."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Where the API is.")] = None,
    auth: Annotated[
        str | None, typer.Option(metavar="KIND", help="none, bearer, api_key, http_basic or oauth2.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="The path of a first resource, without a document.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only resources of this name or path; may be repeated."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Where history begins; by default January 1st of last year."),
    ] = None,
    *,
    probe: Annotated[
        bool | None,
        typer.Option("--probe/--no-probe", help="Whether to send one request and look at the answer."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a first API file, `apis/NAME.yaml`, with each guess and its reason as a comment.

    With an OpenAPI document: authentication, and for each list that can be read its rows, pages, key, parents
    and filter by time. Without one, it asks a few questions, and can look at one answer of the API. `check`
    says then which guesses hold.

    Exit codes: 0 the file is written, and valid; 1 it is not.

    Example: `analytics-dagster init example --openapi https://api.example.com/openapi.json --only 'user*'`
    """
    from analytics_dagster.commands.init import init_api

    init_api(
        name,
        openapi=openapi,
        base_url=base_url,
        auth=auth,
        path=path,
        only=only or [],
        start=start,
        probe=probe,
        force=force,
    )


@app.command()
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="API files or their names; by default all."),
    ] = None,
) -> None:
    """Check API files without asking any API: all mistakes of all files, each with its line and remedy.

    Exit codes: 0 all are right; 1 some are not.

    Example: `analytics-dagster validate apis/example.yaml`
    """
    from analytics_dagster.commands.choice import files_of
    from analytics_dagster.spec import read_files

    checked = read_files(files_of(files or []))
    destination = os.environ.get("ANALYTICS_DESTINATION")
    if destination and destination not in {"duckdb", "postgres"}:
        from analytics_dagster.loading.promises import unkept  # needs dlt

        if problems := unkept(checked, destination):
            raise ApiFileError(problems)
    for file in checked:
        count = len(file.api.resources)
        typer.echo(f"{file.path}: ok, {count} resource{'s' * (count != 1)}")


@app.command()
def check(api: ApiName, resource: ResourceNames = None) -> None:
    """Ask an API for two pages of each resource, and say what works and what does not. Writes nothing.

    Looks at credentials, `data_selector`, rows, primary key, cursor, total and second page, and with one more
    request at whether the API keeps to bounds of time. With partitions it asks for the last window that is
    over, and for the first one if that is empty.

    Exit codes: 0 all works; 1 something does not.

    Example: `analytics-dagster check example --resource users`
    """
    from analytics_dagster.commands.check import check_api

    check_api(api, resource or [])


@app.command()
def certify(
    api: ApiName,
    resource: ResourceNames = None,
    requests: Annotated[int, typer.Option(help="How many requests to send at most.", min=1)] = 400,
    report: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the verdicts there, too.")
    ] = None,
) -> None:
    """Hold an API against its file, by the black-box checks of acceptance suites and more. Only reads.

    Looks at credentials, keys, types, what bounds of windows mean, whether windows and pages add up, cursors,
    clock changes, and a load into a scratch destination; it never touches yours. What the budget of requests
    does not allow for is told as not reached.

    Exit codes: 0 no check failed; 1 one did.

    Example: `analytics-dagster certify example --resource events --requests 200`
    """
    from analytics_dagster.commands.certify import certify_api

    certify_api(api, resource or [], requests, report)


@app.command()
def preview(
    api: ApiName,
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="The resource's name.")],
    rows: Annotated[int, typer.Option(help="How many rows.", min=1, max=1_000)] = 3,
    partition: Annotated[
        str | None, typer.Option(metavar="KEY", help="The partition to read, such as 2024-01-31.")
    ] = None,
    start: From = None,
    end: To = None,
) -> None:
    """Show rows of a resource, and the columns and types that they would be loaded with. Writes nothing.

    With partitions, and without `--partition`, `--from` or `--to`: the last window that is over, or the
    first one if that is empty.

    Exit codes: 0 rows were read; 1 something is wrong.

    Example: `analytics-dagster preview sandbox events --partition 2024-01-05`
    """
    from analytics_dagster.commands.preview import preview as show_preview

    show_preview(api, resource, rows, partition, start, end)


@app.command()
def load(
    api: ApiName,
    resource: ResourceNames = None,
    start: From = None,
    end: To = None,
    *,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Load everything anew; of partitions, all that are over.")
    ] = False,
) -> None:
    """Load an API now: the same assets as in Dagster's UI, in one run for each job.

    The runs are recorded in the instance of `DAGSTER_HOME`, if that is set. Without `--from` and `--to`,
    resources with partitions load the last window that is over, and the `lookback` before it. Ctrl-C leaves
    the destination whole.

    Exit codes: 0 all loaded; 1 something failed; 130 interrupted.

    Example: `analytics-dagster load sandbox --resource events --from 2024-01-01 --to 2024-02-01`
    """
    from analytics_dagster.commands.load import load_api

    load_api(api, resource or [], start, end, full_refresh=full_refresh)


@app.command()
def verify(api: ApiName, resource: ResourceNames = None, start: From = None, end: To = None) -> None:
    """Read an API again and compare it with the destination, row by row. Writes nothing there.

    Tells the rows that are missing, extra or different, and of the first few what differs. All windows that
    are over are compared, or those from `--from` up to `--to`; of resources without partitions everything,
    or where they have a cursor the rows of that time. Rows that changed at the API since they were loaded
    differ, too; rows that the API deleted are extra, also where the file has them stay.

    Exit codes: 0 all is equal; 1 something differs, or could not be read.

    Example: `analytics-dagster verify sandbox --resource events --from 2024-01-01 --to 2024-02-01`
    """
    from analytics_dagster.commands.verify import verify_api

    verify_api(api, resource or [], start, end)


@app.command()
def state(
    api: ApiName,
    resource: Annotated[
        str | None, typer.Option("--resource", "-r", metavar="NAME", help="Only this resource.")
    ] = None,
    moved_to: Annotated[
        str | None,
        typer.Option("--set", metavar="T", help="Move the stored cursor: an ISO 8601 time, or a number."),
    ] = None,
    *,
    accept: Annotated[
        bool, typer.Option("--accept", help="Keep the stored rows, though the file was changed since.")
    ] = False,
) -> None:
    """Show what is stored of each resource: table, rows, cursor; and what the file no longer has.

    A load that would damage stored rows, because their primary key, cursor, `data_selector` or partitions
    were changed in the file, is refused. `--accept` says that the rows are right all the same.

    Exit codes: 0 it worked; 1 it did not.

    Example: `analytics-dagster state example --resource orders --set 2024-01-31T12:00:00Z`
    """
    from analytics_dagster.commands.state import show_state

    show_state(api, resource, moved_to, accepted=accept)


@app.command()
def reset(
    api: ApiName,
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="The resource; it may be gone from the file.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Drop tables, stored cursor and partition status of a resource, so that it starts from nothing.

    Shows what it will do, and asks. Partition status is that in the instance of `DAGSTER_HOME`, if set.

    Exit codes: 0 it was reset, or nothing was stored; 1 it was not.

    Example: `analytics-dagster reset example orders`
    """
    from analytics_dagster.commands.reset import reset_resource

    reset_resource(api, resource, confirmed=yes)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit.

    Args:
        arguments: By default those of the process.
    """
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")  # of dlt; what matters is told by ourselves
    try:
        with warnings_shown():
            app(arguments, prog_name="analytics-dagster")
    except SystemExit as done:
        # A wrong command line is a failure like any other, and those exit with 1.
        sys.exit(1 if done.code == 2 else done.code)
    except (ApiFileError, CommandError, LoadError, OSError) as error:
        _tell(str(error))
    except Exception as error:  # noqa: BLE001 - a traceback is for those who ask for it
        _tell(f"{type(error).__name__}: {error}\nThis should not happen; --verbose shows where it did.")
    sys.exit(1)
