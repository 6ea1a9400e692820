"""`state` and `reset`: what is stored is shown, moved and dropped, in the destination and in Dagster."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from analytics_dagster.loading.load import load
from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import Window, read_file
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, write_api

FILE = """\
client:
  base_url: {url}/v1
  auth: {{type: api_key, name: api_key, api_key: "${{UNSET_KEY}}", location: query}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 500}}}}
resources:
  - name: orders
    endpoint:
      incremental:
        cursor_path: updated_at
        initial_value: 2024-01-01
        start_param: updated_after
        timezone: Asia/Tokyo
  - name: events
    endpoint:
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: 2024-01-01}}
  - name: users
"""
EVENTS = dg.AssetKey(["acme", "events"])


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


@pytest.fixture
def path(sandbox: RunningSandbox) -> Path:
    return write_api(FILE.format(url=sandbox.url))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The current instance, which remembers."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture
def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The API file, whose orders and three days of events are loaded; no secret is set any more."""
    with monkeypatch.context() as patch:
        patch.setenv("UNSET_KEY", "sandbox-key")
        load(read_file(path), "orders")
        load(
            read_file(path),
            "events",
            Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC)),
        )
    return path


def tables() -> list[str]:
    with duckdb.connect("analytics.duckdb", read_only=True) as file:
        found = file.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'acme'"
            " AND NOT starts_with(table_name, '_dlt') ORDER BY 1"
        ).fetchall()
    return [name for (name,) in found]


def line_of(out: str, resource: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if line.startswith(resource))


def test_state_shows_and_moves_cursors(cli: Cli, loaded: Path) -> None:
    shown = cli("state", "acme")
    assert shown.code == 0
    orders, events = line_of(shown.out, "orders"), line_of(shown.out, "events")
    assert orders[1:3] == ["orders", "600"]
    assert orders[3].endswith("+09:00")
    assert orders[4].endswith("Z")
    assert events[1] == "events"
    assert events[3:5] == ["–", "–"]
    assert line_of(shown.out, "users")[1:] == ["–", "–", "–", "–", "never"]

    moved = cli("state", "acme", "--resource", "orders", "--set", "2024-01-20")
    assert moved.code == 0
    assert f"acme/orders: cursor {orders[3]} -> 2024-01-20T00:00:00+09:00\n" in moved.out
    assert line_of(moved.out, "orders")[3:5] == ["2024-01-20T00:00:00+09:00", "2024-01-19T15:00:00Z"]

    refused = cli("state", "acme", "-r", "events", "--set", "2024-01-20")
    assert refused.code == 1
    assert "resource `events`: it has no stored cursor" in refused.err
    assert "name it with --resource" in cli("state", "acme", "--set", "2024-01-20").err


def test_state_shows_and_accepts_what_a_load_would_refuse(cli: Cli, loaded: Path) -> None:
    loaded.write_text(
        loaded.read_text().replace("start: 2024-01-01}", "start: 2024-01-01, timezone: Asia/Tokyo}")
    )
    refused = "acme/events: the next load will refuse: partitions.timezone: UTC -> Asia/Tokyo: "
    assert refused in cli("state", "acme").out
    accepted = cli("state", "acme", "--resource", "events", "--accept")
    assert "acme/events: accepted: partitions.timezone: UTC -> Asia/Tokyo: " in accepted.out
    assert refused not in cli("state", "acme").out


def test_a_refused_load_fails_in_dagster_for_good(
    cli: Cli, loaded: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSET_KEY", "sandbox-key")
    loaded.write_text(loaded.read_text().replace("primary_key: id", "primary_key: name"))
    done = cli("load", "acme", "-r", "events", "--from", "2024-01-04", "--to", "2024-01-05")
    assert done.code == 1
    assert "primary_key: [id] -> [name]" in done.err
    assert "`analytics-dagster reset acme events`" in done.err
    [run] = instance.get_runs()
    [failed] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert failed.dagster_event
    failure = failed.dagster_event.step_failure_data.user_failure_data
    assert failure
    assert "permanent" in {str(entry.value) for entry in failure.metadata.values()}


def test_what_is_gone_from_the_file_is_shown_and_can_be_reset(cli: Cli, loaded: Path) -> None:
    loaded.write_text(loaded.read_text().replace("name: orders", "name: purchases\n    table_name: bought"))
    shown = cli("state", "acme").out
    assert "there is no resource `orders` any more, but the destination still has" in shown
    assert "`analytics-dagster reset acme orders`" in shown
    done = cli("reset", "acme", "orders", "--yes")
    assert done.code == 0
    assert "drop table orders: 600 rows" in done.out
    assert tables() == ["events"]
    assert "no resource `orders`" not in cli("state", "acme").out
    unknown = cli("reset", "acme", "order", "--yes")
    assert unknown.code == 1
    assert "there is no resource `order` in apis/acme.yaml, and nothing is stored of one" in unknown.err


def test_reset_shows_what_it_does_and_asks(
    cli: Cli, path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSET_KEY", "sandbox-key")
    assert cli("load", "acme", "-r", "orders").code == 0
    assert cli("load", "acme", "-r", "events", "--from", "2024-01-01", "--to", "2024-01-04").code == 0
    monkeypatch.delenv("UNSET_KEY")
    unasked = cli("reset", "acme", "events")
    assert unasked.code == 1
    assert "to do it, add --yes" in unasked.err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    denied = cli("reset", "acme", "events")
    assert denied.code == 1
    assert "Nothing was changed." in denied.err
    assert instance.get_materialized_partitions(EVENTS) == {"2024-01-01", "2024-01-02", "2024-01-03"}
    assert tables() == ["events", "orders", "orders__items"]

    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    done = cli("reset", "acme", "events")
    assert done.code == 0
    assert "drop table events: " in done.out
    assert "wipe its materializations in Dagster, 3 partitions" in done.out
    assert not instance.get_materialized_partitions(EVENTS)
    assert instance.has_asset_key(dg.AssetKey(["acme", "orders"]))
    assert tables() == ["orders", "orders__items"]
    assert "nothing is stored, so there is nothing to reset" in cli("reset", "acme", "events", "--yes").out


def test_a_reset_that_was_killed_before_dagster_forgot_is_finished_by_a_second_one(
    cli: Cli, path: Path, instance: dg.DagsterInstance
) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(EVENTS, partition="2024-01-01"))
    done = cli("reset", "acme", "events", "--yes")
    assert done.code == 0
    assert "nothing in the destination" in done.out
    assert not instance.get_materialized_partitions(EVENTS)
    assert not Path("analytics.duckdb").exists()


def test_where_nothing_was_loaded_nothing_is_made(cli: Cli, path: Path) -> None:
    shown = cli("state", "acme")
    assert shown.code == 0
    assert "Nothing was loaded yet: there is no" in shown.out
    accepted = cli("state", "acme", "-r", "orders", "--accept")
    assert accepted.code == 1
    assert "resource `orders`: nothing was loaded yet" in accepted.err
    assert not Path("analytics.duckdb").exists()
