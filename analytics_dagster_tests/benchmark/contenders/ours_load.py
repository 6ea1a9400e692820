"""analytics_dagster without Dagster: an API file, and `load()`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load as load_resource
from analytics_dagster.spec import Window, read_file
from analytics_dagster_tests.benchmark.contenders import Job

_FILE = """\
name: benchmark
client:
  base_url: {url}
limits: {{concurrency: 8}}  # as many connections as the limit has
resources:
  - name: events
    primary_key: id
    write_disposition: merge{nesting}
    endpoint: {{path: /events, data_selector: data, paginator: {{type: offset, limit: {page_size}}}}}
"""
_FEED = """\
    partitions: {{every: day, start: 2024-01-01}}
    endpoint:
      path: /feed
      data_selector: data
      params: {{limit: {page_size}}}
      paginator: {{type: cursor, cursor_path: next, cursor_param: cursor}}
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
"""
_DAY = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


def load(job: Job) -> None:
    """Load everything."""
    window = _DAY if job.paging == "cursor" else None
    load_resource(read_file(api_file(job)), "events", window, Destination(job.destination, job.to))


def api_file(job: Job) -> Path:
    """The API file that a user writes, in the directory of the process."""
    nesting = "\n    max_table_nesting: 0" if job.shape == "json" else ""
    path = Path("benchmark.yaml")
    text = _FILE
    if job.paging == "cursor":
        text = text[: text.index("    endpoint:")] + _FEED
    path.write_text(text.format(url=job.url, page_size=job.page_size, nesting=nesting))
    return path
