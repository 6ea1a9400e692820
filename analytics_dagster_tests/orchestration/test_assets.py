"""What a person sees and gets when an API file's assets are materialized in Dagster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import dagster as dg
import duckdb
import pytest
from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table

from analytics_dagster.loading import steps
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.orchestration.integration import DagsterDltResource
from analytics_dagster.orchestration.rerun import FAILURE_KIND, RENEWED
from analytics_dagster.orchestration.resources import ApiKeyCredentials, DestinationResource
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.reading.helpers import PagedApi, served

FILE = """
name: shop
description: The shop
owners: [team:data]
tags: {tier: gold}
client:
  base_url: ${SHOP_URL}
  auth: {type: api_key, name: X-API-Key, api_key: "${SHOP_KEY}"}
retry: {max_retries: 0}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {data_selector: data, paginator: {type: offset, limit: 100}}
resources:
  - name: users
    write_disposition: replace
    owners: [someone@example.com]
    tags: {tier: silver, pii: "yes"}
    description: Everybody
    endpoint: {path: /v1/users}
  - name: orders
    endpoint: {path: /v1/orders}
  - name: events
    endpoint:
      path: /v1/events
      incremental: {cursor_path: created_at, start_param: created_after, end_param: created_before}
    partitions: {every: day, start: 2024-01-01, lookback: 2}
    schedule: "15 * * * *"
"""


@pytest.fixture
def shop(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> ApiFile:
    monkeypatch.setenv("SHOP_URL", sandbox.url)
    monkeypatch.setenv("SHOP_KEY", sandbox.settings.api_key)
    return parse_text(FILE, Path("apis/shop.yaml"))


Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(shop: ApiFile) -> Run:
    def run(job: str = "shop", resources: Mapping[str, Any] | None = None, **options: Any) -> Any:
        defs = build_defs([shop], resources)
        return defs.resolve_job_def(job).execute_in_process(raise_on_error=False, **options)

    return run


def days(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def rows(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("analytics.duckdb", read_only=True) as connection:
        return connection.execute(query).fetchall()


def materializations(result: dg.ExecuteInProcessResult, name: str) -> list[dg.AssetMaterialization]:
    return list(result.asset_materializations_for_node(f"shop__{name}"))


def test_assets_carry_what_the_file_says(shop: ApiFile) -> None:
    graph = build_defs([shop]).resolve_asset_graph()
    users = graph.get(dg.AssetKey(["shop", "users"]))
    assert users.group_name == "shop"
    assert users.kinds == {"dlt", "duckdb"}
    assert users.description == "Everybody"
    assert users.owners == ["someone@example.com"]
    assert {"tier": "silver", "pii": "yes"}.items() <= users.tags.items()
    assert list(users.metadata) == ["dagster/code_references"]  # nothing that the UI cannot show
    [reference] = users.metadata["dagster/code_references"].code_references
    assert reference.file_path == str(Path("apis/shop.yaml").absolute())
    assert FILE.splitlines()[reference.line_number - 1] == "  - name: users"
    events = graph.get(dg.AssetKey(["shop", "events"]))
    assert events.owners == ["team:data"]
    assert events.tags["tier"] == "gold"
    assert events.description == "`GET /v1/events` of The shop"


def test_a_full_refresh_and_its_metadata(run: Run) -> None:
    result = run()
    assert result.success
    [done] = materializations(result, "users")
    metadata: dict[str, Any] = {key: value.value for key, value in done.metadata.items()}
    assert metadata["rows_loaded"] == 500
    assert (metadata["requests"], metadata["retries"], metadata["pages"]) == (5, 0, 5)
    assert metadata["bytes"] > 50_000
    assert metadata["seconds"] > 0
    assert metadata["dagster/table_name"] == "shop.users"
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert columns["created_at"].type == "timestamp"
    assert not columns["id"].constraints.nullable
    assert columns["name"].constraints.nullable
    header, _, first, *_ = metadata["preview"].splitlines()
    assert header.startswith("| id | ")
    assert "usr_1" in first
    assert rows("SELECT count(*), count(DISTINCT id) FROM shop.users") == [(500, 500)]


def test_what_a_run_adds_to_the_tables_is_in_its_metadata() -> None:
    row: dict[str, Any] = {"id": 1, "n": 1}
    with served(lambda _: ({"data": [row]}, {})) as url:
        text = f"client: {{base_url: {url}}}\nresources:\n- name: things\n  write_disposition: replace\n"
        text += "  endpoint: {path: things, data_selector: data, paginator: single_page}\n"
        defs = build_defs([parse_text(text, "apis/changing.yaml")])

        def changes() -> Any:
            result = defs.resolve_job_def("changing").execute_in_process()
            [done] = result.asset_materializations_for_node("changing__things")
            found = done.metadata.get("schema_changes")
            return found and found.value

        assert changes() is None
        row |= {"n": "soon", "new": 1.5}
        variant = "new column `things.n__v_text` (text, for values that do not fit the column beside it)"
        assert sorted(changes()) == [variant, "new column `things.new` (double)"]
        assert changes() is None


def test_dagster_takes_names_and_types_out_of_the_schema_of_dlt() -> None:
    """dagster#34052. Once this fails, `growth` and `arrival` may use the pipeline's schema."""
    schema = Schema("things")
    schema.update_table(new_table("things", columns=[{"name": "id", "data_type": "bigint"}]))
    DagsterDltResource()._extract_table_schema_metadata("things", schema)  # pyright: ignore[reportPrivateUsage]
    column = cast("Any", schema.tables["things"])["columns"]["id"]
    assert not {"name", "data_type"} & column.keys()


