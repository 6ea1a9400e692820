"""A small set of assets that fail on request, and a hand that does what the daemon does with the sensor."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from logging.handlers import QueueHandler
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest

from analytics_dagster.orchestration import rerun
from analytics_dagster.orchestration.rerun import FAILURE_KIND, RENEWED, build_rerun_sensor
from analytics_dagster.spec.api import Rerun

USERS, ORDERS, ITEMS, EVENTS, VISITS = (
    AssetKey(["shop", name]) for name in ("users", "orders", "items", "events", "visits")
)
"""`items` needs `orders`; `events` and `visits` are daily, and `visits` needs `events`."""

THEIRS = AssetKey(["theirs"])
DAILY = dg.DailyPartitionsDefinition("2024-01-01")
AT_ONCE = Rerun(max_reruns=3, delays=[timedelta(0)])


@dataclass
class Lab:
    instance: DagsterInstance
    monkeypatch: pytest.MonkeyPatch
    broken: dict[AssetKey, Exception] = field(default_factory=dict[AssetKey, Exception])
    """Assets that fail, with what they raise."""
    broken_days: set[str] = field(default_factory=set[str])
    """Days that daily assets load no more; the days before are loaded."""
    cursor: str | None = None
    log: SimpleQueue[logging.LogRecord] = field(default_factory=SimpleQueue[logging.LogRecord])

    def __post_init__(self) -> None:
        self.assets = {
            USERS: self.asset(USERS),
            ORDERS: self.asset(ORDERS),
            ITEMS: self.asset(ITEMS, deps=[ORDERS]),
            EVENTS: self.asset(EVENTS, partitions_def=DAILY),
            VISITS: self.asset(VISITS, partitions_def=DAILY, deps=[EVENTS]),
            THEIRS: self.asset(THEIRS),
        }
        self.deploy(dict.fromkeys((USERS, ORDERS, ITEMS, EVENTS, VISITS), AT_ONCE))
        self.tick()

    def deploy(self, policies: dict[AssetKey, Rerun]) -> None:
        """Load the code anew, with these policies and what `assets` holds."""
        plain = dg.define_asset_job("shop", selection=dg.AssetSelection.assets(USERS, ORDERS, ITEMS))
        daily = dg.define_asset_job("shop_day", selection=dg.AssetSelection.assets(EVENTS, VISITS))
        jobs = {key: daily if key in {EVENTS, VISITS} else plain for key in policies}
        self.sensor = build_rerun_sensor(policies, jobs)

        @dg.asset_check(asset=USERS)
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        @dg.asset_check(asset=USERS)
        def has_names() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        self.defs = dg.Definitions(
            assets=list(self.assets.values()),
            asset_checks=[has_rows, has_names],
            jobs=[plain, daily],
            sensors=[self.sensor],
        )
        self.repository = self.defs.get_repository_def()

    def asset(self, key: AssetKey, option: str = "limit", **spec: Any) -> dg.AssetsDefinition:
        """An asset with a config option, that loads or fails as the lab says."""

        @dg.multi_asset(
            name=key.path[-1],
            specs=[dg.AssetSpec(key, **spec)],
            config_schema={option: dg.Field(int, default_value=1)},
        )
        def load(context: dg.AssetExecutionContext) -> None:
            if key in self.broken:
                raise self.broken[key]
            for day in context.partition_keys if key in {EVENTS, VISITS} else [None]:
                if day in self.broken_days:
                    raise ValueError(f"no {day}")
                context.log_event(dg.AssetMaterialization(key, partition=day))

        return load

    def run(
        self,
        *keys: AssetKey,
        job: str = "__ASSET_JOB",
        days: tuple[str, str] | None = None,
        config: dict[str, Any] | None = None,
        checks: set[dg.AssetCheckKey] | None = None,
    ) -> DagsterRun:
        """Run assets as the UI does, or all assets of a job; return the run as it ended."""
        definition = self.repository.get_job(job)
        if keys:
            definition = definition.get_subset(asset_selection=set(keys), asset_check_selection=checks)
        result = definition.execute_in_process(
            instance=self.instance, run_config=config, tags=day_tags(days), raise_on_error=False
        )
        return self.read(result.run_id)

    def create(
        self,
        *keys: AssetKey,
        days: tuple[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        status: DagsterRunStatus = DagsterRunStatus.STARTED,
    ) -> DagsterRun:
        """Create a run that has not ended."""
        return self.instance.create_run_for_job(
            self.repository.get_job("__ASSET_JOB"),
            asset_selection=set(keys),
            tags={**(tags or {}), **day_tags(days)},
            status=status,
        )

    def crash(
        self,
        *keys: AssetKey,
        days: tuple[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> DagsterRun:
        """Fail a run as run monitoring does when the process of the run died."""
        run = self.create(*keys, days=days, tags=tags)
        self.instance.report_run_failed(run)
        return self.read(run.run_id)

    def tag(self, run: DagsterRun, **tags: str) -> None:
        """Set tags of Dagster's own."""
        self.instance.add_run_tags(run.run_id, {f"dagster/{tag}": value for tag, value in tags.items()})

    def tick(self) -> Sequence[RunRequest]:
        """Evaluate the sensor as the daemon does, and return what it asks for."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.defs, sensor_name=self.sensor.name
        )
        context.log.addHandler(QueueHandler(self.log))
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data.run_requests or []

    def obey(self, request: RunRequest) -> DagsterRun:
        """Run what the sensor asked for, as the daemon does."""
        job = self.repository.get_job(request.job_name or "")
        subset = job.get_subset(
            asset_selection=set(request.asset_selection or []),
            asset_check_selection=None if request.asset_check_keys is None else set(request.asset_check_keys),
        )
        result = subset.execute_in_process(
            instance=self.instance,
            run_config=dict(request.run_config),
            tags={**request.tags, "dagster/run_key": request.run_key or ""},
            raise_on_error=False,
        )
        return self.read(result.run_id)

    def read(self, run_id: str) -> DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run

    def errors(self) -> list[str]:
        """What the sensor logged as errors since the last call."""
        records: list[logging.LogRecord] = []
        while not self.log.empty():
            records.append(self.log.get())
        return [record.getMessage() for record in records if record.levelno >= logging.ERROR]

    def settle(self) -> None:
        """Let the sensor find that nothing is left to do."""
        assert not self.tick()

    def wait(self, failed: DagsterRun, delay: timedelta) -> None:
        """Set the sensor's clock to some time after a run's failure."""
        record = self.instance.get_run_record_by_id(failed.run_id)
        assert record
        assert record.end_time
        now = record.end_time + delay.total_seconds()
        clock = SimpleNamespace(time=lambda: now, monotonic=time.monotonic)
        self.monkeypatch.setattr(rerun, "time", clock)


def permanent(why: str) -> dg.Failure:
    return dg.Failure(why, metadata={FAILURE_KIND: dg.MetadataValue.text("permanent")})


def no_quota(until: float) -> dg.Failure:
    instant = dg.MetadataValue.timestamp(until)
    return dg.Failure("used up", metadata={FAILURE_KIND: "transient", RENEWED: instant})


def day_tags(days: tuple[str, str] | None) -> dict[str, str]:
    if not days:
        return {}
    if days[0] == days[1]:
        return {"dagster/partition": days[0]}
    return {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[1]}


def asked(requests: Sequence[RunRequest]) -> list[tuple[str | None, list[str], str]]:
    """Job, assets and days of each request."""
    return [
        (
            request.job_name,
            [key.path[-1] for key in request.asset_selection or []],
            request.tags.get("dagster/partition")
            or "..".join(
                value for tag, value in sorted(request.tags.items(), reverse=True) if "partition_range" in tag
            ),
        )
        for request in requests
    ]
