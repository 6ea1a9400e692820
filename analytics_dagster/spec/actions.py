"""What an API file says of answers that are no plain success or failure: `response_actions`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from analytics_dagster.spec.expressions import Expression
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import shown
from analytics_dagster.spec.units import Duration, Timezone, parse_duration


def statuses(given: Any) -> frozenset[int]:
    """The statuses that a `status_code` means.

    Args:
        given: A status, a class of them such as `4xx`, or a list of both.

    Raises:
        ValueError: If one is none of HTTP.
    """
    found: set[int] = set()
    for one in cast("list[Any]", given) if isinstance(given, list) else [given]:
        if isinstance(one, str) and re.fullmatch("[1-5]xx", one, re.IGNORECASE):
            found |= {int(one[0]) * 100 + last for last in range(100)}
        elif isinstance(one, int) and 100 <= one <= 599:
            found.add(one)
        else:
            quotes = " (without quotes)" if isinstance(one, str) and one.isdigit() else ""
            raise ValueError(
                f"expected a status of HTTP from 100 to 599, 4xx, or a list of them, not {shown(one)}{quotes}"
            )
    if not found:
        raise ValueError("expected at least one status")
    return frozenset(found)


def _statuses(given: Any) -> Any:
    if given is not None:
        statuses(given)
    return given


def _header(given: Any) -> Any:
    values = list(cast("dict[str, Any]", given).values()) if isinstance(given, dict) else []
    is_name = isinstance(given, str) and ":" not in given
    if given is None or is_name or (values and all(isinstance(one, str | int) for one in values)):
        return cast("Any", given)
    raise ValueError("expected a header's name, such as X-Error, or {name: value}, such as {X-Remaining: 0}")


def _waits(given: Any) -> Any:
    waits = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not waits:
        raise ValueError("expected at least one duration, such as 30s")
    return None if given is None else [parse_duration(one) for one in waits]


_STATUS: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^[1-5][xX]{2}$"},
    ]
}
_HEADER: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": "^[^:]*$"},
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "integer"]},
            "minProperties": 1,
        },
        {"type": "null"},
    ]
}
Statuses = Annotated[
    Any,
    AfterValidator(_statuses),
    WithJsonSchema(
        {"anyOf": [*_STATUS["anyOf"], {"type": "array", "items": _STATUS, "minItems": 1}, {"type": "null"}]}
    ),
]
Header = Annotated[Any, AfterValidator(_header), WithJsonSchema(_HEADER)]
_WAIT: dict[str, Any] = {"type": ["string", "number"]}
Waits = Annotated[
    list[timedelta] | None,
    BeforeValidator(_waits),
    WithJsonSchema({"anyOf": [_WAIT, {"type": "array", "items": _WAIT, "minItems": 1}, {"type": "null"}]}),
]


Action = Literal["ignore", "no_data", "retry", "fail", "refresh_auth", "wait_quota", "halve"]


class ResponseAction(Model):
    """What to do with an answer of which all conditions hold that are given."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status_code": 404, "action": "no_data"},
                {"status_code": "5xx", "content": "maintenance", "action": "retry", "wait": ["1m", "5m"]},
                {
                    "status_code": 200,
                    "when": "result == 'error'",
                    "action": "fail",
                    "message_path": "message",
                },
                {"header": {"X-Error": "token_expired"}, "action": "refresh_auth"},
                {"status_code": [400, 504], "action": "halve"},
                {"status_code": 429, "action": "wait_quota", "max_wait": "30m", "reset": "day"},
            ]
        }
    )

    status_code: Statuses = Field(
        default=None,
        description="A status, all of a kind, or a list of them.",
        examples=[404, "4xx", [400, 504]],
    )
    content: str | None = Field(
        default=None, description="What the body has in it, as text.", examples=["terminated early"]
    )
    header: Header = Field(
        default=None,
        description="A header that is there, or one and its value.",
        examples=["X-Error", {"X-Remaining": 0}],
    )
    when: Expression | None = Field(
        default=None,
        description="JMESPath on the body: neither false, null nor empty. A body that is not JSON fits none.",
        examples=["result == 'error'", "errors[?code == 'THROTTLED']"],
    )
    action: Action = Field(
        description="ignore ends the pages here; no_data takes it for a page without rows; retry tries again;"
        " fail ends the run; refresh_auth fetches a new token once and tries again; wait_quota goes on when"
        " the quota is new; halve asks for both halves of the window instead, down to incremental.min."
    )
    message: str | None = Field(
        default=None, description="With fail: what to tell people.", examples=["Ask Ann for access."]
    )
    message_path: Expression | None = Field(
        default=None,
        description="With fail: where the body says what is wrong (JMESPath).",
        examples=["error.message"],
    )
    permanent: bool = Field(
        default=True, description="With fail: whether another run is of no use; false lets the sensor rerun."
    )
    max_retries: int | None = Field(
        default=None, ge=0, description="With retry: how often, in place of retry.max_retries."
    )
    wait: Waits = Field(
        default=None,
        description="With retry: the wait before each try, the last one for all further ones; by default as"
        " `retry` says. A longer Retry-After holds.",
        examples=["30s", ["10s", "1m", "5m"]],
    )
    max_wait: Duration = Field(
        default=timedelta(minutes=10),
        json_schema_extra={"default": "10m"},
        description="With wait_quota: how long a request waits at most, in all. Where the quota is new later,"
        " the run ends with what is whole, and the sensor goes on then.",
    )
    reset: Literal["hour", "day"] = Field(
        default="hour",
        description="With wait_quota: when the quota is new, if no Retry-After or RateLimit-Reset says so.",
    )
    timezone: Timezone = Field(default="UTC", description="With wait_quota: whose hour or day that is.")
