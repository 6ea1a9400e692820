"""A load whose disk fills up says so and leaves all as before, and the next one is exact."""

from __future__ import annotations

from pathlib import Path

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.loading.helpers import (
    LOADING,
    Store,
    load_into,
    run_python,
    sandbox_file,
    sandbox_text,
)
from analytics_dagster_tests.loading.test_leftovers import ORDERS, check_next_load_is_exact, left

FULL = (
    LOADING
    + """
    import logging, resource
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob
    from dlt.pipeline.pipeline import Pipeline
    logging.disable()

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    for owner, name, size in (
        (Pipeline, "extract", 1_000),
        (Pipeline, "normalize", 1_000),
        (Pipeline, "load", 1_000),
        (SqlMergeFollowupJob, "generate_sql", 8_000),
    ):
        method = getattr(owner, name)

        def full(*arguments, **options):
            limit(size)
            return method(*arguments, **options)

        setattr(owner, name, full)
        try:
            run("orders")
            print("no error", flush=True)
        except Exception as error:
            print(type(error).__name__, str(error).replace("\\n", " "), flush=True)
        limit(resource.RLIM_INFINITY)
        setattr(owner, name, method)
        sys.stdin.readline()
"""
)


def test_a_full_disk(own_place: Path, sandbox: RunningSandbox, duckdb_store: Store) -> None:
    """No file gets larger than some thousand bytes, from each step of a load on."""
    file = own_place / "sandbox.yaml"
    file.write_text(sandbox_text(sandbox.url, ORDERS))
    load_into(duckdb_store, sandbox_file(sandbox.url, ORDERS), "orders")
    before = duckdb_store.versions("orders")
    sandbox.data.update("orders", count=5, at="2024-03-01T00:00:00Z")
    process = run_python(FULL, str(file), str(duckdb_store.destination.credentials))
    assert process.stdin
    assert process.stdout
    working = f"LoadError {file}: resource `orders`: The disk of {own_place / 'tmp'}"
    destination = (
        f"DestinationError {file}: resource `orders`: the destination cannot be opened or written to: "
    )
    for step, expected in enumerate((working, working, destination, destination)):
        said = process.stdout.readline()
        assert said.startswith(expected), process.stderr.read() if process.stderr and not said else said
        assert "room" in said or "Free some space" in said
        assert duckdb_store.versions("orders") == before
        assert left(own_place / "tmp") == []
        # What was staged cannot be dropped without room, and goes with the next load.
        assert step >= 2 or duckdb_store.staged("orders") == []
        process.stdin.write("\n")
        process.stdin.flush()
    process.communicate(timeout=60)
    file.unlink()
    check_next_load_is_exact(sandbox, duckdb_store, own_place)
    assert duckdb_store.staged("orders") == []
