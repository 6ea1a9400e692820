"""dlt's REST source with its loader file format set to Parquet, which DuckDB reads many times faster."""

from __future__ import annotations

from analytics_dagster_tests.benchmark.contenders import Job
from analytics_dagster_tests.benchmark.contenders.dlt_default import pipeline, source


def load(job: Job) -> None:
    """Load everything."""
    pipeline(job).run(source(job), loader_file_format="parquet").raise_on_failed_jobs()
