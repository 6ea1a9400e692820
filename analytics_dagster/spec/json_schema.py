"""The JSON Schema of an API file as it is written, for editors: short forms too, defaults not yet merged."""

from __future__ import annotations

from typing import Any

from analytics_dagster.spec.api import Api, Resource
from analytics_dagster.spec.columns import COLUMN_HINTS, DATA_TYPES
from analytics_dagster.spec.records import CASTS
from analytics_dagster.spec.texts import CONTRACT_ENTITIES, CONTRACT_MODES


def json_schema() -> dict[str, Any]:
    """The schema, JSON Schema 2020-12."""
    schema = Api.model_json_schema(by_alias=True)
    parts: dict[str, dict[str, Any]] = schema["$defs"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "An API file of analytics-dagster"
    schema["description"] = "One REST API: how to reach it, and what to load from it."
    schema["required"] = ["client", "resources"]
    for name in ("retry", "limits", "rerun"):
        schema["properties"][name].pop("default")  # each part states its own
    schema["properties"]["name"]["description"] = "By default the file's name."
    schema["properties"]["resources"] |= {
        "minItems": 1,
        "items": {
            "anyOf": [{"$ref": "#/$defs/Resource"}, _text("A resource's name, which is its path too.")]
        },
    }

    resource = parts["Resource"]
    resource["required"] = ["name"]
    resource["properties"]["endpoint"] = {
        "anyOf": [{"$ref": "#/$defs/Endpoint"}, _text("A path.")],
        "description": Resource.model_fields["endpoint"].description or "How the resource is asked for.",
    }
    parts["Endpoint"].pop("required")
    for part in (resource, parts["ResourceDefaults"]):
        _write_out_hints(part["properties"])

    parts["FieldSource"]["properties"]["cast"]["anyOf"][0] = {
        "anyOf": [{"enum": list(CASTS)}, {"type": "string", "pattern": "^(date|timestamp):.*%"}]
    }
    expression = parts["FieldSource"]["properties"]["from"]["anyOf"][0]
    parts["Records"]["properties"]["fields"]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/FieldSource"}, expression]
    }
    hashed = parts["Hash"]["properties"]["fields"]
    parts["Records"]["properties"]["hash"]["anyOf"].append(hashed)
    parts["BearerAuth"]["properties"]["type"] = {"const": "bearer", "default": "bearer"}
    parts["OAuth2Auth"]["properties"]["type"] = {"enum": ["oauth2_client_credentials", "oauth2"]}
    parts["SeveralAuth"]["properties"]["all"]["items"].pop("discriminator")
    for part in (parts["Client"], parts["Endpoint"], parts["EndpointDefaults"]):
        properties = part["properties"]
        _loosen_union(properties["auth"])
        _loosen_union(properties["paginator"])
        properties["paginator"]["anyOf"].append({"enum": _words_for_paginators(parts)})
    return schema


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _loosen_union(schema: dict[str, Any]) -> None:
    """Choose a member by its own `type`, which may be a short form that a discriminator does not know."""
    for option in schema["anyOf"]:
        option.pop("discriminator", None)


def _words_for_paginators(parts: dict[str, dict[str, Any]]) -> list[str]:
    """The paginators that need nothing but their type."""
    found: list[str] = []
    for name, part in parts.items():
        if name.endswith("Paginator") and part["required"] == ["type"]:
            kind = part["properties"]["type"]
            found += kind.get("enum") or [kind["const"]]
    return found


def _write_out_hints(properties: dict[str, Any]) -> None:
    """dlt's forms of columns, schema_contract and write_disposition."""
    column: dict[str, Any] = {
        "type": "object",
        "properties": {hint: {} for hint in COLUMN_HINTS} | {"data_type": {"enum": list(DATA_TYPES)}},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }
    properties["columns"] = {
        "description": "dlt's column hints by column, or as a list of mappings with a name.",
        "anyOf": [
            {"type": "object", "additionalProperties": column},
            {"type": "array", "items": {**column, "required": ["name"]}},
        ],
    }
    modes = {"enum": list(CONTRACT_MODES)}
    properties["schema_contract"] = {
        "description": "What dlt does with tables, columns and types that are new.",
        "anyOf": [
            modes,
            {
                "type": "object",
                "properties": dict.fromkeys(CONTRACT_ENTITIES, modes),
                "additionalProperties": False,
            },
        ],
    }
    ways = ["merge", "append", "replace"]
    properties["write_disposition"] = {
        "description": "How rows meet those of earlier loads.",
        "default": "append",
        "anyOf": [
            {"enum": ways},
            {
                "type": "object",
                "properties": {"disposition": {"enum": ways}, "strategy": {"const": "delete-insert"}},
                "required": ["disposition"],
                "additionalProperties": False,
            },
        ],
    }
