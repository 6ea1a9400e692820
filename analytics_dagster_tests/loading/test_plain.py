"""Loading without Dagster, and without noise."""

from __future__ import annotations

from pathlib import Path

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.loading.helpers import LOADING, run_python, sandbox_text

RESOURCES = """
    - name: events
      endpoint:
        path: /v1/events
        incremental: {cursor_path: created_at, start_param: created_after, end_param: created_before}
      primary_key: id
      write_disposition: merge
      partitions: {every: day, start: 2024-01-01}
    - name: userNames
      endpoint: {path: /v1/users}
      write_disposition: replace
    - name: order-lines
      endpoint: {path: /v1/orders, incremental: {cursor_path: updated_at, initial_value: 2024-01-01}}
      primary_key: id
      write_disposition: append
"""


def test_loads_are_silent_need_no_dagster_and_leave_the_home_alone(
    own_place: Path, sandbox: RunningSandbox
) -> None:
    code = """
    from datetime import UTC, datetime
    from analytics_dagster.spec import Window
    day = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    for _ in range(2):
        for resource in ("events", "userNames", "order-lines"):
            result = run(resource, window=day if resource == "events" else None)
            print(result.table.removeprefix("rows."), result.rows > 0)
    run("userNames", full_refresh=True)
    print([name for name in sys.modules if name.startswith("dagster")])
    """
    file = own_place / "sandbox.yaml"
    file.write_text(sandbox_text(sandbox.url, RESOURCES, "Sand-Box"))
    process = run_python(LOADING + code, str(file), "rows.duckdb")
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    assert output.splitlines() == [
        "sand_box.events True",
        "sand_box.user_names True",
        "sand_box.order_lines True",
        "sand_box.events True",
        "sand_box.user_names True",
        "sand_box.order_lines False",
        "[]",
    ]
    files = sorted(str(path.relative_to(own_place)) for path in own_place.rglob("*") if path.is_file())
    assert files == ["cwd/rows.duckdb", "cwd/rows.duckdb.lock", "sandbox.yaml"]


def test_importing_writes_nothing_and_reaches_nobody(own_place: Path) -> None:
    code = """
    import socket
    def refuse(*_): raise AssertionError("network")
    socket.socket.connect = refuse
    import analytics_dagster.loading.load
    """
    process = run_python(code)
    assert process.communicate(timeout=60) == ("", "")
    assert [path for path in own_place.rglob("*") if path.is_file()] == []
