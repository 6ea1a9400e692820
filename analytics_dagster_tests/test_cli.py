"""The command line as such: its manual, its quick commands, and one clear message for bad input."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, start, write_api

COMMANDS = [
    *(
        "demo",
        "sandbox",
        "schema",
        "init",
        "catalog",
        "validate",
        "check",
        "preview",
        "load",
        "state",
        "reset",
    ),
]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_is_the_manual(cli: Cli, command: list[str]) -> None:
    shown = cli(*command, "--help")
    assert shown.code == 0
    assert f"Usage: analytics-dagster {' '.join(command)}".rstrip() in shown.out
    assert "Exit codes: 0" in shown.out
    assert f"Example: analytics-dagster {' '.join(command) or 'demo'}" in shown.out
    assert "completion" not in shown.out


def test_commands_that_need_neither_dagster_nor_dlt_do_not_import_them() -> None:
    code = (
        "import sys\nfrom analytics_dagster.cli import main\n"
        "for arguments in (['--help'], ['load', '--help'], ['schema'], ['validate'], ['catalog']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as done: assert not done.code, arguments\n"
        "print('imported:', {'dagster', 'dlt', 'duckdb'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("imported: set()\n")


def test_schema_is_json_that_names_the_keys(cli: Cli) -> None:
    schema = json.loads(cli("schema").out)
    assert {"client", "resources", "resource_defaults"} <= schema["properties"].keys()


def test_validate_checks_the_files_in_use(cli: Cli) -> None:
    assert "sandbox.yaml: ok, 3 resources\n" in cli("validate").out
    write_api(FILE.format(url="https://a.example"))
    assert cli("validate").out == cli("validate", "acme").out == "apis/acme.yaml: ok, 2 resources\n"
    assert "nothing: the file cannot be read" in cli("validate", "nothing").err


def test_validate_tells_all_problems_of_all_files(cli: Cli) -> None:
    one = write_api("clint: {base_url: https://a.example}\nresources: []\n", "one")
    two = write_api(
        "client: {base_url: a.example}\nresources: [{name: x, write_disposition: replace}]\n", "two"
    )
    done = cli("validate", str(one), str(two))
    assert (done.code, done.out) == (1, "")
    assert "apis/one.yaml:1: clint: unknown key; did you mean `client`?" in done.err
    assert "apis/two.yaml:1: client.base_url:" in done.err


def test_a_destination_that_cannot_keep_what_is_promised_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_api(FILE.format(url="http://127.0.0.1:1") + "retry: {max_retries: 0}\n")
    monkeypatch.setenv("ANALYTICS_DESTINATION", "clickhouse")
    monkeypatch.setenv("ACME_KEY", "a-key")
    done = cli("validate")
    assert (done.code, done.out) == (1, "")
    assert "apis/acme.yaml:" in done.err
    assert "`clickhouse` has no transactions" in done.err
    assert done.err in cli("load", "acme").err  # by the code location, before any run
    assert "✗ resource `users`: a full refresh keeps" in cli("check", "acme").out


def test_sandbox_says_how_to_ask_it_and_serves_until_ctrl_c() -> None:
    served = start("sandbox", "--port", "0", "--events", "12")
    assert served.stdout
    curl = next(line for line in served.stdout if line.startswith("curl "))
    _, _, header, url = shlex.split(curl)
    name, key = header.split(": ")
    with urlopen(Request(url, headers={name: key})) as answer:
        assert json.load(answer)["total"] == 12
    served.send_signal(signal.SIGINT)
    assert served.communicate(timeout=60)[1] == ""
    assert served.returncode == 0


def test_a_wrong_command_line_is_explained(cli: Cli) -> None:
    done = cli("load")
    assert done.code == 1
    assert "Missing argument 'API'" in done.err


def test_a_traceback_is_shown_only_when_asked_for(cli: Cli) -> None:
    assert "Traceback" not in cli("check", "nothing").err
    assert "Traceback" in cli("--verbose", "check", "nothing").err


FILE = """\
client:
  base_url: {url}
  auth: {{type: api_key, name: X-API-Key, api_key: "${{ACME_KEY}}", location: header}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint:
    data_selector: data
    paginator: {{type: offset, limit: 100}}
resources:
  - name: users
    write_disposition: replace
    endpoint: {{path: /v1/users}}
  - name: events
    endpoint:
      path: /v1/events
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: 2024-01-01}}
"""
EVENTS = ["load", "acme", "--resource", "events"]
BAD_FILES = {
    "unknown key": ("primary_key: id", "primary_keys: id", "did you mean `primary_key`?"),
    "wrong type": ("limit: 100", "limit: many", "expected a whole number"),
    "not YAML": ("resources:", "resources: [", "apis/acme.yaml:"),
    "duplicate names": ("name: events", "name: users", "users"),
    "forbidden combination": (
        "partitions: {every: day, start: 2024-01-01}",
        "partitions: {every: day, start: 2024-01-01}\n    write_disposition: replace",
        "replace",
    ),
    "no scheme": ("http://", "", "base_url"),
    "start inside a window": (
        "start: 2024-01-01",
        "start: 2024-01-01T05:00:00",
        "expected the start of a day",
    ),
}
BAD_REQUESTS = {
    "no such API": (["load", "acne"], "there is no API `acne` in apis; did you mean `acme`?"),
    "no such resource": (
        ["load", "acme", "-r", "event"],
        "there is no resource `event` in apis/acme.yaml; did you mean `events`?",
    ),
    "before start": (
        [*EVENTS, "--from", "2023-12-31", "--to", "2024-01-02"],
        "`events`: --from 2023-12-31 is before the first window, which starts at 2024-01-01",
    ),
    "in the future": ([*EVENTS, "--to", "2999-01-01"], "--to 2999-01-01 is in the future"),
    "inside a window": (
        [*EVENTS, "--from", "2024-01-05T06:00"],
        "The nearest start at 2024-01-05 and 2024-01-06",
    ),
    "no time": ([*EVENTS, "--from", "yesterday"], "--from: expected a date or time such as 2024-01-01"),
    "no windows": (
        ["load", "acme", "-r", "users", "--from", "2024-01-01"],
        "`users` has none in apis/acme.yaml",
    ),
    "refresh of a range": ([*EVENTS, "--full-refresh", "--from", "2024-01-01"], "leave out --from and --to"),
    "partition before start": (
        ["preview", "acme", "events", "--partition", "2023-12-31"],
        "before the first one",
    ),
    "partition to come": (["preview", "acme", "events", "--partition", "2999-01-01"], "is not over yet"),
}


def assert_refused(cli: Cli, arguments: list[str], message: str) -> None:
    """One message and exit code 1; nothing is written."""
    done = cli(*arguments)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(Path().glob("*.duckdb"))


@pytest.mark.parametrize("problem", BAD_FILES)
def test_a_mistake_in_a_file_is_told_with_its_line_and_nothing_is_asked(
    cli: Cli, sandbox: RunningSandbox, problem: str
) -> None:
    written, wrong, message = BAD_FILES[problem]
    text = FILE.format(url=sandbox.url)
    assert written in text
    write_api(text.replace(written, wrong, 1))
    for arguments in (["validate"], ["check", "acme"], ["load", "acme"]):
        assert_refused(cli, arguments, "apis/acme.yaml:")
        assert message in cli(*arguments).err
    assert not sandbox.requests.list("/")


@pytest.mark.parametrize("problem", BAD_REQUESTS)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(
    cli: Cli, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    monkeypatch.setenv("ACME_KEY", sandbox.settings.api_key)
    write_api(FILE.format(url=sandbox.url))
    assert_refused(cli, *BAD_REQUESTS[problem])
    assert not sandbox.requests.list("/")


@pytest.mark.parametrize("arguments", [["load", "acme"], ["check", "acme"], ["preview", "acme", "users"]])
def test_a_missing_secret_is_named_once_with_its_file(
    cli: Cli, sandbox: RunningSandbox, arguments: list[str]
) -> None:
    write_api(FILE.format(url=sandbox.url))
    assert_refused(cli, arguments, "apis/acme.yaml: no value for ${ACME_KEY}.")
    assert cli(*arguments).err.count("ACME_KEY") == 1


def test_a_cursor_that_rows_do_not_have_is_named_with_the_fields_that_they_have(
    cli: Cli, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", sandbox.settings.api_key)
    write_api(FILE.format(url=sandbox.url).replace("cursor_path: created_at", "cursor_path: made_at"))
    done = cli(*EVENTS, "--from", "2024-01-01", "--to", "2024-01-02")
    assert done.code == 1
    assert "The cursor `made_at` is not in a row. Its fields are: id, created_at" in done.err
    assert sandbox.settings.api_key not in done.err + done.out
    assert not list(Path().glob("analytics.duckdb*"))
