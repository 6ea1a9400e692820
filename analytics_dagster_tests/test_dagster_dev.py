"""`dagster dev` in the project's folder: what a person does in its UI, over the UI's own GraphQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from analytics_dagster.sandbox import Fault, SandboxSettings, running_sandbox

ROOT = Path(__file__).parent.parent

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
RUNS = """
query ($filter: RunsFilter) {
  runsOrError(filter: $filter) { ... on Runs { results { runId status } } }
}
"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
EVENTS = {"path": ["sandbox", "events"]}


class Ui:
    """A `dagster dev` of its own, spoken to as its UI does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer
        return next(iter(answer["data"].values()))

    def launch(self, job: str, assets: list[Any], **tags: str) -> str:
        params = {
            "selector": {
                "repositoryLocationName": "analytics_dagster",
                "repositoryName": "__repository__",
                "pipelineName": job,
                "assetSelection": assets,
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.ask(LAUNCH, params=params)
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def statuses(self, **wanted: Any) -> list[str]:
        return [run["status"] for run in self.ask(RUNS, filter=wanted)["results"]]


def wait(until: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def dagster_dev(directory: Path, **variables: str) -> Generator[Ui]:
    home = directory / "home"
    home.mkdir()
    shutil.copy(ROOT / ".dagster_home" / "dagster.yaml", home)
    port = free_port()
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    with (directory / "dev.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-p", str(port)],
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        ui = Ui(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            assert process.poll() is None, (directory / "dev.log").read_text()
            try:
                return requests.get(f"{ui.url}/server_info", timeout=5).ok
            except requests.RequestException:
                return False

        try:
            wait(answers)
            yield ui
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def ui(tmp_path: Path) -> Generator[Ui]:
    with dagster_dev(tmp_path) as running:
        yield running


def events() -> list[tuple[Any, ...]]:
    with duckdb.connect("analytics.duckdb", read_only=True) as connection:
        return connection.execute("SELECT count(*), count(DISTINCT id) FROM sandbox.events").fetchall()


def test_one_partition_a_range_and_everything_from_the_ui(ui: Ui) -> None:
    one = ui.launch("sandbox_day", [EVENTS], **{"dagster/partition": "2024-01-05"})
    wait(lambda: ui.statuses(runIds=[one]) == ["SUCCESS"])
    assert 90 < events()[0][0] < 110

    unpartitioned = [{"path": ["sandbox", "users"]}, {"path": ["sandbox", "orders"]}]
    everything = ui.launch("__ASSET_JOB", unpartitioned)
    wait(lambda: ui.statuses(runIds=[everything]) == ["SUCCESS"])

    month = [f"2024-01-{day:02}" for day in range(1, 32)]
    asked = ui.ask(BACKFILL, params={"assetSelection": [EVENTS], "partitionNames": month})
    assert asked["__typename"] == "LaunchBackfillSuccess", asked
    tag = [{"key": "dagster/backfill", "value": asked["backfillId"]}]
    wait(lambda: ui.statuses(tags=tag) == ["SUCCESS"])  # one run for the whole range
    assert events() == [(3000, 3000)]


def test_cancelling_in_the_ui_leaves_the_destination_whole(tmp_path: Path) -> None:
    settings = SandboxSettings(latency=0.2, api_key="a-key/with+signs")
    with running_sandbox(settings) as sandbox:
        variables = {"SANDBOX_URL": sandbox.url, "SANDBOX_API_KEY": settings.api_key}
        variables |= {"SANDBOX_CLIENT_ID": "unused", "SANDBOX_CLIENT_SECRET": "unused"}
        with dagster_dev(tmp_path, **variables) as ui:
            day = ui.launch("sandbox_day", [EVENTS], **{"dagster/partition": "2024-01-05"})
            wait(lambda: ui.statuses(runIds=[day]) == ["SUCCESS"])
            before = events()
            sandbox.requests.clear()
            span = {
                "dagster/asset_partition_range_start": "2024-01-06",
                "dagster/asset_partition_range_end": "2024-01-31",
            }
            month = ui.launch("sandbox_day", [EVENTS], **span)
            wait(
                lambda: len(sandbox.requests.list()) >= 5
            )  # the first step is done, the second is being read
            ui.ask(TERMINATE, id=month)
            wait(lambda: ui.statuses(runIds=[month]) == ["CANCELED"])
            assert events()[0][0] < 300
            assert before[0][0] <= events()[0][0]
            assert events()[0][0] == events()[0][1]
            again = ui.launch("sandbox_day", [EVENTS], **span)
            wait(lambda: ui.statuses(runIds=[again]) == ["SUCCESS"])
            truth = list(sandbox.data.truth("events", created_after="2024-01-05T00:00:00Z"))
            assert events() == [(len(truth), len(truth))]
            sandbox.faults.add(Fault(kind="status", status=401, match="/v1/events"))
            broken = ui.launch("sandbox_day", [EVENTS], **{"dagster/partition": "2024-01-05"})
            wait(lambda: ui.statuses(runIds=[broken]) == ["FAILURE"])
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and b"a-key" in path.read_bytes()]
    assert not leaks  # the key is in no log, no event, no state and no row
