"""What a process that loads will need, imported once in the process that all of them are forks of."""

import atexit
import gc
import importlib
import os

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

for name in (
    "analytics_dagster.orchestration.build",
    "analytics_dagster_tests.faults.processes",
    "dlt.common.libs.pyarrow",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.destinations.impl.postgres.postgres",
    "dlt.sources.helpers.requests",
    "pyarrow.parquet",
    "tzdata",
):
    importlib.import_module(name)
gc.collect()
gc.freeze()  # else each fork would soon copy all of that
atexit.register(gc.unfreeze)  # what is left behind frozen, DuckDB's bindings complain of