def test_each_partition_of_a_range_has_its_own_row_count(run: Run, sandbox: RunningSandbox) -> None:
    result = run("shop_day", tags=days("2024-01-30", "2024-02-02"))
    assert result.success
    last = {done.partition: done.metadata for done in materializations(result, "events")}
    for day, following in [("2024-01-30", "2024-01-31"), ("2024-01-31", "2024-02-01")]:
        truth = list(
            sandbox.data.truth(
                "events", created_after=f"{day}T00:00:00Z", created_before=f"{following}T00:00:00Z"
            )
        )
        assert truth
        assert last[day]["dagster/partition_row_count"].value == last[day]["rows_loaded"].value == len(truth)
        assert last[day]["window"].value == f"{day}T00:00:00+00:00/{following}T00:00:00+00:00"
        counted = str(last[day]["counted_together"].value)
        assert "of 4 partitions, 2024-01-30T00:00:00+00:00/2024-02-03" in counted
    assert last["2024-02-01"]["dagster/partition_row_count"].value == 0
    assert last["2024-02-02"]["rows_loaded"].value == 0


def test_what_a_step_committed_is_recorded_although_a_later_one_fails(
    run: Run, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WINDOWS_PER_COMMIT", 2)
    # one request for the first step of one day, two for the second of two days, then the API breaks
    sandbox.faults.add(Fault(match="/v1/events", skip=3, first=100, kind="status", status=503))
    with dg.DagsterInstance.ephemeral() as instance:
        result = run("shop_day", tags=days("2024-01-01", "2024-01-07"), instance=instance)
        assert not result.success
        key = dg.AssetKey(["shop", "events"])
        recorded = instance.get_materialized_partitions(key)
        assert recorded == {"2024-01-01", "2024-01-02", "2024-01-03"}
        assert rows("SELECT DISTINCT created_at::date::text FROM shop.events ORDER BY 1") == [
            (day,) for day in sorted(recorded)
        ]


def test_rows_that_move_meanwhile_are_read_again_and_the_run_says_so() -> None:
    api = PagedApi("offset", around=lambda _: {"total": len(api.rows)})
    api.before_page = lambda page: api.rows.pop(0) if page == 2 else None
    with served(api) as api.url, dg.DagsterInstance.ephemeral() as instance:
        file = parse_text(MOVING.replace("URL", api.url), Path("apis/shop.yaml"))
        result = build_defs([file]).resolve_job_def("shop").execute_in_process(instance=instance)
        log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert len([text for text in log if "Reading again from the start (2 of 3)" in text]) == 1
    assert rows("SELECT count(*), count(DISTINCT id) FROM shop.rows") == [(249, 249)]
    assert materializations(result, "rows")[-1].metadata["rows_loaded"].value == 249


MOVING = """
client: {base_url: "URL"}
resources:
  - name: rows
    write_disposition: replace
    endpoint: {path: rows, data_selector: data, paginator: {type: offset, limit: 100}}
"""


def test_a_range_is_read_in_few_requests(run: Run, sandbox: RunningSandbox) -> None:
    sandbox.requests.clear()
    result = run("shop_day", tags=days("2024-01-01", "2024-01-31"))
    assert result.success
    # 3,000 rows in pages of 100: a day, then ten, then twenty; each may have one page that is not full
    assert 30 <= len(sandbox.requests.list()) <= 34
    assert rows("SELECT count(*), count(DISTINCT id) FROM shop.events") == [(3000, 3000)]


def test_a_failed_resource_stops_neither_its_neighbours_nor_what_is_downstream_of_them(
    shop: ApiFile, sandbox: RunningSandbox
) -> None:
    @dg.asset(deps=[dg.AssetKey(["shop", "orders"])])
    def report() -> None: ...

    sandbox.faults.add(Fault(match="/v1/users", first=100, kind="status", status=503))
    defs = dg.Definitions.merge(build_defs([shop]), dg.Definitions(assets=[report]))
    keys = [dg.AssetKey(["shop", "users"]), dg.AssetKey(["shop", "orders"]), report.key]
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            raise_on_error=False, asset_selection=keys, instance=instance
        )
        assert not result.success
        done = [event.asset_key for event in result.get_asset_materialization_events()]
    assert sorted(key.to_user_string() for key in done if key) == ["report", "shop/orders"]


