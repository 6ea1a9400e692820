"""`load`: what `dagster dev` would do, in a terminal; and what is left when it fails or is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE

import dagster as dg
import duckdb
import pytest

from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, start, write_api

FILE = """\
client:
  base_url: {url}/v1
  auth: {{type: api_key, name: api_key, api_key: sandbox-key, location: query}}
retry: {{max_retries: 0}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 50}}}}
resources:
  - name: users
    endpoint: {{path: users}}
  - name: orders
    endpoint:
      incremental: {{cursor_path: updated_at, initial_value: 2024-01-01, start_param: updated_after}}
  - name: events
    endpoint:
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: {start}, lookback: 2}}
"""
RANGE = ["load", "acme", "-r", "events", "--from", "2024-01-01", "--to", "2024-02-01"]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


@pytest.fixture
def api(sandbox: RunningSandbox) -> RunningSandbox:
    write_api(FILE.format(url=sandbox.url, start="2024-01-01"))
    return sandbox


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The current instance, which remembers."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as opened:
        yield opened


def ids(table: str) -> list[str]:
    with duckdb.connect("analytics.duckdb", read_only=True) as file:
        return sorted(row[0] for row in file.sql(f"SELECT id FROM acme.{table}").fetchall())


def truth(api: RunningSandbox, resource: str, **window: str) -> list[str]:
    view = api.data.view(resource, **window)
    return sorted(row["id"] for row in view.rows(0, len(view)))


def line_of(out: str, asset: str) -> list[str]:
    return next(line.split()[1:] for line in out.splitlines() if line.startswith(asset))


def test_a_range_is_one_run_of_the_job_and_loads_exactly_its_windows(
    cli: Cli, api: RunningSandbox, instance: dg.DagsterInstance
) -> None:
    done = cli("load", "acme", "--from", "2024-01-03", "--to", "2024-01-06")
    assert done.code == 0
    expected = truth(
        api, "events", created_after="2024-01-03T00:00:00Z", created_before="2024-01-06T00:00:00Z"
    )
    assert ids("events") == expected
    assert line_of(done.out, "acme/events")[:3] == ["3", str(len(expected)), str(len(expected))]
    assert "acme/users has no partitions, so --from and --to leave it out." in done.err
    assert "acme/events: reading 2024-01-04 … 2024-01-05" in done.err
    [run] = instance.get_runs()
    assert run.job_name == "acme_day"
    assert run.tags["dagster/asset_partition_range_start"] == "2024-01-03"
    assert run.tags["dagster/asset_partition_range_end"] == "2024-01-05"
    key = dg.AssetKey(["acme", "events"])
    assert instance.get_materialized_partitions(key) == {"2024-01-03", "2024-01-04", "2024-01-05"}


def test_without_a_range_the_last_windows_are_loaded_and_the_rest_as_it_is(
    cli: Cli, api: RunningSandbox
) -> None:
    done = cli("load", "acme")
    assert done.code == 0
    assert "DAGSTER_HOME is not set: these runs are not recorded." in done.err
    assert "acme/users: reading\n" in done.err
    assert line_of(done.out, "acme/events")[0] == "3"  # the last one, and 2 to look back
    today = datetime.now(UTC).date()
    asked = api.requests.list("/v1/events")
    # Each of them, or all in two steps: nothing before, nothing after.
    assert min(record.query["created_after"] for record in asked)[:10] == str(today - timedelta(days=3))
    assert max(record.query["created_before"] for record in asked)[:10] == str(today)
    assert ids("users") == truth(api, "users")
    assert ids("orders") == truth(api, "orders")


def test_a_full_refresh_forgets_the_cursor_and_rows_that_the_api_no_longer_has(
    cli: Cli, api: RunningSandbox
) -> None:
    assert cli("load", "acme", "-r", "orders").code == 0
    api.data.delete("orders", ["ord_5"])
    assert line_of(cli("load", "acme", "-r", "orders").out, "acme/orders")[2] == "600"
    done = cli("load", "acme", "-r", "orders", "--full-refresh")
    assert line_of(done.out, "acme/orders")[1:3] == ["599", "599"]
    assert ids("orders") == truth(api, "orders")


def test_a_full_refresh_of_partitions_loads_all_that_are_over(cli: Cli, sandbox: RunningSandbox) -> None:
    week_ago = datetime.now(UTC).date() - timedelta(days=7)
    write_api(FILE.format(url=sandbox.url, start=week_ago))
    done = cli("load", "acme", "-r", "events", "--full-refresh")
    assert line_of(done.out, "acme/events")[0] == "7"


def test_a_failed_resource_is_told_and_its_neighbours_are_loaded(cli: Cli, api: RunningSandbox) -> None:
    api.faults.add(Fault(kind="status", status=503, match="/v1/orders"))
    done = cli("load", "acme")
    assert done.code == 1
    assert line_of(done.out, "acme/orders")[-1] == "failed"
    assert "apis/acme.yaml: resource `orders`: " in done.err
    assert "503 Service Unavailable" in done.err
    assert "sandbox-key" not in done.err + done.out
    assert "Traceback" not in done.err
    assert ids("users") == truth(api, "users")


def test_ctrl_c_leaves_the_destination_whole_and_the_next_load_works(
    cli: Cli, api: RunningSandbox, instance: dg.DagsterInstance
) -> None:
    write_api(FILE.format(url=api.url, start="2024-01-01").replace("max_retries: 0", "max_retries: 1"))
    # The first window is committed; then the API asks for a wait in the middle of the second step.
    api.faults.add(Fault(kind="status", status=503, retry_after="300", match="/v1/events", skip=5))
    stopped = start(*RANGE)
    assert stopped.stderr
    for line in stopped.stderr:
        if "trying again in 5.0 min" in line:
            break
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert err == "Interrupted. What was committed stays; nothing is left half written.\n"
    first_day = {"created_after": "2024-01-01T00:00:00Z", "created_before": "2024-01-02T00:00:00Z"}
    assert ids("events") == truth(api, "events", **first_day)
    [run] = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED  # so that no sensor runs it again

    assert cli(*RANGE).code == 0
    assert ids("events") == truth(api, "events", created_before="2024-02-01T00:00:00Z")


def test_a_duckdb_file_that_another_program_holds_is_waited_for_saying_so(
    cli: Cli, api: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = "import duckdb; held = duckdb.connect('analytics.duckdb'); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr("analytics_dagster.loading.duckdb_file.PATIENCE", 1.0)
        done = cli("load", "acme", "-r", "users")
        holder.stdin.close()
    assert done.code == 1
    assert "Another program has" in done.err
    assert "waiting up to 1 s" in done.err
    assert "was held by another program for 1 s" in done.err
    assert done.err.count("Close that program") == 1
    with duckdb.connect("analytics.duckdb") as destination:
        assert destination.sql("SHOW ALL TABLES").fetchall() == []


def test_an_instance_that_cannot_be_opened_is_an_error(
    cli: Cli, api: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(Path("nowhere").absolute()))
    done = cli("load", "acme", "-r", "users")
    assert done.code == 1
    assert "DAGSTER_HOME is" in done.err
    assert not Path("analytics.duckdb").exists()
