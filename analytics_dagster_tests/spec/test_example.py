"""What a file says arrives in the model, whatever form it is written in."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from analytics_dagster.spec import (
    Api,
    ApiKeyAuth,
    BearerAuth,
    CursorPaginator,
    OAuth2Auth,
    OffsetPaginator,
    families,
    parse_text,
)
from analytics_dagster_tests.spec.helpers import EXAMPLE, api, resource, with_resource


def test_every_value_of_the_example_arrives() -> None:
    file = parse_text(EXAMPLE, "apis/other.yaml")
    example = file.api
    assert (example.version, example.name, example.description) == (1, "example", "Example analytics API")
    assert example.client.base_url == "https://api.example.com"
    assert example.client.auth == ApiKeyAuth(
        type="api_key", name="api_key", api_key="${EXAMPLE_API_KEY}", location="query"
    )
    assert example.client.allowed_hosts == ["cdn.example.com"]
    assert example.client.max_response_bytes == 2 * 10**9
    assert example.client.max_response_time == timedelta(minutes=20)
    assert example.retry.model_dump() == {
        "max_retries": 4,
        "backoff_factor": 3,
        "status_codes": [429, 503],
        "max_wait": timedelta(minutes=11),
    }
    assert example.limits.model_dump() == {
        "requests": 600,
        "per": "hour",
        "concurrency": 5,
        "pages": 2_000_000,
    }
    assert example.rerun.delays == [timedelta(minutes=2), timedelta(minutes=6)]
    assert example.rerun.max_reruns == 2

    users, events = example.resources
    assert (users.name, users.description, users.write_disposition) == ("users", "People", "replace")
    assert (users.owners, users.tags) == (["team:data", "me@example.com"], {"tier": "gold"})
    assert users.primary_key == "id"
    assert users.endpoint.path == "/v1/users"
    assert users.endpoint.data_selector == "data"
    assert users.endpoint.paginator == OffsetPaginator(type="offset", limit=100)

    assert (events.write_disposition, events.on_rerun, events.rerun_mode) == (
        "merge",
        "replace_window",
        "replace_window",
    )
    assert events.endpoint.incremental is not None
    assert events.endpoint.incremental.model_dump(exclude_unset=True) == {
        "cursor_path": "created_at",
        "start_param": "created_after",
        "end_param": "created_before",
        "format": "date",
        "start": "exclusive",
        "end": "inclusive",
        "timezone": "Europe/Berlin",
    }
    assert events.partitions is not None
    assert events.partitions.model_dump() == {
        "every": "day",
        "start": date(2024, 1, 1),
        "timezone": "Europe/Berlin",
        "lookback": 2,
    }
    assert events.partitions.first == datetime(2023, 12, 31, 23, tzinfo=UTC)
    assert events.schedule == "15 * * * *"
    assert events.columns == {"created_at": {"data_type": "timestamp", "nullable": False}}
    assert (events.schema_contract, events.max_table_nesting) == ("evolve", 0)

    assert file.resource_lines == {"users": 32, "events": 38}
    assert file.line("client", "auth", "location") == 10
    assert file.line("resources", 1, "partitions", "every") == 50
    assert file.line("resources", 1, "partitions", "nothing") == 49


def test_what_is_left_out_has_the_documented_defaults() -> None:
    small = api(with_resource("{name: users, write_disposition: replace}"))
    assert small.retry.max_retries == 3
    assert small.retry.backoff_factor == 2
    assert small.retry.status_codes == [429, 500, 502, 503, 504]
    assert small.retry.max_wait == timedelta(minutes=10)
    assert small.rerun.max_reruns == 3
    assert small.rerun.delays == [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)]
    assert small.client.max_response_bytes == 10**9
    assert small.client.max_response_time == timedelta(minutes=15)
    assert small.limits.pages == 1_000_000
    assert small.resources[0].endpoint.path == "users"


def test_a_model_can_be_made_again_from_what_it_says() -> None:
    example = parse_text(EXAMPLE, "x.yaml").api
    assert Api.model_validate(example.model_dump(by_alias=True, exclude_unset=True)) == example


def test_the_name_is_the_files_by_default() -> None:
    text = "client: {base_url: 'http://localhost:80'}\nresources: [{name: a, write_disposition: replace}]"
    assert parse_text(text, "apis/my-api.yaml").api.name == "my-api"


def test_short_forms() -> None:
    both = api("""
        client:
          base_url: ${BASE_URL}
          auth: {token: "${TOKEN}"}
          paginator: cursor
          headers:
        resource_defaults: {write_disposition: replace}
        resources:
          - users
          - {name: events, endpoint: v2/events}
          - {name: visits, endpoint: {path: ~}}
          - name: orders
            endpoint:
              auth:
                {type: oauth2, access_token_url: "https://x.y/t", client_id: "${I}", client_secret: "${S}"}
        """)
    users, events, visits, orders = both.resources
    assert both.client.auth == BearerAuth(token="${TOKEN}")
    assert both.client.paginator == CursorPaginator(type="cursor")
    assert both.client.headers == {}
    assert (users.name, users.endpoint.path) == ("users", "users")
    assert (events.name, events.endpoint.path) == ("events", "v2/events")
    assert (visits.endpoint.path, orders.endpoint.path) == ("visits", "orders")
    assert isinstance(orders.endpoint.auth, OAuth2Auth)


def test_dlts_other_forms_are_taken() -> None:
    events = resource("""
        name: events
        write_disposition: {disposition: merge, strategy: delete-insert}
        primary_key: [id, day]
        schema_contract: {tables: evolve, columns: freeze}
        columns: [{name: id, data_type: bigint}, {name: day, x-ours: 1}]
        endpoint:
          params:
            limit: 5
            since: {type: incremental, cursor_path: updated_at, initial_value: 2024-01-01}
        """)
    assert events.write_disposition == "merge"
    assert list(events.columns) == ["id", "day"]
    assert events.endpoint.params == {"limit": 5}
    assert events.endpoint.incremental is not None
    assert events.endpoint.incremental.start_param == "since"
    assert events.endpoint.incremental.cursor_path == "updated_at"
    assert events.endpoint.incremental.initial_value == "2024-01-01"


def test_defaults_are_merged_as_dlt_merges_them() -> None:
    merged = resource(
        """
        name: a
        columns: {id: {nullable: false}, own: {data_type: text}}
        endpoint:
          params: {b: 2}
          json: {d: {z: 1}}
          headers: {H: 2}
          paginator: {type: page_number}
        """,
        """
        write_disposition: replace
        columns: [{name: id, data_type: bigint, nullable: true}, {name: c, data_type: text}]
        endpoint:
          params: {a: 1, b: 1}
          json: {c: 1, d: {y: 1}}
          headers: {G: 1}
          paginator: {type: offset, limit: 5}
        """,
    )
    assert merged.endpoint.params == {"a": 1, "b": 2}
    assert merged.endpoint.json_body == {"c": 1, "d": {"z": 1}}  # one level deep
    assert merged.endpoint.headers == {"H": 2}  # shallow
    assert merged.endpoint.paginator is not None
    assert merged.endpoint.paginator.type == "page_number"
    assert merged.columns["id"] == {"name": "id", "data_type": "bigint", "nullable": False}
    assert set(merged.columns) == {"id", "own", "c"}


def test_null_takes_a_default_away() -> None:
    plain = resource(
        "{name: a, write_disposition: replace, endpoint: {incremental: null, paginator: null}}",
        "endpoint: {incremental: {cursor_path: t}, paginator: cursor}",
    )
    assert plain.endpoint.incremental is None
    assert plain.endpoint.paginator is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://[::1]:80/v1",
        "https://${TENANT}.x.y:${PORT}/",
        "https://bücher.example",
    ],
)
def test_addresses_that_are_good(url: str) -> None:
    text = f"client: {{base_url: '{url}'}}\nresources: [{{name: a, write_disposition: replace}}]"
    assert api(text).client.base_url == url


def test_text_stays_text() -> None:
    """`no`, times and dates reach the API as they were written, not as what YAML 1.1 makes of them."""
    params = resource("""
        name: a
        write_disposition: replace
        endpoint: {params: {country: no, at: 12:30, day: 2024-01-01, on: yes, n: 5, f: 1e3, t: true, z: ~}}
        """).endpoint.params
    assert params == {
        "country": "no",
        "at": "12:30",
        "day": "2024-01-01",
        "on": "yes",
        "n": 5,
        "f": 1000.0,
        "t": True,
        "z": None,
    }


def test_anchors_and_merge_keys_are_read() -> None:
    shared = api("""
        client: {base_url: "https://x.y"}
        resources:
          - &base
            name: a
            write_disposition: replace
            tags: {tier: gold}
          - <<: *base
            name: b
        """)
    assert [(r.name, r.write_disposition, r.tags) for r in shared.resources] == [
        ("a", "replace", {"tier": "gold"}),
        ("b", "replace", {"tier": "gold"}),
    ]


def test_a_child_knows_its_parent() -> None:
    family = api("""
        client: {base_url: "https://x.y"}
        resource_defaults: {write_disposition: replace}
        resources:
          - posts
          - name: comments
            include_from_parent: [id]
            endpoint: "posts/{resources.posts.id}/comments"
          - name: likes
            endpoint:
              path: "posts/{post}/likes"
              params: {post: {type: resolve, resource: posts, field: id}}
          - name: fixed
            endpoint: {path: "posts/{post}", params: {post: 5}, json: {q: "{{ users }}", u: "${U}"}}
        """)
    by_name = families.by_name(family.resources)
    parents = [families.parent_of(one, by_name) for one in family.resources]
    assert parents == [None, "posts", "posts", None]


def test_importing_needs_neither_dlt_nor_dagster() -> None:
    code = "import sys, analytics_dagster.spec; sys.exit(bool({'dlt', 'dagster'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