@pytest.mark.parametrize(
    ("status", "kind"), [(503, "transient"), (500, "transient"), (401, "permanent"), (404, "permanent")]
)
def test_a_failure_says_whether_a_rerun_can_help(
    run: Run, sandbox: RunningSandbox, status: int, kind: str
) -> None:
    sandbox.faults.add(Fault(match="/v1/users", first=100, kind="status", status=status))
    result = run(asset_selection=[dg.AssetKey(["shop", "users"])])
    description, told = failure(result)
    assert told == kind
    assert str(status) in description
    assert f"{sandbox.url}/v1/users" in description
    assert not Path("analytics.duckdb").exists() or not rows(
        "SELECT 1 FROM information_schema.tables WHERE table_name = 'users'"
    )


def test_a_missing_secret_fails_the_run_and_names_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KEY")
    result = run(asset_selection=[dg.AssetKey(["shop", "users"])])
    description, kind = failure(result)
    assert "${SHOP_KEY}" in description
    assert "apis/shop.yaml" in description
    assert kind == "permanent"


def test_credentials_and_destination_can_be_replaced(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KEY")
    monkeypatch.setenv("ELSEWHERE", "sandbox-key")
    result = run(
        resources={
            "shop_credentials": ApiKeyCredentials(api_key=dg.EnvVar("ELSEWHERE")),
            "destination": DestinationResource(type="duckdb", credentials="other.duckdb"),
        },
        asset_selection=[dg.AssetKey(["shop", "users"])],
    )
    assert result.success
    [done] = materializations(result, "users")
    assert done.metadata["dagster/table_name"].value == "shop.users"
    assert Path("other.duckdb").exists()
    assert not Path("analytics.duckdb").exists()


def test_the_ui_may_show_templates_and_never_sees_values(shop: ApiFile) -> None:
    resources = build_defs([shop]).resources or {}
    assert resources["shop_credentials"].api_key == "${SHOP_KEY}"


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, Any]:
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    data: Any = event.step_failure_data.user_failure_data
    return data.description, data.metadata[FAILURE_KIND].value


QUOTA = """
name: shop
client: {base_url: URL}
resources:
  - name: visits
    primary_key: id
    write_disposition: merge
    partitions: {every: day, start: 2024-01-01}
    endpoint:
      path: visits
      data_selector: data
      paginator: single_page
      incremental: {cursor_path: at, start_param: since, end_param: until}
      response_actions: [{status_code: 429, action: wait_quota}]
"""


def test_a_run_without_quota_keeps_what_is_whole_and_says_when_to_go_on() -> None:
    def answer(query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        if query["since"] < "2024-01-02":
            return {"data": [{"id": 1, "at": query["since"]}]}, {}
        return {}, {":status": "429", "Retry-After": "7200"}

    with served(answer) as url, dg.DagsterInstance.ephemeral() as instance:
        defs = build_defs([parse_text(QUOTA.replace("URL", url), Path("apis/shop.yaml"))])
        result = defs.resolve_job_def("shop_day").execute_in_process(
            raise_on_error=False, tags=days("2024-01-01", "2024-01-03"), instance=instance
        )
        assert not result.success
        assert instance.get_materialized_partitions(dg.AssetKey(["shop", "visits"])) == {"2024-01-01"}
    assert rows("SELECT id FROM shop.visits") == [(1,)]
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    data: Any = event.step_failure_data.user_failure_data
    assert data.metadata[FAILURE_KIND].value == "transient"
    assert time.time() + 7000 < data.metadata[RENEWED].value <= time.time() + 7200
    assert "in 2.0 h, and max_wait is 10.0 min" in data.description


def test_a_full_refresh_can_be_asked_for(run: Run, sandbox: RunningSandbox) -> None:
    assert run().success
    sandbox.data.delete("orders", ids=[next(iter(sandbox.data.truth("orders")))["id"]])
    assert run().success
    assert rows("SELECT count(*) FROM shop.orders") == [(600,)]
    config = {"ops": {"shop__orders": {"config": {"full_refresh": True}}}}
    assert run(run_config=config).success
    assert rows("SELECT count(*) FROM shop.orders") == [(599,)]
