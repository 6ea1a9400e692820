"""A secret appears only in the request that it belongs to, whatever happens in a run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import indent

from analytics_dagster_tests.security.echo import TOKEN, echo_api
from analytics_dagster_tests.security.leaks import in_bytes, in_directory

ROOT = Path(__file__).parent.parent.parent
RUNS = Path(__file__).parent / "runs.py"

AUTH = {
    "header": "auth: {type: api_key, name: X-Odd-Key, api_key: '${SECRET}', location: header}",
    "query": "auth: {type: api_key, name: appid, api_key: '${SECRET}', location: query}",
    "basic": "auth: {type: http_basic, username: me, password: '${SECRET}'}",
    "bearer": "auth: {type: bearer, token: '${SECRET}'}",
    "oauth": "auth: {type: oauth2, client_id: me, client_secret: '${SECRET}', access_token_url: URL/token}",
    "oauth-basic": "auth: {type: oauth2, client_id: me, client_secret: '${SECRET}', "
    "access_token_url: URL/token, client_authentication: basic}",
    "oauth-refused": "auth: {type: oauth2, client_id: me, client_secret: '${SECRET}', "
    "access_token_url: URL/status-400}",
    "template": "headers: {X-Custom: 'Token ${SECRET}'}",
}
WAYS = ["ok", "contract", "selector", "html", "cut", "json", "header", "redirect", "loop", "next", "reset"]
WAYS += ["status-400", "status-401", "status-403", "status-404", "status-429", "status-500", "status-503"]
WAYS += ["slow"]
FEW = ["ok", "contract", "status-401"]
FILE = """\
name: NAME
client:
  base_url: URL
  max_response_time: 1s
  AUTH
retry: {max_retries: 1, backoff_factor: 0, max_wait: 1s}
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
    return f'{kind}-k3y/with+odd="chars"&m%20re'


def write_files(directory: Path, url: str, closed: str) -> None:
    """A file for each kind of authentication, with a resource for each way to fail."""
    for kind, auth in AUTH.items():
        name = kind.replace("-", "_")
        ways = WAYS if kind == "query" else FEW  # a URL is what gets into most messages
        ways = ["status-401"] if kind == "oauth-refused" else ways
        resources = "".join(
            f"- {{name: {way.replace('-', '_')}, endpoint: {{path: /{way}}}}}\n" for way in ways
        )
        text = FILE.replace("AUTH", auth).replace("URL", url).replace("NAME", name)
        text = text.replace("SECRET", f"SECRET_{name.upper()}")
        (directory / f"{name}.yaml").write_text(text + indent(resources, "  "))
        if kind in {"query", "oauth"}:
            resource = "  - {name: unreachable, endpoint: {path: /ok}}\n"
            text = text.replace(f"base_url: {url}", f"base_url: {closed}")
            text = text.replace(f"name: {name}\n", f"name: {name}_closed\n", 1)
            (directory / f"{name}_closed.yaml").write_text(text + resource)


def test_no_run_leaves_a_secret_anywhere(tmp_path: Path) -> None:
    for name in ("apis", "cwd", "home", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(DAGSTER)
    variables = {f"SECRET_{kind.replace('-', '_').upper()}": secret_of(kind) for kind in AUTH}
    variables |= {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path / "home")}
    variables |= {"DAGSTER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    variables |= {"RUNTIME__LOG_LEVEL": "DEBUG", "RUNTIME__HTTP_SHOW_ERROR_BODY": "true"}
    with echo_api() as api, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        write_files(tmp_path / "apis", api.url, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            process = subprocess.run(
                [sys.executable, str(RUNS), str(tmp_path / "apis")],
                cwd=tmp_path / "cwd",
                env={**os.environ, **variables},
                stdout=out,
                stderr=err,
                timeout=240,
                check=False,
            )
    assert process.returncode == 0, (tmp_path / "err").read_text()[-3000:]
    kinds = len(AUTH) - 1
    seen = json.loads((tmp_path / "cwd" / "seen.json").read_text())
    assert (seen["ok"], seen["materialized"], seen["unexplained"]) == (3, kinds, 0), seen
    assert "ExecutionStepFailureEvent" in (tmp_path / "cwd" / "graphql.json").read_text()
    assert "connectionpool" in (tmp_path / "err").read_text()  # where debug logs would show URLs
    secrets = [*map(secret_of, AUTH), TOKEN]
    # Each was sent where it belongs, so that there was something to leak; and to no other place.
    sent = "\n".join(api.received)
    for secret in secrets:
        assert in_bytes([secret], sent.encode())
    assert "Host: localhost" not in sent
    assert in_directory(secrets, tmp_path) == []
