"""The API file as a whole: one API, its client, its budget and its resources."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from analytics_dagster.spec.auth import Auth
from analytics_dagster.spec.columns import Columns
from analytics_dagster.spec.endpoint import Endpoint, EndpointDefaults
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.paginators import KeysetPaginator, Paginator
from analytics_dagster.spec.placeholders import parents
from analytics_dagster.spec.records import Records
from analytics_dagster.spec.texts import (
    Certificate,
    Cron,
    Name,
    Names,
    Origin,
    Owner,
    SchemaContract,
    Tags,
    Url,
    WriteDisposition,
)
from analytics_dagster.spec.units import Duration, Size, Time, Timezone, in_timezone


class Client(Model):
    """What all requests to the API share."""

    base_url: Url
    headers: dict[str, str] = Field(default={})
    auth: Auth | None = None
    paginator: Paginator | None = None
    allowed_hosts: list[Origin] = Field(
        default=[], description="Other origins that a next link or a redirect may lead to."
    )
    max_response_bytes: Size = Field(
        default=10**9,
        json_schema_extra={"default": "1GB"},
        description="What a single answer may weigh once it is unpacked; a larger one fails the run.",
    )
    max_response_time: Duration = Field(
        default=timedelta(minutes=15),
        json_schema_extra={"default": "15m"},
        description="How long a single answer may take from its first byte asked for to its last.",
    )
    cert: Certificate | None = Field(
        default=None,
        description="A client certificate: a PEM file that holds its key too, or [certificate, key].",
    )

    @field_validator("paginator")
    @classmethod
    def _fits_all_requests(cls, paginator: Paginator | None) -> Paginator | None:
        if isinstance(paginator, KeysetPaginator):
            raise ValueError(  # noqa: TRY004 - pydantic's
                "a keyset stands beside the request that has its {page.FIELD}; write it below endpoint, or"
                " resource_defaults.endpoint"
            )
        return paginator


class Retry(Model):
    """When and how often a request is tried again."""

    max_retries: int = Field(default=3, ge=0)
    backoff_factor: float = Field(default=2, ge=0)
    status_codes: list[Annotated[int, Field(ge=100, le=599)]] = Field(default=[429, 500, 502, 503, 504])
    max_wait: Duration = Field(
        default=timedelta(minutes=10),
        json_schema_extra={"default": "10m"},
        description="The longest wait between two tries, also if a Retry-After asks for more.",
    )


class Limits(Model):
    """The budget of requests that all threads of a run share."""

    requests: int | None = Field(default=None, gt=0)
    per: Literal["second", "minute", "hour", "day"] = "minute"
    concurrency: int = Field(default=4, gt=0, description="Requests in flight at once.")
    pages: int = Field(
        default=1_000_000,
        gt=0,
        description="Pages that one load may read; more are taken for pages that do not end.",
    )


class Rerun(Model):
    """What the failure sensor does with a failed run."""

    max_reruns: int = Field(default=3, ge=0)
    delays: list[Duration] = Field(
        default=[timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)],
        min_length=1,
        json_schema_extra={"default": ["1m", "5m", "15m"]},
        description="The wait before each rerun; the last one holds for all further ones.",
    )


class Partitions(Model):
    """The window of each run."""

    every: Literal["hour", "day", "week", "month"]
    start: Time
    timezone: Timezone = "UTC"
    lookback: int = Field(
        default=0, ge=0, description="Windows that a scheduled run reads again, for late data."
    )

    @property
    def first(self) -> datetime:
        """The instant at which the first window starts."""
        return in_timezone(self.start, self.timezone)


class ResourceOptions(Model):
    """What a resource may say apart from its name and endpoint."""

    primary_key: Names | None = None
    merge_key: Names | None = None
    write_disposition: WriteDisposition = "append"
    columns: Columns = Field(default={})
    schema_contract: SchemaContract | None = None
    records: Records | None = Field(
        default=None,
        description="What a row is, after data_selector has picked the list. A resource's own replaces that"
        " of resource_defaults as a whole.",
    )
    max_table_nesting: int | None = Field(default=None, ge=0)
    table_name: Name | None = None
    parallelized: bool | None = None
    include_from_parent: list[str] = Field(
        default=[],
        description="Fields of the parent's row that each row gets, named _PARENT_FIELD as dlt does; one of a"
        " parent's parent is PARENT.FIELD, one of for_each is for_each.NAME.",
        examples=[["id"], ["id", "accounts.id"], ["for_each.site"]],
    )
    for_each: dict[str, Annotated[list[int | float | str], Field(min_length=1)]] = Field(
        default={},
        description="Lists of values in place of a parent: the endpoint is asked for with each of them as"
        " {for_each.NAME}; of several lists, with each combination.",
        examples=[{"site": ["blog", "shop", "${SITE}"]}],
    )
    selected: bool = True
    description: str | None = None
    owners: list[Owner] = Field(default=[])
    tags: Tags = Field(default={})
    partitions: Partitions | None = None
    schedule: Cron | None = Field(
        default=None, description="A cron expression, in the partitions' time zone."
    )
    on_rerun: Literal["merge", "replace_window"] | None = None


class ResourceDefaults(ResourceOptions):
    """What all resources share where they do not say otherwise."""

    endpoint: EndpointDefaults | None = None


class Resource(ResourceOptions):
    """One resource: an asset in Dagster, a table in the destination."""

    name: Name
    endpoint: Endpoint

    @property
    def rerun_mode(self) -> Literal["merge", "replace_window"]:
        """What a run of a window does with rows that the window already has: `on_rerun`, or its default."""
        if self.on_rerun:
            return self.on_rerun
        upserts = self.write_disposition == "merge" and self.primary_key
        return "merge" if upserts else "replace_window"

    @property
    def is_child(self) -> bool:
        """Whether it is asked for several times: for the rows of other resources, or values of `for_each`."""
        return bool(self.for_each or parents(self.endpoint))

    @property
    def has_cursor_per_parent(self) -> bool:
        """Whether each load goes on where the rows of each parent end."""
        return self.is_child and self.endpoint.incremental is not None and self.partitions is None


class Api(Model):
    """One API file, its defaults already merged into its resources."""

    version: Literal[1] = 1
    name: Name
    description: str | None = None
    owners: list[Owner] = Field(default=[])
    tags: Tags = Field(default={})
    client: Client
    retry: Retry = Retry()
    limits: Limits = Limits()
    rerun: Rerun = Rerun()
    resource_defaults: ResourceDefaults | None = None
    resources: list[Resource]
