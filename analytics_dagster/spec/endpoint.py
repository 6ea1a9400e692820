"""How one resource is asked for: request, pages, selector and cursor."""

from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, WithJsonSchema

from analytics_dagster.spec.actions import ResponseAction
from analytics_dagster.spec.auth import Auth
from analytics_dagster.spec.export import Export
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.paginators import Paginator
from analytics_dagster.spec.problems import shown
from analytics_dagster.spec.response import ResponseFormat
from analytics_dagster.spec.texts import JsonPath, Names, TimeFormat
from analytics_dagster.spec.units import Step, Timezone

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "SEARCH", "REPORT"]


def _json_body(value: Any) -> Any:
    if value is None or isinstance(value, dict | list):
        return cast("Any", value)
    raise ValueError(f"expected an object or a list, not {shown(value)}; a text that is JSON belongs in data")


JsonBody = Annotated[Any, AfterValidator(_json_body), WithJsonSchema({"type": ["object", "array", "null"]})]


class Incremental(Model):
    """The clock that the API filters on, and how its bounds are written."""

    cursor_path: JsonPath = Field(description="Where a row carries the cursor (JSONPath).")
    initial_value: Any = Field(default=None, description="Where a first load without partitions starts.")
    end_value: Any = Field(default=None, description="Where a load without partitions ends.")
    last_value_func: Literal["min", "max"] = "max"
    primary_key: Names | None = None
    row_order: Literal["asc", "desc"] | None = None
    allow_external_schedulers: bool | None = None
    on_cursor_value_missing: Literal["raise", "include", "exclude"] = "raise"
    lag: float | None = Field(
        default=None,
        description="How far a load without partitions reaches back behind its cursor, in seconds.",
    )
    range_start: Literal["open", "closed"] = "closed"
    range_end: Literal["open", "closed"] = "open"
    start_param: str | None = Field(default=None, description="The query parameter of the lower bound.")
    end_param: str | None = Field(default=None, description="The query parameter of the upper bound.")
    format: TimeFormat | None = Field(
        default=None,
        description="How bounds are written: iso (default), date, epoch, epoch_ms or a strftime pattern.",
        examples=["iso", "date", "epoch", "epoch_ms", "%Y%m%dT%H"],
    )
    start: Literal["inclusive", "exclusive"] = "inclusive"
    end: Literal["exclusive", "inclusive"] = "exclusive"
    timezone: Timezone = Field(default="UTC", description="Of bounds and of cursors that carry no offset.")
    step: Step | None = Field(
        default=None,
        description="The longest window that one request asks for; none: each window is asked for in one"
        " piece. Without it, a window of many pages is cut where that makes it faster.",
    )
    min: Step = Field(
        default=timedelta(minutes=1),
        json_schema_extra={"default": "1m"},
        description="The shortest window to which one is cut where nothing in the file says how long.",
    )


class EndpointOptions(Model):
    """What an endpoint may say apart from its path."""

    method: Method = "GET"
    params: dict[str, Any] = Field(
        default={},
        description="The query. A list is sent as the same name several times. Placeholders may stand in any"
        " text, several in one, and beside braces of the text's own.",
        examples=[
            {"date": "{incremental.start_value},{incremental.end_value}", "fields": ["id", "at"]},
            {"filter[at][_gte]": "{incremental.start_value}"},
            {"filter": '{"at": {"gte": "{incremental.start_value}"}}'},
        ],
    )
    json_body: JsonBody = Field(
        default=None,
        alias="json",
        description="A body that is sent as JSON, an object or a list. A placeholder that is a whole value"
        " keeps its type: a bound with format: epoch is a number.",
        examples=[{"dates": ["{incremental.start_value}", "{incremental.end_value}"]}, [{"since": 0}]],
    )
    form: dict[str, Any] | None = Field(
        default=None,
        description="A body that is sent as a form (application/x-www-form-urlencoded).",
        examples=[{"period": "range", "date": "{incremental.start_value},{incremental.end_value}"}],
    )
    data: Any = Field(
        default=None,
        description="A body that is sent as it is, where it is a text; give its Content-Type in headers."
        " dlt's mapping means the same as `form`.",
        examples=["<query since='{incremental.start_value}'/>"],
    )
    headers: dict[str, Any] = Field(default={})
    paginator: Paginator | None = None
    data_selector: JsonPath | None = Field(
        default=None, description="Where an answer holds its rows (JSONPath); without it, dlt looks for them."
    )
    data_selector_required: bool = Field(
        default=True,
        description="Whether an answer with nothing at data_selector is an error, or has no rows.",
    )
    response: ResponseFormat | None = Field(
        default=None, description="What the body of an answer is, where it is not one JSON document."
    )
    export: Export | None = Field(
        default=None,
        description="What follows where this request only has an export made, which is read when it is done.",
        examples=[
            {
                "poll": {"path": "exports/{create.id}", "status_path": "status", "done": "finished"},
                "download": {"path": "{poll.url}"},
                "delete": {"path": "exports/{create.id}"},
            }
        ],
    )
    response_actions: list[ResponseAction] = Field(
        default=[], description="What to do with certain answers; the first rule that fits counts."
    )
    incremental: Incremental | None = None
    auth: Auth | None = None


class EndpointDefaults(EndpointOptions):
    """What all endpoints share."""


class Endpoint(EndpointOptions):
    """One endpoint of the API."""

    path: str = Field(description="Behind the base URL; by default the name of the resource.")
