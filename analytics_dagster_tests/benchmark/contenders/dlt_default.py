"""dlt's REST source, as its documentation shows it."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.pipeline.pipeline import Pipeline
from dlt.sources.rest_api import rest_api_source

from analytics_dagster_tests.benchmark.contenders import Job


def load(job: Job) -> None:
    """Load everything."""
    pipeline(job).run(source(job)).raise_on_failed_jobs()


def source(job: Job) -> Any:
    """The API as dlt's REST source describes it."""
    pages: dict[str, Any] = {
        "path": "events",
        "paginator": {"type": "offset", "limit": job.page_size, "total_path": "total"},
    }
    if job.paging == "cursor":
        pages = {
            "path": "feed",
            "paginator": {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"},
            "params": {"limit": job.page_size},
            "incremental": {
                "cursor_path": "created_at",
                "start_param": "created_after",
                "end_param": "created_before",
                "initial_value": "2024-01-01T00:00:00.000000Z",
                "end_value": "2024-01-02T00:00:00.000000Z",
            },
        }
    config: Any = {
        "client": {"base_url": job.url},
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
        "resources": [
            {
                "name": "events",
                "max_table_nesting": 0 if job.shape == "json" else None,
                "endpoint": {**pages, "data_selector": "data"},
            }
        ],
    }
    return rest_api_source(config, name="benchmark")


def pipeline(job: Job) -> Pipeline:
    """A pipeline to where the job wants its rows, with its working directory here."""
    destination = dlt.destinations.duckdb if job.destination == "duckdb" else dlt.destinations.postgres
    return dlt.pipeline(
        "benchmark", pipelines_dir="pipelines", destination=destination(job.to), dataset_name="benchmark"
    )
