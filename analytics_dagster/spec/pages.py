"""What a paginator needs of the request whose pages it finds."""

from __future__ import annotations

from collections.abc import Iterator

from analytics_dagster.spec.endpoint import Endpoint
from analytics_dagster.spec.placeholders import Mistake


def mistakes(endpoint: Endpoint) -> Iterator[Mistake]:
    """What would not arrive as it is meant, as a key below the endpoint and a message."""
    fields = {} if endpoint.paginator is None else endpoint.paginator.model_dump(exclude_none=True)
    for key in (key for key in fields if key.endswith("_form")):
        value = key.removesuffix("_form")
        if endpoint.json_body is not None:
            yield Mistake(
                ("paginator", key),
                f"the body of this request is JSON, and has no form; write {value}_body_path",
            )
        elif endpoint.data is not None and not isinstance(endpoint.data, dict):
            yield Mistake(
                ("paginator", key), "the body of this request is one text; give it as fields and values"
            )
        elif endpoint.method == "GET":
            yield Mistake(
                ("paginator", key),
                f"a GET request has no form body; write method: POST, or {value}_param for the query",
            )
