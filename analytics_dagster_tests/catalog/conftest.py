"""What the tests of the catalog share: a place of their own, and a way to load what a vendor sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analytics_dagster.loading.destination import Destination
from analytics_dagster_tests.loading.conftest import own_place
from analytics_dagster_tests.loading.helpers import Store

__all__ = ["own_place"]  # a fixture


@pytest.fixture
def store(tmp_path: Path) -> Callable[[str], Store]:
    """An empty DuckDB file, for the API of a name."""
    return lambda api: Store(Destination("duckdb", str(tmp_path / "cwd" / "rows.duckdb")), api)
