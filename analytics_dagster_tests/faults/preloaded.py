"""What a process that loads will need, imported once in the process that all of them are forks of."""

import atexit
import gc
import importlib
import os

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

for name in (
    "analytics_dagster.loading.arrow",
    "analytics_dagster.loading.columns",
    "analytics_dagster_tests.faults.by_dagster",
    "analytics_dagster_tests.faults.processes",
    "dagster._core.execution.execute_in_process",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.root",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "dlt.common.libs.pyarrow",
    "dlt.common.libs.sql_alchemy_compat",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.destinations.impl.postgres.postgres",
    "dlt.sources.helpers.requests",
    "pandas",  # pyarrow looks for it
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "tzdata",
    "upath.implementations.local",
):
    importlib.import_module(name)
gc.collect()
gc.freeze()  # else each fork would soon copy all of that
atexit.register(gc.unfreeze)  # what is left behind frozen, DuckDB's bindings complain of
