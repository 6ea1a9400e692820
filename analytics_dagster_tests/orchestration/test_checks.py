"""The check `rows_arrived`: what a person sees of it, and that runs with it and without it work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from analytics_dagster.loading import load
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.orchestration.rerun import FAILURE_KIND
from analytics_dagster.sandbox import Fault, RunningSandbox, running_sandbox
from analytics_dagster.spec import parse_text

FILE = """
name: shop
client:
  base_url: {url}
  auth: {{type: api_key, name: X-API-Key, api_key: sandbox-key}}
retry: {{max_retries: 0}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 100}}}}
resources:
  - name: users
    endpoint: {{path: /v1/users}}
  - name: events
    endpoint:
      path: /v1/events
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: 2024-01-01}}
"""
USERS, EVENTS = (dg.AssetKey(["shop", name]) for name in ("users", "events"))
CHECK = "rows_arrived"
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-04",
}

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(sandbox: RunningSandbox) -> Run:
    defs = build_defs([parse_text(FILE.format(url=sandbox.url), Path("apis/shop.yaml"))])

    def run(
        assets: set[dg.AssetKey], checks: set[dg.AssetCheckKey] | None = None, **options: Any
    ) -> dg.ExecuteInProcessResult:
        job = defs.resolve_job_def("shop_day" if EVENTS in assets else "shop")
        subset = job.get_subset(asset_selection=assets, asset_check_selection=checks)
        return subset.execute_in_process(raise_on_error=False, **options)

    return run


def verdicts(result: dg.ExecuteInProcessResult) -> list[Any]:
    return list(result.get_asset_check_evaluations())


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load loses a row between dlt and the end of the load, as no load should."""
    prepared = load.PreparedLoad.result

    def result(self: load.PreparedLoad) -> Any:
        with self.pipeline.sql_client() as client:
            table = client.make_qualified_table_name(self.resource.name)
            client.execute_sql(
                f"DELETE FROM {table} WHERE created_at = (SELECT max(created_at) FROM {table})"
            )
        return prepared(self)

    monkeypatch.setattr(load.PreparedLoad, "result", result)


def test_a_load_passes_its_check_which_tells_the_counts(run: Run) -> None:
    result = run({USERS})
    [verdict] = verdicts(result)
    assert (verdict.asset_key, verdict.check_name, verdict.passed) == (USERS, CHECK, True)
    assert verdict.metadata["rows_read"].value == verdict.metadata["rows_arrived"].value == 500
    [done] = result.asset_materializations_for_node("shop__users")
    assert done.metadata["rows_stated"].value == 500


def test_a_range_has_one_verdict_with_those_of_its_steps(run: Run, losing: None) -> None:
    result = run({EVENTS}, tags=RANGE)
    assert result.success  # a check that fails does not undo what was loaded
    [verdict] = verdicts(result)
    assert verdict.passed is False
    assert verdict.severity is dg.AssetCheckSeverity.ERROR
    steps = verdict.metadata["steps"].value.splitlines()[2:]
    assert [line.split(" | ")[0] for line in steps] == [
        "| 2024-01-01T00:00:00+00:00/2024-01-02T00:00:00+00:00",
        "| 2024-01-02T00:00:00+00:00/2024-01-05T00:00:00+00:00",
    ]
    assert "the table should have" in verdict.description
    remedy = (
        "analytics-dagster verify shop --resource events --from 2024-01-01T00:00:00+00:00 --to 2024-01-05"
    )
    assert remedy in verdict.description
    assert "apis/shop.yaml" in verdict.description


REPLACING = FILE.replace("created_", "updated_") + "    on_rerun: replace_window\n"


def test_rows_that_the_api_moves_back_are_there_after_a_range_and_told_of_after_one_window(
    sandbox: RunningSandbox,
) -> None:
    def run(source: RunningSandbox, **options: Any) -> Any:
        defs = build_defs([parse_text(REPLACING.format(url=source.url), Path("apis/shop.yaml"))])
        job = defs.resolve_job_def("shop_day")
        [verdict] = verdicts(job.execute_in_process(asset_selection=[EVENTS], **options))
        return verdict

    def stored() -> list[Any]:
        with duckdb.connect("analytics.duckdb", read_only=True) as connection:
            return sorted(connection.execute("SELECT id, name FROM shop.events").fetchall())

    def truth(source: RunningSandbox) -> list[Any]:
        rows = source.data.truth("events", updated_before="2024-01-05T00:00:00Z")
        return sorted((row["id"], row["name"]) for row in rows)

    first = [row["id"] for row in sandbox.data.truth("events", updated_before="2024-01-02T00:00:00Z")]
    sandbox.data.update("events", ids=first[:2], at="2024-01-04T12:00:00Z")
    with running_sandbox() as moved_back:
        assert truth(moved_back) != truth(sandbox)
        for source in (sandbox, moved_back, sandbox):
            assert run(source, tags=RANGE).passed
            assert stored() == truth(source)

        verdict = run(moved_back, partition_key="2024-01-01")
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2 rows that came have a version with a later cursor in the destination" in verdict.description
    assert stored() == truth(sandbox)


def test_assets_can_be_run_without_their_checks(run: Run) -> None:
    result = run({USERS}, set())
    assert result.success
    assert verdicts(result) == []
    with duckdb.connect("analytics.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM shop.users").fetchall() == [(500,)]


def test_a_check_without_its_asset_says_what_to_do_and_loads_nothing(
    run: Run, sandbox: RunningSandbox
) -> None:
    sandbox.requests.clear()
    result = run(set(), {dg.AssetCheckKey(USERS, CHECK)})
    assert not result.success
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    failure: Any = event.step_failure_data.user_failure_data
    assert "materialize the asset" in failure.description
    assert "analytics-dagster verify" in failure.description
    assert failure.metadata[FAILURE_KIND].value == "permanent"
    assert sandbox.requests.list() == []


def test_rows_that_cannot_be_counted_do_not_fail_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("sandbox-key is gone")

    monkeypatch.setattr("analytics_dagster.orchestration.checks.count_arrived", broken)
    result = run({USERS})
    assert result.success
    [verdict] = verdicts(result)
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "could not be counted: OSError" in verdict.description
    assert "sandbox-key" not in verdict.description


def test_a_run_that_fails_later_has_logged_what_was_found(
    run: Run, losing: None, sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.add(Fault(match="/v1/events", skip=1, first=100, kind="status", status=503))
    result = run({EVENTS}, tags=RANGE)
    assert not result.success
    assert "Check rows_arrived: the table should have" in caplog.text


def test_the_sensor_asks_again_for_a_failed_run_with_its_checks(sandbox: RunningSandbox) -> None:
    defs = build_defs(
        [
            parse_text(
                FILE.format(url=sandbox.url).replace("retry:", "rerun: {delays: [0s]}\nretry:"), "x.yaml"
            )
        ]
    )
    [sensor] = defs.sensors or []
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> Any:
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, definitions=defs, sensor_name=sensor.name
            )
            return sensor.evaluate_tick(context)

        cursor = tick(None).cursor
        sandbox.faults.add(Fault(match="/v1/users", first=1, kind="status", status=503))
        job = defs.resolve_job_def("shop")
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
        [request] = tick(cursor).run_requests
        assert request.asset_selection == [USERS]
        subset = job.get_subset(
            asset_selection=set(request.asset_selection),
            asset_check_selection=None if request.asset_check_keys is None else set(request.asset_check_keys),
        )
        again = subset.execute_in_process(instance=instance, tags=request.tags)
    assert [verdict.passed for verdict in verdicts(again)] == [True]
