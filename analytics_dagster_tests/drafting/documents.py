"""OpenAPI documents as different people write them."""

from __future__ import annotations

from typing import Any

from analytics_dagster.drafting.document import Document
from analytics_dagster.drafting.draft import Draft, Drafter
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.drafting import START


def listed(rows: dict[str, Any], **around: Any) -> dict[str, Any]:
    """The schema of an object with a list of rows at `data`."""
    beside = {name: {"type": kind} for name, kind in around.items()}
    return {"type": "object", "properties": {"data": {"type": "array", "items": rows}, **beside}}


def gets(schema: Any, *parameters: dict[str, Any], **said: Any) -> dict[str, Any]:
    """A GET operation of OpenAPI 3 that answers with JSON."""
    answer = {"content": {"application/json": {"schema": schema}}}
    return {"get": {"parameters": list(parameters), "responses": {"200": answer}, **said}}


def query(name: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    """A parameter of the query string."""
    return {"name": name, "in": "query", "schema": {"type": kind, **schema}}


def openapi(paths: dict[str, Any], **said: Any) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    return {"openapi": "3.1.0", "servers": [{"url": "https://api.example.com"}], "paths": paths, **said}


def drafted(root: Any, *only: str) -> tuple[ApiFile, Draft]:
    """The file that is drafted of a document, read back."""
    draft = Drafter(Document(root, "openapi.json"), "acme").draft(only, START)
    return parse_text(draft.text, "apis/acme.yaml"), draft


USER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "created_at": {"type": "string", "format": "date-time"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}
