"""What the query, the headers and the body of a request may hold, apart from placeholders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from analytics_dagster.spec.endpoint import Endpoint
from analytics_dagster.spec.placeholders import Mistake
from analytics_dagster.spec.problems import one_of


def mistakes(endpoint: Endpoint) -> Iterator[Mistake]:
    """What would be sent otherwise than it is written, as a key below the endpoint and a message."""
    bodies = {"json": endpoint.json_body, "form": endpoint.form, "data": endpoint.data}
    given = [name for name, body in bodies.items() if body is not None]
    for name in given[1:]:
        yield Mistake((name,), f"a request has one body, and there are {one_of(given, last='and')}; keep one")
    yield from _flat("params", endpoint.params)
    yield from _flat("form", endpoint.form or {})
    if isinstance(endpoint.data, dict):
        yield from _flat("data", cast("dict[str, Any]", endpoint.data))
    for name, value in endpoint.headers.items():
        if isinstance(value, dict | list | None):
            yield Mistake(("headers", name), "expected one text or number; quotes make a text of anything")
    if endpoint.paginator and given and not isinstance(endpoint.json_body, dict):
        for option, place in endpoint.paginator.model_dump(exclude_none=True).items():
            if option.endswith("_body_path"):
                yield Mistake(
                    ("paginator", option),
                    f"`{place}` would be put into a JSON object, and the body is none; write the body as"
                    f" `json: {{…}}`, or {option.removesuffix('_body_path')}_param",
                )


def _flat(part: str, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Values that are none of a query or a form, which knows texts only."""
    for name, value in values.items():
        inner: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if part == "params" and isinstance(value, dict):
            continue  # dlt's own, or a mistake as a placeholder
        if any(isinstance(one, dict | list) for one in inner):
            yield Mistake(
                (part, name),
                "expected a text, a number, true or false, or a list of them; JSON is written in quotes:"
                """ '{"a": ["{incremental.start_value}"]}'""",
            )
