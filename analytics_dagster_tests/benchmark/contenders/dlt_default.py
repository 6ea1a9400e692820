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
    return rest_api_source(
        {
            "client": {"base_url": job.url},
            "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
            "resources": [
                {
                    "name": "events",
                    "max_table_nesting": 0 if job.shape == "json" else None,
                    "endpoint": {
                        "path": "events",
                        "data_selector": "data",
                        "paginator": {"type": "offset", "limit": job.page_size, "total_path": "total"},
                    },
                }
            ],
        },
        name="benchmark",
    )


def pipeline(job: Job) -> Pipeline:
    """A pipeline to where the job wants its rows, with its working directory here."""
    destination = dlt.destinations.duckdb if job.destination == "duckdb" else dlt.destinations.postgres
    return dlt.pipeline(
        "benchmark", pipelines_dir="pipelines", destination=destination(job.to), dataset_name="benchmark"
    )
