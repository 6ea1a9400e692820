"""The datasets for staged rows, one for each load, and the tidying up of them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline.pipeline import Pipeline

from analytics_dagster.loading.duckdb_file import without_waiting
from analytics_dagster.loading.turns import turn_number

NO_STAGING = "_staging_unused"
"""The name for pipelines that stage no rows."""

_OURS = re.compile(r"_staging_([0-9a-f]{16})_(\d+)_[0-9a-f]{8}")
_DEAD_AFTER = 86400  # seconds; no load takes so long to commit
_log = logging.getLogger(__name__)


def staging_name(table: str) -> str:
    """A name for the staged rows of one load, which no other load uses, and which says whose they are.

    Args:
        table: Dataset and table.
    """
    return f"_staging_{turn_number(table):016x}_{int(time.time())}_{uuid4().hex[:8]}"


@contextmanager
def staging_dropped(pipeline: Pipeline, *, alone: bool) -> Generator[None]:
    """Drop the dataset of staged rows at the end, and at the beginning those of loads that died.

    What cannot be dropped goes with a later load. After a failure nothing waits for a file that others hold.

    Args:
        pipeline: The load's.
        alone: No other load of the table is under way, so what is staged for it belongs to the dead; what is
            staged for others does after a day.
    """
    with pipeline.sql_client() as client, _forgiven():
        for name in _dead(client, alone=alone):
            _drop(client, name)
    try:
        yield
    except BaseException:
        # Before rows are normalized, nothing is staged.
        if pipeline.list_normalized_load_packages() or pipeline.list_completed_load_packages():
            with without_waiting():
                _tidy(pipeline)
        raise
    _tidy(pipeline)


def _tidy(pipeline: Pipeline) -> None:
    with _forgiven(), pipeline.sql_client() as client:
        _drop(client, client.staging_dataset_name)


@contextmanager
def _forgiven() -> Generator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - what becomes of the load is what counts
        _log.debug("Staged rows could not be dropped: %s", type(error).__name__)


def _drop(client: SqlClientBase[Any], dataset: str) -> None:
    with client.with_alternative_dataset_name(dataset):
        if client.has_dataset():
            client.drop_dataset()


def _dead(client: SqlClientBase[Any], *, alone: bool) -> list[str]:
    own = _OURS.fullmatch(client.staging_dataset_name)
    assert own is not None
    rows = client.execute_sql("SELECT schema_name FROM information_schema.schemata") or ()
    names = [_OURS.fullmatch(str(row[0])) for row in rows]
    return [
        found[0]
        for found in names
        if found and ((alone and found[1] == own[1]) or int(found[2]) < time.time() - _DEAD_AFTER)
    ]
