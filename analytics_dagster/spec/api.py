"""The API file as a whole: one API, its client, its budget and its resources."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from analytics_dagster.spec.auth import Auth
from analytics_dagster.spec.endpoint import Endpoint
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.paginators import Paginator
from analytics_dagster.spec.units import Duration, Size, Time, Timezone


class Client(Model):
    """What all requests to the API share."""

    base_url: str
    headers: dict[str, str] = {}
    auth: Auth | None = None
    paginator: Paginator | None = None
    allowed_hosts: list[str] = Field(
        default=[], description="Other origins that a next link or a redirect may lead to."
    )
    max_response_bytes: Size = 10**9


class Retry(Model):
    """When and how often a request is tried again."""

    max_retries: int = Field(3, ge=0)
    backoff_factor: float = Field(2, ge=0)
    status_codes: list[int] = [429, 500, 502, 503, 504]
    max_wait: Duration = Field(
        timedelta(minutes=10), description="The longest wait that a Retry-After may ask for."
    )


class Limits(Model):
    """The budget of requests that all threads of a run share."""

    requests: int | None = Field(None, gt=0)
    per: Literal["second", "minute", "hour", "day"] = "minute"
    concurrency: int = Field(4, gt=0, description="Requests in flight at once.")


class Rerun(Model):
    """What the failure sensor does with a failed run."""

    max_reruns: int = Field(3, ge=0)
    delays: list[Duration] = Field(
        default=[timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)],
        description="The wait before each rerun; the last one holds for all further ones.",
    )


class Partitions(Model):
    """The window of each run."""

    every: Literal["hour", "day", "week", "month"]
    start: Time
    timezone: Timezone = "UTC"
    lookback: int = Field(0, ge=0, description="Windows that a scheduled run reads again, for late data.")


class ResourceDefaults(Model):
    """What a resource may say, and what `resource_defaults` may say for all of them."""

    endpoint: Endpoint | None = None
    primary_key: str | list[str] | None = None
    merge_key: str | list[str] | None = None
    write_disposition: Literal["merge", "append", "replace"] = "append"
    columns: dict[str, dict[str, Any]] = {}
    schema_contract: str | dict[str, str] | None = None
    max_table_nesting: int | None = Field(None, ge=0)
    table_name: str | None = None
    parallelized: bool | None = None
    include_from_parent: list[str] = []
    selected: bool = True
    description: str | None = None
    owners: list[str] = []
    tags: dict[str, str] = {}
    partitions: Partitions | None = None
    schedule: str | None = Field(None, description="A cron expression, in the partitions' time zone.")
    on_rerun: Literal["merge", "replace_window"] | None = None


class Resource(ResourceDefaults):
    """One resource: an asset in Dagster, a table in the destination."""

    name: str
    endpoint: Endpoint


class Api(Model):
    """One API file, its defaults already merged into its resources."""

    version: Literal[1] = 1
    name: str
    description: str | None = None
    owners: list[str] = []
    tags: dict[str, str] = {}
    client: Client
    retry: Retry = Retry()
    limits: Limits = Limits()
    rerun: Rerun = Rerun()
    resource_defaults: ResourceDefaults | None = None
    resources: list[Resource]
