"""analytics_dagster without Dagster: an API file, and `load()`."""

from __future__ import annotations

from pathlib import Path

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load as load_resource
from analytics_dagster.spec import read_file
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


def load(job: Job) -> None:
    """Load everything."""
    load_resource(read_file(api_file(job)), "events", destination=Destination(job.destination, job.to))


def api_file(job: Job) -> Path:
    """The API file that a user writes, in the directory of the process."""
    nesting = "\n    max_table_nesting: 0" if job.shape == "json" else ""
    path = Path("benchmark.yaml")
    path.write_text(_FILE.format(url=job.url, page_size=job.page_size, nesting=nesting))
    return path
