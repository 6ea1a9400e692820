"""The JSON Schema takes what the reader takes, and editors see the same mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from analytics_dagster.spec import json_schema, parse_text
from analytics_dagster_tests.spec.helpers import EXAMPLE

SCHEMA = json_schema()
HEAD = "name: x\nclient: {base_url: 'https://x.y'}\n"
A = HEAD + "resources: [{name: a, write_disposition: replace, records: "
B = HEAD + "resources: [{name: a, write_disposition: replace, endpoint: {response_actions: ["
C = HEAD + "resources: [{name: a, write_disposition: replace, endpoint: {response: "
D = HEAD + "resources: [{name: a, write_disposition: replace, endpoint: {export: {download: "
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
    HEAD + "resources: [{name: a, write_disposition: replace, endpoint: {method: PATCH, json: [1]}}]",
    HEAD + "resources: [{name: a, write_disposition: replace, endpoint: {method: POST, form: {a: [b, 1]}}}]",
    B + "{status_code: [404, 5xx], header: {X-Left: 0}, when: a.b, action: retry, wait: [10s, 6]}]}}]",
    B + "{content: gone, header: X-Gone, action: fail, message: m, message_path: a.b, permanent: false}]}}]",
    A + "{rows: {zip: [{values: 'd[*].v', names: '$.h[*].n'}, {values: m, names: [n]}]}}}]",
    A + "{rows: {columns: c, entries: [e, d], without: [x], scalar: s}, drop: [a], hash: [b]}}]",
    A + "{fields: {a: b, c: {const: null}, d: {envelope: e}, f: {from: g, cast: 'date:%Y'}}}}]",
    A + "{hash: {fields: [a], salt: s}}}]",
    C + "{format: csv, encoding: utf-16, csv: {delimiter: ';', quote: null, names: [a], null: []}}}}]",
    D + "{path: '{create.url}', required: false}, idempotent: true}}}]",
    D + "{path: x}, poll: {path: x, json: {a: 1}, status_path: s, done: [a], every: 1m, timeout: 2h}}}}]",
    C + "{format: [zip, gzip, jsonl], members: '*.gz', end_error: cut, max_bytes: 50GB}}}]",
    HEAD
    + "resources: [{name: a, write_disposition: replace, for_each: {s: [x, 1]}, endpoint: '{for_each.s}'}]",
]
BAD = [
    C + "{}}}]",
    D + "{}}}}]",
    D + "{path: x}, poll: {every: x}}}}]",
    C + "{format: ndjson}}}]",
    C + "{format: [zip]}}}]",
    C + "{format: csv, csv: {delimiter: ';;'}}}}]",
    HEAD + "resources: [{name: a, write_disposition: replace, for_each: {s: []}, endpoint: '{for_each.s}'}]",
    HEAD + "resources: [{name: a, write_disposition: replace, for_each: [x], endpoint: a}]",
    A + "{row: {}}}]",
    A + "{rows: {zip: []}}}]",
    A + "{rows: {zip: [{values: v}]}}}]",
    A + "{fields: {a: 5}}}]",
    A + "{fields: {a: {from: b, cast: int}}}}]",
    A + "{drop: a}}]",
    A + "{hash: {salt: s}}}]",
    A + "{hash: []}}]",
    HEAD,
    "resources: [a]",
    HEAD + "resources: []",
    HEAD + "resources: [{endpoint: a}]",
    HEAD + "resources: [5]",
    B + "{status_code: 40x, action: fail}]}}]",
    B + "{status_code: 600, action: fail}]}}]",
    B + "{header: {X-Left: [0]}, action: fail}]}}]",
    B + "{status_code: 404, action: no_date}]}}]",
    B + "{status_code: 404, action: retry, wait: []}]}}]",
    HEAD + "resources: [{name: a, endpoint: {method: post}}]",
    HEAD + "resources: [{name: a, endpoint: {json: a}}]",
    HEAD + "resources: [{name: a, endpoint: {form: a=b}}]",
    HEAD + "resources: [{name: a, endpont: b}]",
    HEAD + "resources: [{name: 1a}]",
    HEAD + "resources: [{name: a, write_disposition: upsert}]",
    HEAD + "resources: [{name: a, columns: {t: {data_type: string}}}]",
    HEAD + "resources: [{name: a, endpoint: {paginator: offset}}]",
    HEAD + "resources: [{name: a, endpoint: {paginator: {type: offset, limit: 0}}}]",
    HEAD + "resources: [a]\nretry: {max_retries: x}",
    "client: {base_url: 'https://x.y', auth: {type: apikey, api_key: k}}\nresources: [a]",
    "client: {base_url: 'https://x.y', auth: {all: [{type: apikey, api_key: k}]}}\nresources: [a]",
    "client: {base_url: 'https://x.y', auth: {all: []}}\nresources: [a]",
    (
        "client: {base_url: 'https://x.y', auth: {type: jwt_bearer, algorithm: HS256, private_key: k}}\n"
        "resources: [a]"
    ),
    "client: {base_url: 'https://x.y', verify: false}\nresources: [a]",
]


def fits(value: Any) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(value)


@pytest.mark.parametrize("text", GOOD)
def test_good_files_fit(text: str) -> None:
    parse_text(text, "x.yaml")
    # JSON has no dates: an editor sees them as text, as our reader does.
    assert fits(json.loads(json.dumps(yaml.safe_load(text), default=str)))


@pytest.mark.parametrize("text", BAD)
def test_bad_files_do_not_fit(text: str) -> None:
    assert not fits(yaml.safe_load(text))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_part_says_what_it_is() -> None:
    assert all(part.get("description") for part in SCHEMA["$defs"].values())


def test_every_kind_of_authentication_has_an_example_that_is_good() -> None:
    kinds = {name: part for name, part in SCHEMA["$defs"].items() if name.endswith("Auth")}
    assert len(kinds) == 8
    for part in kinds.values():
        for example in part["examples"]:
            file = {
                "client": {"base_url": "https://x.y", "auth": example},
                "resources": [{"name": "a", "write_disposition": "replace", "endpoint": {"auth": example}}],
            }
            assert fits(file), example
            parse_text(json.dumps(file), "x.yaml")


def test_every_example_of_a_paginator_is_good() -> None:
    kinds = [part for name, part in SCHEMA["$defs"].items() if name.endswith("Paginator")]
    examples = [example for part in kinds for example in part.get("examples", [])]
    for key in ("past_end", "total_path"):
        values = kinds[0]["properties"][key]["examples"]
        examples += [{"type": "json_link", key: value} for value in values]
    for example in examples:
        keys = example.get("keys", [])
        params = {key: f"{{page.{key}}}" for key in ([keys] if isinstance(keys, str) else keys)}
        endpoint = {"method": "POST", "paginator": example, "params": params}
        resource = {"name": "a", "write_disposition": "replace", "endpoint": endpoint}
        file = {"client": {"base_url": "https://x.y"}, "resources": [resource]}
        assert fits(file), example
        parse_text(json.dumps(file), "x.yaml")


def test_every_example_of_a_response_action_is_good() -> None:
    part = SCHEMA["$defs"]["ResponseAction"]
    oauth2 = {"type": "oauth2", "access_token_url": "https://x.y", "client_id": "i", "client_secret": "s"}
    for example in part["examples"]:
        cursor = {"cursor_path": "t", "start_param": "a", "end_param": "b"}
        endpoint = {"response_actions": [example], "auth": oauth2, "incremental": cursor}
        resource = {"name": "a", "partitions": {"every": "day", "start": "2024-01-01"}, "endpoint": endpoint}
        file = {"client": {"base_url": "https://x.y"}, "resources": [resource]}
        assert fits(file), example
        parse_text(json.dumps(file), "x.yaml")
    assert all(key["description"] for key in part["properties"].values())


def test_every_key_of_records_and_answers_is_explained_with_an_example() -> None:
    names = ("Positions", "Rows", "FieldSource", "Hash", "Records", "ResponseFormat", "Csv")
    keys = [
        key
        for part in (SCHEMA["$defs"][name] for name in names)
        for name, key in part["properties"].items()
        if name not in ("rows", "csv")
    ]
    for name in ("Export", "ExportPoll", "ExportDownload", "ExportDelete"):
        assert all(
            "description" in key
            for name, key in SCHEMA["$defs"][name]["properties"].items()
            if name != "method"
        )
    assert all(key["description"] and key["examples"] for key in keys)


def test_the_schema_is_json_and_its_defaults_are_what_a_file_may_say() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert '"PT' not in json.dumps(SCHEMA)
    assert SCHEMA["$defs"]["Retry"]["properties"]["max_wait"]["default"] == "10m"
