"""The JSON Schema takes what the reader takes, and editors see the same mistakes."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest
import yaml

from analytics_dagster.spec import json_schema, parse_text
from analytics_dagster_tests.spec.helpers import EXAMPLE

SCHEMA = json_schema()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
HEAD = "name: x\nclient: {base_url: 'https://x.y'}\n"
GOOD = [
    EXAMPLE,
    HEAD + "resource_defaults: {write_disposition: replace}\nresources: [u, {name: a, endpoint: v1/a}]",
    HEAD + "resources: [{name: a, write_disposition: {disposition: replace}, columns: [{name: id}]}]",
    (
        "name: x\nclient: {base_url: 'https://x.y', auth: {token: a}, paginator: single_page}\n"
        "resources: [{name: a, write_disposition: replace, schema_contract: {columns: freeze}}]"
    ),
    (
        "name: x\nclient: {base_url: 'https://x.y', auth: {type: oauth2, access_token_url: 'https://x.y/t',"
        " client_id: a, client_secret: b}}\nretry: {max_wait: 30}\n"
        "resources: [{name: a, write_disposition: replace, endpoint: {paginator: null, json: {a: 1}}}]"
    ),
]
BAD = [
    HEAD,
    "resources: [a]",
    HEAD + "resources: []",
    HEAD + "resources: [{endpoint: a}]",
    HEAD + "resources: [5]",
    HEAD + "resources: [{name: a, endpont: b}]",
    HEAD + "resources: [{name: 1a}]",
    HEAD + "resources: [{name: a, write_disposition: upsert}]",
    HEAD + "resources: [{name: a, columns: {t: {data_type: string}}}]",
    HEAD + "resources: [{name: a, endpoint: {paginator: offset}}]",
    HEAD + "resources: [{name: a, endpoint: {paginator: {type: offset, limit: 0}}}]",
    HEAD + "resources: [a]\nretry: {max_retries: x}",
    "client: {base_url: 'https://x.y', auth: {type: apikey, api_key: k}}\nresources: [a]",
]


def as_list(value: Any) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


def as_mapping(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits, by the keywords that the schema uses."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(
        isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool)) for k in kinds
    ):
        return False
    checks = [
        "const" not in schema or value == schema["const"],
        "enum" not in schema or value in schema["enum"],
        "anyOf" not in schema or any(fits(value, option) for option in schema["anyOf"]),
        "oneOf" not in schema or sum(fits(value, option) for option in schema["oneOf"]) == 1,
    ]
    if isinstance(value, str) and "pattern" in schema:
        checks.append(bool(re.search(schema["pattern"], value)))
    if isinstance(value, int | float):
        checks.append(
            value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", value - 1)
        )
    if (entries := as_list(value)) is not None:
        checks.append(len(entries) >= schema.get("minItems", 0))
        checks += [fits(item, schema.get("items", {})) for item in entries]
    if (mapping := as_mapping(value)) is not None:
        checks.append(all(key in mapping for key in schema.get("required", [])))
        for key, item in mapping.items():
            others = schema.get("additionalProperties", True)
            inner = schema.get("properties", {}).get(key, others)
            checks.append(inner if isinstance(inner, bool) else fits(item, inner))
    return all(checks)


@pytest.mark.parametrize("text", GOOD)
def test_good_files_fit(text: str) -> None:
    parse_text(text, "x.yaml")
    # JSON has no dates: an editor sees them as text, as our reader does.
    assert fits(json.loads(json.dumps(yaml.safe_load(text), default=str)), SCHEMA)


@pytest.mark.parametrize("text", BAD)
def test_bad_files_do_not_fit(text: str) -> None:
    assert not fits(yaml.safe_load(text), SCHEMA)


def test_every_part_says_what_it_is() -> None:
    assert all(part.get("description") for part in SCHEMA["$defs"].values())


def test_the_schema_is_json_and_its_defaults_are_what_a_file_may_say() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert '"PT' not in json.dumps(SCHEMA)
    assert SCHEMA["$defs"]["Retry"]["properties"]["max_wait"]["default"] == "10m"
