"""What all tests share: no telemetry, no look outside the test's own directory, and a sandbox."""

import os
from collections.abc import Generator
from contextlib import ExitStack
from multiprocessing.util import get_temp_dir
from pathlib import Path

import psycopg2
import pytest

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

from analytics_dagster.sandbox import RunningSandbox, running_sandbox
from analytics_dagster_tests.postgres import own_database

get_temp_dir()  # for sockets of processes, before a test has a directory whose path is too long for them


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Each test works in a directory of its own, without what the person running it has set up."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANALYTICS_APIS", "ANALYTICS_DESTINATION", "DAGSTER_HOME", "SANDBOX_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sandbox() -> Generator[RunningSandbox]:
    """A sandbox with its default rows, which answers at `sandbox.url`."""
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_database() -> Generator[str]:
    """A database of this test process's own; without a server, what needs it is skipped."""
    with ExitStack() as stack:
        try:
            database = stack.enter_context(own_database())
        except psycopg2.OperationalError as error:
            pytest.skip(f"no PostgreSQL server answers (ANALYTICS_TEST_POSTGRES): {error}")
        yield database
