"""What all tests share: no telemetry, no look outside the test's own directory, and a sandbox."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

from analytics_dagster.sandbox import RunningSandbox, running_sandbox


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
