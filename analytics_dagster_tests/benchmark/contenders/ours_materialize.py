"""analytics_dagster in Dagster: `build_defs()` over the API file, and Dagster's `materialize()`."""

from __future__ import annotations

from typing import cast

import dagster as dg

from analytics_dagster import build_defs
from analytics_dagster.orchestration.resources import DestinationResource
from analytics_dagster_tests.benchmark.contenders import Job
from analytics_dagster_tests.benchmark.contenders.ours_load import api_file


def load(job: Job) -> None:
    """Load everything."""
    destination = DestinationResource(type=job.destination, credentials=job.to)
    defs = build_defs([api_file(job)], resources={"destination": destination})
    dg.materialize(cast("list[dg.AssetsDefinition]", defs.assets), resources=defs.resources)
