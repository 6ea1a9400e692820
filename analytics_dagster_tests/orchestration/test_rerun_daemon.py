"""The sensor under Dagster's real daemon, which is killed and started again."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.scheduler.instigation import SensorInstigatorData

from analytics_dagster.orchestration.rerun import RERUN_OF, SETTLED

CODE = """
from datetime import timedelta
from pathlib import Path

import dagster as dg

from analytics_dagster.orchestration.rerun import build_rerun_sensor
from analytics_dagster.spec.api import Rerun

KEY = dg.AssetKey(["shop", "events"])
DAILY = dg.DailyPartitionsDefinition("2024-01-01")


@dg.multi_asset(specs=[dg.AssetSpec(KEY, partitions_def=DAILY)])
def events(context: dg.AssetExecutionContext):
    for day in context.partition_keys:
        if Path(__file__).with_name(day).exists():
            raise ValueError("the API is down")
        context.log_event(dg.AssetMaterialization(KEY, partition=day))


job = dg.define_asset_job("shop_day", selection=[KEY], executor_def=dg.in_process_executor)
policy = Rerun(max_reruns=3, delays=[timedelta(seconds=1)])
sensor = build_rerun_sensor({KEY: policy}, {KEY: job}, minimum_interval_seconds=1)
defs = dg.Definitions(assets=[events], jobs=[job], sensors=[sensor])
"""

SETTINGS = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


@contextmanager
def daemon(home: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run the daemon, and end whatever it started at the end."""
    with (home / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run", "-f", "shop.py"],
            cwd=home,
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(what: Callable[[], object], home: Path) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, (home / "daemon.log").read_text()[-5000:]
        time.sleep(0.05)


def has_looked(instance: DagsterInstance) -> bool:
    """Whether the sensor has had its first look."""
    states = instance.all_instigator_state()
    return any(
        isinstance(state.instigator_data, SensorInstigatorData) and state.instigator_data.cursor
        for state in states
    )


def reruns(instance: DagsterInstance) -> list[DagsterRun]:
    return [run for run in instance.get_runs() if RERUN_OF in run.tags]


def test_killed_and_started_again_the_daemon_loses_no_failure_and_starts_nothing_twice(
    tmp_path: Path,
) -> None:
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    (tmp_path / "shop.py").write_text(CODE)
    job = runpy.run_path(str(tmp_path / "shop.py"))["defs"].resolve_implicit_global_asset_job_def()

    with DagsterInstance.from_config(str(tmp_path)) as instance:

        def fail(day: str) -> str:
            down = tmp_path / day
            down.touch()
            tags = {"dagster/partition": day}
            result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
            down.unlink()
            assert not result.success
            return result.run_id

        with daemon(tmp_path) as first:
            wait_for(lambda: has_looked(instance), tmp_path)
            failed = [fail("2024-01-01"), fail("2024-01-02"), fail("2024-01-03")]
            wait_for(lambda: reruns(instance), tmp_path)
            first.kill()  # most likely while it launches the three
            failed.append(fail("2024-01-04"))
            with daemon(tmp_path):
                settled = RunsFilter(run_ids=failed, tags={SETTLED: failed})
                wait_for(lambda: len(instance.get_runs(settled)) == len(failed), tmp_path)
                wait_for(lambda: all(run.is_finished for run in reruns(instance)), tmp_path)
        assert sorted(run.tags[RERUN_OF] for run in reruns(instance)) == sorted(failed)
        assert {run.status for run in reruns(instance)} == {DagsterRunStatus.SUCCESS}
