"""A secret appears only in the request that it belongs to, whatever happens in a run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from analytics_dagster_tests.security.echo import Received, echo_api
from analytics_dagster_tests.security.leaks import in_bytes, in_directory

ROOT = Path(__file__).parent.parent.parent
RUNS = Path(__file__).parent / "runs.py"
CLI = "from analytics_dagster.cli import main; main()"

OAUTH = (
    "auth: {type: oauth2, client_id: me, client_secret: '${SECRET}', client_authentication: %s,"
    " access_token_url: '%s'}"
)
AUTH = {
    "header": "auth: {type: api_key, name: X-Odd-Key, api_key: '${SECRET}', location: header}",
    "query": "auth: {type: api_key, name: appid, api_key: '${SECRET}', location: query}",
    "basic": "auth: {type: http_basic, username: me, password: '${SECRET}'}",
    "bearer": "auth: {type: bearer, token: '${SECRET}'}",
    "template": "headers: {X-Custom: 'Token ${SECRET}'}",
    "oauth": OAUTH % ("body", "URL/token"),
    "oauthbasic": OAUTH % ("basic", "URL/token"),
}
REFUSING = {  # here it is the token endpoint that fails
    "token": OAUTH % ("body", "URL/WAY"),
    "tokenbasic": OAUTH % ("basic", "URL/WAY"),
}
PLACES = {"query": "line", "oauth": "body", "token": "body"}  # of secrets; all others travel in headers

WAYS = {
    "ok": "loaded",
    "contract": "ContractError",
    "error": "SelectorError",
    "status_401": "RefusedError",
    "status_429": "RequestError",
    "status_500": "RequestError",
    "html": "RequestError",
    "json": "RequestError",
    "cut": "RequestError",
    "type": "RequestError",
    "redirect": "ForbiddenOriginError",
    "loop": "RefusedError",
    "next": "ForbiddenOriginError",
    "reset": "RequestError",
    "closed": "RequestError",
    "slow": "RequestError",
}
NO_TOKEN = {"ok", "contract", "error", "next"}  # good answers without a token, where one is asked for
BY_DAGSTER = ["ok", "contract", "status_401"]

FILE = """\
name: NAME
client:
  base_url: URL
  allowed_hosts: [CLOSED]
  max_response_time: SECONDS
  AUTH
retry: {max_retries: RETRIES, backoff_factor: 0.001}
resource_defaults:
  write_disposition: replace
  schema_contract: {columns: freeze, data_type: freeze}
  columns: {id: {data_type: bigint}, value: {data_type: bigint}}
  endpoint: {data_selector: data, paginator: {type: json_link, next_url_path: next}}
resources:
"""
DAGSTER = """\
telemetry: {enabled: false}
python_logs:
  python_log_level: DEBUG
  managed_python_loggers: [root]
"""


def secret_of(kind: str) -> str:
    return f'k3yBegins{kind}ZZ/with+odd="chars"&m%20re,k3yEnds{kind}ZZ'


def token_of(kind: str) -> str:
    """A token, of the characters that RFC 6750 (section 2.1) lets one have."""
    return f"t0kenBegins{kind}ZZ/with-odd._~+t0kenEnds{kind}ZZ=="


def searched(secret: str) -> list[str]:
    """A secret, and its two ends, which are to be found however what is between them was written or cut."""
    return [secret, *re.findall(r"\w+ZZ", secret)]


def write_files(directory: Path, url: str, closed: str) -> None:
    """Files for each kind of credentials, with a resource for each way to fail."""
    for kind, auth in {**AUTH, **REFUSING}.items():
        for name, ways in {kind: [*WAYS][:-1], f"{kind}_slow": ["slow"]}.items():
            settings = {
                "NAME": name,
                "AUTH": auth if kind in AUTH else "headers: {}",
                "SECONDS": "0.2s" if ways == ["slow"] else "10m",
                "RETRIES": "0" if ways == ["slow"] else "1",
            }
            text = FILE
            for way in ways:
                place = f"{closed}/{kind}/closed" if way == "closed" else f"{url}/{kind}/{way}"
                endpoint = f"path: {place if kind in AUTH else f'{url}/{kind}/ok'}"
                if kind in REFUSING:
                    endpoint += f", {auth.replace('URL/WAY', place)}"
                text += f"- {{name: {way}, endpoint: {{{endpoint}}}}}\n"
            settings |= {"URL": f"{url}/{kind}", "CLOSED": closed, "{SECRET}": f"{{{kind.upper()}_SECRET}}"}
            for setting, value in settings.items():
                text = text.replace(setting, value)
            (directory / f"{name}.yaml").write_text(text)


def run(arguments: Sequence[str], directory: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run Python in a directory; what it prints is kept beside that."""
    number = len(list(directory.parent.glob("out*")))
    out, err = (directory.parent / f"{name}{number}" for name in ("out", "err"))
    with out.open("w") as output, err.open("w") as errors:
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=directory,
            env={**os.environ, **variables},
            stdout=output,
            stderr=errors,
            timeout=300,
            check=False,
        )
    return process.returncode, err.read_text()


