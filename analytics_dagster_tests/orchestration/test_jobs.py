"""Jobs and schedules: what runs together, and what a schedule asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.spec import ApiFile, parse_text

HEAD = """
client: {base_url: https://api.example.com}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint:
    incremental: {cursor_path: created_at, start_param: after, end_param: before}
resources:
"""


def file(resources: str, name: str = "acme") -> ApiFile:
    return parse_text(f"name: {name}{HEAD}{resources}", Path(f"{name}.yaml"))


def request(defs: dg.Definitions, schedule: str, at: datetime) -> Any:
    [asked] = evaluate(defs, schedule, at).run_requests or [None]
    return asked


def evaluate(defs: dg.Definitions, schedule: str, at: datetime) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
        )
        return defs.resolve_schedule_def(schedule).evaluate_tick(context)


def test_one_job_for_each_api_and_partitions_definition() -> None:
    acme = file(
        """
  - {name: users, endpoint: {path: /users}}
  - {name: teams, endpoint: {path: /teams}}
  - {name: events, endpoint: {path: /events}, partitions: {every: day, start: 2024-01-01}}
  - {name: visits, endpoint: {path: /visits}, partitions: {every: day, start: 2024-01-01, lookback: 3}}
  - {name: old, endpoint: {path: /old}, partitions: {every: day, start: 2020-01-01}}
  - {name: local, endpoint: {path: /local}, partitions: {every: day, start: 2024-01-01, timezone: Asia/Tokyo}}
  - {name: sums, endpoint: {path: /sums}, partitions: {every: month, start: 2024-01-01}}
  - {name: parents, endpoint: {path: /parents}, selected: false}
"""
    )
    other = file("  - {name: users, endpoint: {path: /users}}", name="other-api")
    defs = build_defs([acme, other])
    jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assets = {
        name: {key.path[-1] for key in job.asset_layer.executable_asset_keys} for name, job in jobs.items()
    }
    assert assets == {
        "acme": {"users", "teams"},
        "acme_day": {"events", "visits"},
        "acme_day_2": {"old"},
        "acme_day_3": {"local"},
        "acme_month": {"sums"},
        "other_api": {"users"},
    }


def test_a_schedule_asks_for_the_last_window_and_for_the_lookback() -> None:
    acme = file(
        """
  - name: events
    endpoint: {path: /events}
    partitions: {every: day, start: 2024-01-01, timezone: Europe/Berlin, lookback: 2}
    schedule: "15 * * * *"
"""
    )
    defs = build_defs([acme])
    schedule = defs.resolve_schedule_def("acme__events")
    assert schedule.cron_schedule == "15 * * * *"
    assert schedule.execution_timezone == "Europe/Berlin"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    berlin = ZoneInfo("Europe/Berlin")
    asked = request(defs, "acme__events", datetime(2024, 4, 1, 0, 15, tzinfo=berlin))
    assert asked.tags["dagster/asset_partition_range_start"] == "2024-03-29"
    assert asked.tags["dagster/asset_partition_range_end"] == "2024-03-31"
    assert asked.asset_selection == [dg.AssetKey(["acme", "events"])]
    first = request(defs, "acme__events", datetime(2024, 1, 2, 0, 15, tzinfo=berlin))
    assert first.partition_key == "2024-01-01"
    early = evaluate(defs, "acme__events", datetime(2024, 1, 1, 12, 15, tzinfo=berlin))
    assert not early.run_requests
    assert "not over" in early.skip_message


def test_a_schedule_without_partitions_asks_for_its_resource_alone() -> None:
    acme = file(
        """
  - {name: users, endpoint: {path: /users}, schedule: "0 6 * * *"}
  - {name: teams, endpoint: {path: /teams}}
"""
    )
    defs = build_defs([acme])
    asked = request(defs, "acme__users", datetime(2024, 1, 1, 6, tzinfo=UTC))
    assert asked.asset_selection == [dg.AssetKey(["acme", "users"])]
    assert asked.partition_key is None


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
def test_partitions_of_every_kind_load_in_dagster(every: str) -> None:
    acme = file(
        f"""
  - name: events
    endpoint: {{path: /events}}
    partitions: {{every: {every}, start: 2024-01-01, timezone: America/New_York}}
"""
    )
    graph = build_defs([acme]).resolve_asset_graph()
    definition: Any = graph.get(dg.AssetKey(["acme", "events"])).partitions_def
    with dg.partition_loading_context(effective_dt=datetime(2024, 6, 1, tzinfo=UTC)):
        first = definition.get_first_partition_window()
    assert first.start == datetime(2024, 1, 1, tzinfo=ZoneInfo("America/New_York"))


def test_a_job_has_the_credentials_of_its_own_api_only() -> None:
    users = "  - {name: users, endpoint: {path: /users}}"
    files = [file(users), file(users, name="other")]
    defs = build_defs(files)

    def credentials(found: dg.Definitions) -> set[str]:
        return {key for key in found.resolve_job_def("acme").resource_defs if key.endswith("_credentials")}

    assert credentials(defs) == {"acme_credentials"}
    plain = dg.Definitions(
        assets=defs.assets,
        jobs=[dg.define_asset_job("acme", selection="key:acme/users")],
        resources=defs.resources,
    )
    # The fault of Dagster for which our jobs are a class of their own (dagster#22523).
    assert credentials(plain) == {"acme_credentials", "other_credentials"}
