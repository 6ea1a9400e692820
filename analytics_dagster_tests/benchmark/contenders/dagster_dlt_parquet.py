"""The same through dagster-dlt: `@dlt_assets`, and Dagster's `materialize()`."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dlt import DagsterDltResource, dlt_assets

from analytics_dagster_tests.benchmark.contenders import Job
from analytics_dagster_tests.benchmark.contenders.dlt_default import pipeline, source


def load(job: Job) -> None:
    """Load everything."""

    @dlt_assets(dlt_source=source(job), dlt_pipeline=pipeline(job), name="benchmark")
    def assets(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Iterator[Any]:
        yield from dlt.run(context=context, loader_file_format="parquet")

    dg.materialize([assets], resources={"dlt": DagsterDltResource()})
