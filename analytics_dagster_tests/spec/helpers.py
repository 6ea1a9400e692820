"""API files as texts for the tests of `spec`."""

from __future__ import annotations

from textwrap import dedent

from analytics_dagster.spec import Api, ApiFileError, Problem, Resource, parse_text

EXAMPLE = """\
version: 1
name: example
description: Example analytics API
client:
  base_url: https://api.example.com
  auth:
    type: api_key
    name: api_key
    api_key: ${EXAMPLE_API_KEY}
    location: query
  allowed_hosts: [cdn.example.com]
  max_response_bytes: 2GB
  max_response_time: 20m
retry:
  max_retries: 4
  backoff_factor: 3
  status_codes: [429, 503]
  max_wait: 11m
limits:
  requests: 600
  per: hour
  concurrency: 5
  pages: 2000000
rerun: {max_reruns: 2, delays: [2m, 6m]}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint:
    data_selector: data
    paginator: {type: offset, limit: 100}
resources:
  - name: users
    description: People
    owners: [team:data, me@example.com]
    tags: {tier: gold}
    write_disposition: replace
    endpoint: {path: /v1/users}
  - name: events
    endpoint:
      path: /v1/events
      incremental:
        cursor_path: created_at
        start_param: created_after
        end_param: created_before
        format: date
        start: exclusive
        end: inclusive
        timezone: Europe/Berlin
    partitions:
      every: day
      start: 2024-01-01
      timezone: Europe/Berlin
      lookback: 2
    schedule: "15 * * * *"
    on_rerun: replace_window
    columns:
      created_at: {data_type: timestamp, nullable: false}
    schema_contract: evolve
    max_table_nesting: 0
"""


def api(text: str) -> Api:
    return parse_text(dedent(text), "apis/x.yaml").api


def problems(text: str) -> list[Problem]:
    """What is wrong with a text."""
    try:
        parse_text(dedent(text), "apis/x.yaml")
    except ApiFileError as error:
        return list(error.problems)
    return []


def with_resource(resource: str, defaults: str = "") -> str:
    """A file around one resource, whose first line is the file's line 5 (without defaults)."""
    head = "client:\n  base_url: https://api.example.com\nname: x\n"
    if defaults:
        head += "resource_defaults:\n" + _indented(dedent(defaults), "  ", "  ")
    return head + "resources:\n" + _indented(dedent(resource), "  - ", "    ")


def resource(text: str, defaults: str = "") -> Resource:
    return api(with_resource(text, defaults)).resources[0]


def _indented(text: str, first: str, others: str) -> str:
    lines = text.strip("\n").splitlines()
    return "".join(f"{others if index else first}{line}\n" for index, line in enumerate(lines))
