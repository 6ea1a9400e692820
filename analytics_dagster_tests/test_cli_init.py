"""`init`: the first file of an API."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
import responses
import yaml

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster.spec import read_file
from analytics_dagster_tests.cli_runner import Cli, fresh_cli
from analytics_dagster_tests.drafting.documents import USER, gets, listed, openapi, query

DOCUMENT = openapi({"/users": gets(listed(USER)), "/orders": gets(listed(USER))}, info={"title": "Acme"})


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


def write_document(root: Any = DOCUMENT, name: str = "openapi.json") -> str:
    Path(name).write_text(
        json.dumps(root) if name.endswith("json") else yaml.safe_dump(root, sort_keys=False)
    )
    return name


@pytest.mark.parametrize("name", ["openapi.json", "openapi.yaml"])
def test_a_file_is_written_that_is_valid_and_never_over_another_one(cli: Cli, name: str) -> None:
    document = write_document(name=name)
    done = cli("init", "acme", "--openapi", document)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("apis/acme.yaml: 2 resources: users, orders\n")
    assert cli("validate").out == "apis/acme.yaml: ok, 2 resources\n"
    refused = cli("init", "acme", "--openapi", document, "--only", "ord*")
    assert (refused.code, refused.err) == (
        1,
        "apis/acme.yaml is there already; to write over it, add --force\n",
    )
    assert cli("init", "acme", "--openapi", document, "--only", "ord*", "--force").code == 0
    assert cli("validate").out == "apis/acme.yaml: ok, 1 resource\n"
    assert [path.name for path in Path("apis").iterdir()] == ["acme.yaml"]


def test_without_a_document_options_or_defaults_answer_the_questions(cli: Cli) -> None:
    asked = ("--base-url", "https://acme.example/v1", "--auth", "api_key", "--path", "/things")
    done = cli("init", "acme", *asked)
    assert (done.code, done.err) == (0, "")
    assert "Set before it is loaded: ACME_API_KEY" in done.out
    text = Path("apis/acme.yaml").read_text()
    assert "base_url: https://acme.example/v1" in text
    assert cli("init", "other", "--path", "/things?query=up&match=a&match=b").code == 0
    (things,) = read_file("apis/other.yaml").api.resources
    assert (things.name, things.endpoint.path) == ("things", "/things")
    assert things.endpoint.params == {"query": "up", "match": ["a", "b"]}
    assert cli("validate").out == "apis/acme.yaml: ok, 1 resource\napis/other.yaml: ok, 1 resource\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a/b",), "NAME: expected a name that begins with a letter"),
        (("acme", "--openapi", "none.json"), "none.json: the document cannot be read: No such file"),
        (("acme", "--openapi", "page.html"), "it is a web page"),
        (("acme", "--openapi", "merged.yaml"), "YAML's merge keys (<<)"),
        (("acme", "--openapi", "openapi.json", "--only", "x*"), "nothing matches x*; there is users, orders"),
        (("acme", "--openapi", "openapi.json", "--start", "now"), "--start: expected a date such as"),
        (("acme", "--auth", "basic"), "expected none, bearer, api_key, http_basic or oauth2"),
        (("acme", "--base-url", "acme.example"), "expected a URL with http:// or https://"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    write_document()
    Path("page.html").write_text("<html>: {")
    Path("merged.yaml").write_text("openapi: 3.0.0\na: &a {b: 1}\nc: {<<: *a}\n")
    done = cli("init", *arguments)
    assert done.code == 1
    assert message in done.err
    assert not Path("apis").exists()


def test_a_document_on_the_web_is_asked_for_without_showing_what_is_secret(cli: Cli) -> None:
    url = "https://ann:pw1@acme.example/openapi.json?key=s3cret"
    served = re.compile(r".*acme\.example/openapi")
    with responses.RequestsMock() as web:
        web.get(served, status=403)
        refused = cli("init", "acme", "--openapi", url)
    with responses.RequestsMock() as web:
        web.get(served, json={**DOCUMENT, "servers": [{"url": "/v3"}]})
        done = cli("init", "acme", "--openapi", url)
    assert refused.err.startswith("https://acme.example/openapi.json answers 403 Forbidden.")
    assert done.code == 0
    text = Path("apis/acme.yaml").read_text()
    assert "base_url: https://acme.example/v3" in text
    for secret in ("pw1", "s3cret"):
        assert secret not in refused.err + refused.out + done.err + done.out + text


def test_from_a_document_to_rows_that_are_equal_to_the_apis(
    cli: Cli, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = [query(f"created_{side}", format="date-time") for side in ("after", "before")]
    write_document(
        openapi(
            {
                "/users": gets(listed(USER, total="integer"), *map(number, ("limit", "offset"))),
                "/pages/events": gets(
                    listed(USER, total_pages="integer"), *map(number, ("page", "page_size")), *bounds
                ),
            },
            servers=[{"url": f"{sandbox.url}/v1"}],
            security=[{"key": []}],
            components={"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}},
        )
    )
    monkeypatch.setenv("ACME_API_KEY", sandbox.settings.api_key)
    with served(Path()) as url:
        made = cli("init", "acme", "--openapi", f"{url}/openapi.json", "--start", "2024-01-01")
    assert (made.code, made.err) == (0, "")
    checked = cli("check", "acme")
    assert checked.code == 0, checked.out
    assert "✗" not in checked.out
    assert cli("load", "acme", "-r", "users").code == 0
    assert cli("load", "acme", "-r", "events", "--from", "2024-01-01", "--to", "2024-01-04").code == 0
    for resource, end in (("users", None), ("events", "2024-01-04T00:00:00Z")):
        truth = {row["id"] for row in sandbox.data.truth(resource, created_before=end)}
        with duckdb.connect("analytics.duckdb", read_only=True) as db:
            stored = [row[0] for row in db.execute(f"SELECT id FROM acme.{resource}").fetchall()]
        assert len(stored) == len(truth) > 0
        assert set(stored) == truth


def test_one_answer_is_looked_at_if_that_is_wanted(
    cli: Cli, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["init", "acme", "--base-url", f"{sandbox.url}/v1", "--auth", "api_key", "--probe", "--path"]
    without = cli(*asked, "/links/users?limit=50")
    assert without.code == 1
    assert "no value for ${ACME_API_KEY}" in without.err
    monkeypatch.setenv("ACME_API_KEY", sandbox.settings.api_key)
    assert "was refused: 400 Bad Request" in cli(*asked, "/nothing").err
    assert cli(*asked, "/links/users?limit=50").code == 0
    assert [request.path for request in sandbox.requests.list()] == ["/v1/nothing", "/v1/links/users"]
    file = read_file("apis/acme.yaml")
    (users,) = file.api.resources
    assert users.primary_key == "id"
    assert users.endpoint.params == {"limit": "50"}
    assert users.endpoint.data_selector == "data"
    assert users.endpoint.paginator.model_dump(exclude_unset=True) == {
        "type": "json_link",
        "next_url_path": "next",
    }
    assert "one answer of" in Path("apis/acme.yaml").read_text()


def number(name: str) -> dict[str, Any]:
    return query(name, "integer")


@contextmanager
def served(directory: Path) -> Generator[str]:
    """Serve a directory's files; yields the URL."""
    handler = partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Nothing."""


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            {"status": 1, "data": {"active": [{"a": 1}], "dropped": []}},
            "cannot be told: data.active; write a",
        ),
        ({"status": 1, "data": ["a", "b"]}, "its lists have no objects: data; write a form with --no-probe"),
        ({"up": True}, "with no list. Give another --path"),
    ],
)
def test_an_answer_in_which_no_rows_are_found_is_described(cli: Cli, answer: Any, says: str) -> None:
    asked = ("--base-url", "https://acme.example", "--auth", "none", "--path", "/targets", "--probe")
    with responses.RequestsMock() as web:
        web.get("https://acme.example/targets", json=answer)
        done = cli("init", "acme", *asked)
    assert done.code == 1
    assert says in done.err
