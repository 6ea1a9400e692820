"""What a file says of a request is what arrives at the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import dlt
import pytest
from dlt.extract.exceptions import ResourceExtractionError

from analytics_dagster.loading.cursor import CountRows, cursor_column
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.loading.source import api_session, build_source
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import day
from analytics_dagster_tests.security.servers import Answer, Received, serving

START, END = 1704067200, 1704153600  # the first of January 2024, and the second
BOUND = '"{incremental.start_value}"'
ISO = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")


@pytest.fixture(autouse=True)
def pipeline(own_place: Path) -> Iterator[None]:
    """A pipeline, which dlt wants to be there while it reads."""
    working = dlt.pipeline("requests", pipelines_dir=str(own_place), destination="duckdb")
    yield
    working.deactivate()


def sent(endpoint: str, cursor: str = "", parent: Any = None, base: str = "URL/v1") -> Received:
    """What arrives for a window of a day: the last request, which finds no row.

    Args:
        endpoint: Keys of an endpoint in YAML; URL is where the server is.
        cursor: Further keys of its cursor.
        parent: A value that a row of the resource `parents` has.
        base: The base URL.
    """
    text = (
        f"name: api\nclient: {{base_url: '{base}'}}\nretry: {{max_retries: 0}}\n"
        "resources:\n- {name: parents, write_disposition: replace, endpoint: {path: parents}}\n"
        "- name: rows\n  primary_key: id\n  write_disposition: merge\n"
        "  partitions: {every: day, start: 2024-01-01}\n  endpoint:\n    data_selector: data\n"
        f"    paginator: single_page\n    incremental: {{cursor_path: at{cursor}}}\n"
        + indent(endpoint, "    ")
    )

    def answered(request: Received) -> Answer:
        return 200, {}, [{"id": parent}] if request.path == "/v1/parents" else {"data": []}

    with serving(answered) as server:
        resolved = resolve(parse_text(text.replace("URL", server.url), "api.yaml"))
        resource = resolved.api.resources[1]
        counted = CountRows([day(1)], cursor_column(resource), Meter())
        with api_session(resolved, Meter()) as session:
            assert not list(build_source(resolved, resource, session, counted, day(1)))
        return server.received[-1]


def query(request: Received) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.path).query, keep_blank_values=True)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "QUERY", "SEARCH"])
def test_any_method(method: str) -> None:
    request = sent(f'path: rows\nmethod: {method}\njson: {{since: "{{incremental.start_value}}"}}')
    assert request.method == method
    assert json.loads(request.body) == {"since": ISO[0]}


@pytest.mark.parametrize(
    ("written", "arrived"),
    [
        ('date: "{incremental.start_value},{incremental.end_value}"', {"date": ",".join(ISO)}),
        ('f: "at><{incremental.start_value}|{incremental.end_value}"', {"f": f"at><{ISO[0]}|{ISO[1]}"}),
        ('"filter[ts][_gte]": "{incremental.start_value}"', {"filter[ts][_gte]": ISO[0]}),
        (
            """q: '{"a": {"gte": "{incremental.start_value}", "lt": ["{incremental.end_value}"]}, "x":{}}'""",
            {"q": f'{{"a": {{"gte": "{ISO[0]}", "lt": ["{ISO[1]}"]}}, "x":{{}}}}'},
        ),
        (
            """q: '{{"at": "{incremental.start_value}", "key": "${TEST_KEY}"}}'""",  # as dlt wants it
            {"q": f'{{"at": "{ISO[0]}", "key": "{{{{k}}"}}'},
        ),
        (
            """q: '{"key": "${TEST_KEY}", "at": "{incremental.start_value}"}'""",
            {"q": f'{{"key": "{{{{k}}", "at": "{ISO[0]}"}}'},
        ),
        (
            '"q": "{events(from: \\"{incremental.start_value}\\"){id at}}"',
            {"q": f'{{events(from: "{ISO[0]}"){{id at}}}}'},
        ),
        (
            'since: "{incremental.start_value}"\n  deleted: true\n  n: 1.5\n  t: "a b+ü&=%41#"',
            {"since": ISO[0], "deleted": "true", "n": "1.5", "t": "a b+ü&=%41#"},
        ),
    ],
)
def test_the_query(written: str, arrived: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "{{k}")
    assert query(sent(f"path: rows\nparams:\n  {written}")) == list(arrived.items())
    as_form = sent(f"path: rows\nmethod: POST\nform:\n  {written}")
    assert parse_qsl(as_form.body.decode()) == list(arrived.items())
    assert as_form.headers["content-type"] == "application/x-www-form-urlencoded"
    text = json.loads(sent(f"path: rows\nmethod: POST\njson:\n  {written}").body)
    assert {name: str(value).replace("True", "true") for name, value in text.items()} == arrived


def test_a_list_in_the_query_and_parameters_with_brackets() -> None:
    request = sent(
        'path: index.php?module=API\nparams: {"m[]": [a, true]}',
        ", start_param: 'filter[ts][_gte]', end_param: 'filter[ts][_lt]'",
    )
    assert query(request) == [
        *(("module", "API"), ("m[]", "a"), ("m[]", "true")),
        *(("filter[ts][_gte]", ISO[0]), ("filter[ts][_lt]", ISO[1])),
    ]


@pytest.mark.parametrize(
    "body", ["{a: [{since: START, text: TEXT}], n: 1, t: true}", "[{since: START}, TEXT]"]
)
def test_numbers_stay_numbers_in_json(body: str) -> None:
    body = body.replace("START", '"{incremental.start_value}"').replace("TEXT", '"<{incremental.end_value}"')
    request = sent(f"path: rows\nmethod: POST\njson: {body}", ", format: epoch")
    end = f"<{END}"
    expected = {"a": [{"since": START, "text": end}], "n": 1, "t": True}
    assert json.loads(request.body) == (expected if body.startswith("{") else [{"since": START}, end])


@pytest.mark.parametrize("parent", [7, "a/b", "50% ü?x#y&z=1+2", "%41"])
def test_the_value_of_a_parent_arrives_as_it_is(parent: Any) -> None:
    value = "{resources.parents.id}"
    for written in ("json: {since: S, q: V}", "form: {since: S, q: V}", "data: 'S <V>'"):
        body = written.replace("V", f'"{value}"' if "{" in written else value)
        body = body.replace(
            "S", '"{incremental.start_value}"' if "{" in written else "{incremental.start_value}"
        )
        request = sent(
            f'path: "in/{value}/x:y"\nmethod: POST\n{body}\n'
            f'params: {{v: "<{value}>"}}\nheaders: {{X-Parent: a, X-Since: "{{incremental.start_value}}"}}',
            parent=parent,
        )
        assert unquote(urlsplit(request.path).path) == f"/v1/in/{parent}/x:y"
        assert query(request) == [("v", f"<{parent}>")]
        assert request.headers["x-since"] == ISO[0]
        text = request.body.decode()
        match written[:4]:
            case "json":
                assert json.loads(text) == {"since": ISO[0], "q": parent}
            case "form":
                assert parse_qsl(text) == [("since", ISO[0]), ("q", str(parent))]
            case _:
                assert text == f"{ISO[0]} <{parent}>"


@pytest.mark.parametrize(
    ("path", "arrived"),
    [
        ("properties/1:runReport", "/v1/properties/1:runReport"),
        ("v2:search", "/v1/v2:search"),
        ("a%2Fb/ü c", "/v1/a%2Fb/%C3%BC%20c"),
        ("URL/other/{incremental.start_value}/x", "/other/2024-01-01/x"),
        ('"{incremental.start_value}..{incremental.end_value}/rows"', "/v1/2024-01-01..2024-01-02/rows"),
    ],
)
def test_the_path(path: str, arrived: str) -> None:
    assert urlsplit(sent(f"path: {path}", ", format: date, start_param: since").path).path == arrived


def test_a_text_is_sent_as_it_is() -> None:
    xml = '<q from="{incremental.start_value}">ü {x: {y}} </q>'
    request = sent(f"path: rows\nmethod: POST\nheaders: {{Content-Type: text/xml, X-N: 5}}\ndata: '{xml}'")
    assert request.body.decode() == xml.replace("{incremental.start_value}", ISO[0])
    assert (request.headers["content-type"], request.headers["x-n"]) == ("text/xml", "5")


def test_a_slash_in_the_value_of_a_parent_parts_the_path_unless_the_file_says_otherwise() -> None:
    for written, arrived in (("id!e", "in/a%2Fb%20c/x"), ("id", "in/a/b%20c/x")):
        request = sent(
            f'path: "in/{{resources.parents.{written}}}/x"\nparams: {{s: S}}'.replace("S", BOUND),
            parent="a/b c",
        )
        assert urlsplit(request.path).path == f"/v1/{arrived}"
    with pytest.raises(ResourceExtractionError, match=r"`a/\.\./b`, in which.*Write `!e`"):
        sent(f'path: "in/{{resources.parents.id}}/x"\nparams: {{s: {BOUND}}}', parent="a/../b")