def secrets_in(request: Received) -> set[tuple[str, str]]:
    """The secrets and tokens in a request, and where in it they are."""
    secrets = {kind: secret_of(kind) for kind in {**AUTH, **REFUSING}}
    secrets |= {f"{kind}'s token": token_of(kind) for kind in secrets}
    return {
        (name, place)
        for name, secret in secrets.items()
        for place in ("line", "headers", "body")
        if in_bytes(searched(secret), getattr(request, place).encode())
    }


def test_a_secret_is_only_in_the_request_that_it_belongs_to(tmp_path: Path) -> None:
    for name in ("apis", "cwd", "home", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(DAGSTER)
    kinds = {**AUTH, **REFUSING}
    variables = {f"{kind.upper()}_SECRET": secret_of(kind) for kind in kinds}
    variables |= {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path / "home")}
    variables |= {"DAGSTER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    variables |= {"ANALYTICS_APIS": str(tmp_path / "apis")}
    variables |= {"RUNTIME__LOG_LEVEL": "DEBUG", "RUNTIME__HTTP_SHOW_ERROR_BODY": "true"}
    with echo_api(token_of) as api, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        write_files(tmp_path / "apis", api.url, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        command = ["-c", CLI, "--verbose", "load", "query", "-r", "ok", "-r", "status_500"]
        failed, told = run(command, tmp_path / "cwd", variables)
        assert failed == 1, told
        assert "query/status_500?appid=*** failed: 500" in told
        failed, told = run([str(RUNS), str(tmp_path / "apis"), *BY_DAGSTER], tmp_path / "cwd", variables)
        assert not failed, told[-3000:]

    outcomes = json.loads((tmp_path / "cwd" / "outcomes.json").read_text())
    assert outcomes["load"] == {
        f"{kind}{'_slow' * (way == 'slow')}/{way}": "RefusedError"
        if kind in REFUSING and way in NO_TOKEN
        else outcome
        for kind in kinds
        for way, outcome in WAYS.items()
    }
    assert outcomes["dagster"] == {
        f"{kind}/{way}": "loaded" if way == "ok" and kind in AUTH else "failed"
        for kind in kinds
        for way in BY_DAGSTER
    }
    assert "ExecutionStepFailureEvent" in (tmp_path / "cwd" / "graphql.json").read_text()
    assert "urllib3.connectionpool" in told  # whose debug logs would show URLs

    # Each was sent where it belongs, so that there was something to leak, and nowhere else.
    for request in set(api.received):
        assert f"http://{request.host}" == api.url, request
        fetched = request.kind.startswith("oauth") and request.way != "token"
        found = {(f"{request.kind}'s token", "headers")} if fetched else set[tuple[str, str]]()
        assert secrets_in(request) == (found or {(request.kind, PLACES.get(request.kind, "headers"))})
    asked = {(request.kind, request.way) for request in api.received}
    expected = {(kind, way) for kind in kinds for way in WAYS if way not in {"closed", "slow"}}
    assert expected <= asked

    secrets = [part for kind in kinds for of in (secret_of, token_of) for part in searched(of(kind))]
    assert in_directory(secrets, tmp_path) == []
