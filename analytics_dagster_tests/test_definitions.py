"""The code location: what it holds, and that loading it touches nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analytics_dagster.spec import ApiFileError

PURE = """
import os, sys
import dagster  # what Dagster and its libraries do at import is theirs

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"{event} {args}")
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    written = event == "open" and isinstance(args[2], int) and args[2] & writes and args[0] != os.devnull
    if written or event in ("os.mkdir", "os.rename", "os.remove"):
        raise SystemExit(f"{event} {args}")

sys.dont_write_bytecode = True
sys.addaudithook(refuse)
from analytics_dagster.definitions import defs
print(sorted(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()))
print(sorted(job.name for job in defs.resolve_all_job_defs()))
print(sorted(defs.resources))
"""


def load(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )


def test_loading_needs_no_network_no_secret_and_writes_nothing(tmp_path: Path) -> None:
    loaded = load(PURE, HOME=str(tmp_path / "home"))
    assert loaded.returncode == 0, loaded.stderr
    assert "sandbox/events" in loaded.stdout
    assert "sandbox_oauth2/sessions" in loaded.stdout
    assert "sandbox_day" in loaded.stdout
    assert not any(tmp_path.iterdir())
    assert "analytics_dagster" not in loaded.stderr  # no warning of ours


def test_files_in_use_come_from_apis_or_the_variable(tmp_path: Path) -> None:
    mine = "client: {base_url: https://a.example}\nresources: [{name: things, write_disposition: replace}]\n"
    (tmp_path / "apis").mkdir()
    (tmp_path / "apis" / "mine.yaml").write_text(mine)
    loaded = load(PURE)
    assert "['mine/things']" in loaded.stdout, loaded.stderr
    assert "['destination', 'dlt', 'mine_credentials']" in loaded.stdout  # nothing of the sample API
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "yours.yaml").write_text(mine)
    loaded = load(PURE, ANALYTICS_APIS=str(tmp_path / "elsewhere"))
    assert "['yours/things']" in loaded.stdout, loaded.stderr


def test_a_code_location_with_broken_files_does_not_load_and_says_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "apis").mkdir()
    (tmp_path / "apis" / "a.yaml").write_text("client: {base_ulr: https://a.example}\nresources: [things]\n")
    (tmp_path / "apis" / "b.yaml").write_text("client:\n  base_url: a.example\nresources: []\n")
    loaded = load("import analytics_dagster.definitions")
    assert loaded.returncode == 1
    assert ApiFileError.__name__ in loaded.stderr
    for words in ("a.yaml:1", "base_ulr", "base_url", "b.yaml:2"):
        assert words in loaded.stderr


def test_importing_the_package_is_cheap() -> None:
    loaded = load(
        "import sys, analytics_dagster, analytics_dagster.spec, analytics_dagster.sandbox\n"
        "print([name for name in ('dagster', 'dlt', 'pyarrow', 'duckdb', 'uvicorn') if name in sys.modules])"
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["loading.load", "reading.session", "sandbox"])
def test_what_is_below_orchestration_works_without_dagster(module: str) -> None:
    loaded = load(f"import sys, analytics_dagster.{module}; print('dagster' in sys.modules)")
    assert loaded.stdout.strip() == "False", loaded.stderr
