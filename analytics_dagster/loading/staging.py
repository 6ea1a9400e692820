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

_OURS = re.compile(r"_staging_(\d+)_[0-9a-f]{8}")
_DEAD_AFTER = 86400  # seconds; no load takes so long to commit
_log = logging.getLogger(__name__)


def staging_name() -> str:
    """A name for the staged rows of one load, which no other load uses."""
    return f"_staging_{int(time.time())}_{uuid4().hex[:8]}"


@contextmanager
def staging_dropped(pipeline: Pipeline) -> Generator[None]:
    """Drop the dataset of staged rows at the end, and those of loads that died a day ago or earlier.

    What cannot be dropped goes with a later load. After a failure nothing waits for a file that others hold.
    """
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
    try:
        with pipeline.sql_client() as client:
            _drop(client, client.staging_dataset_name)
            for name in _dead(client):
                _drop(client, name)
    except Exception as error:  # noqa: BLE001 - the load is over; what became of it is what counts
        _log.debug("Staged rows could not be dropped: %s", type(error).__name__)


def _drop(client: SqlClientBase[Any], dataset: str) -> None:
    with client.with_alternative_dataset_name(dataset):
        if client.has_dataset():
            client.drop_dataset()


def _dead(client: SqlClientBase[Any]) -> list[str]:
    rows = client.execute_sql("SELECT schema_name FROM information_schema.schemata") or ()
    names = [_OURS.fullmatch(str(row[0])) for row in rows]
    return [found[0] for found in names if found and int(found[1]) < time.time() - _DEAD_AFTER]
