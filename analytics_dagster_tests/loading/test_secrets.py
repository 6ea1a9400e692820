"""Secrets: where they come from, what happens when one is missing, and that none is left anywhere."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from urllib.parse import quote

import pytest

from analytics_dagster.loading.resolve import WrongValueError
from analytics_dagster.reading.errors import LoadError, MissingSecretError
from analytics_dagster.sandbox import Fault, SandboxSettings, running_sandbox
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.loading.helpers import LOADING, Store, load_into, run_python

SECRET = "k3y/with+odd=characters&more"
TEXT = """\
name: sandbox
client:
  base_url: ${TEST_URL}
  headers: {X-Custom: "Token ${TEST_KEY}"}
  auth: {type: api_key, name: api_key, api_key: "${TEST_KEY}", location: query}
retry: {max_retries: 1, backoff_factor: 0}
resources:
- name: users
  write_disposition: replace
  endpoint: {path: /v1/users, data_selector: SELECTOR, paginator: {type: offset, limit: 100}}
"""
FILE = parse_text(TEXT.replace("SELECTOR", "data"), "apis/sandbox.yaml")


@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_secret_is_named_before_anything_happens(
    own_place: Path, duckdb_store: Store, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    if empty:
        monkeypatch.setenv("TEST_KEY", "")
    with pytest.raises(MissingSecretError) as failure:
        load_into(duckdb_store, FILE, "users")
    assert "apis/sandbox.yaml" in str(failure.value)
    assert "${TEST_URL}" in str(failure.value)
    assert "${TEST_KEY}" in str(failure.value)
    assert [path for path in own_place.rglob("*") if path.is_file()] == []


def test_a_value_that_does_not_fit_is_named_without_being_shown(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_URL", "api.example.com/very-secret")
    monkeypatch.setenv("TEST_KEY", SECRET)
    with pytest.raises(
        WrongValueError, match=r"apis/sandbox.yaml: .*client.base_url: .*\$\{TEST_URL\}"
    ) as failure:
        load_into(duckdb_store, FILE, "users")
    assert "very-secret" not in str(failure.value)
    assert SECRET not in str(failure.value)


def test_a_secret_may_stand_in_secrets_toml(own_place: Path) -> None:
    place = own_place / "cwd"
    (place / ".dlt").mkdir()
    (place / "sandbox.yaml").write_text(TEXT.replace("SELECTOR", "data"))
    with running_sandbox(SandboxSettings(users=3, api_key=SECRET)) as sandbox:
        (place / ".dlt" / "secrets.toml").write_text(f'TEST_URL = "{sandbox.url}"\nTEST_KEY = "{SECRET}"\n')
        process = run_python(
            LOADING + "    print(run('users').rows)", "sandbox.yaml", "rows.duckdb", cwd=place
        )
        output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("3\n", "")


FAULTS = {
    "none": None,
    "401": Fault(kind="status", status=401, body={"error": f"bad key {SECRET}"}),
    "500": Fault(kind="status", status=500, first=2),
    "html": Fault(kind="html", body=f"<p>{SECRET}</p>", first=2),
    "cut": Fault(kind="cut", first=2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_left_anywhere(
    own_place: Path,
    duckdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    for logger in ("analytics_dagster", "dlt", "urllib3", "requests"):
        caplog.set_level(logging.DEBUG, logger)
    monkeypatch.setenv("TEST_KEY", SECRET)
    told = ""
    with running_sandbox(SandboxSettings(users=3, api_key=SECRET)) as sandbox:
        monkeypatch.setenv("TEST_URL", sandbox.url)
        happens = FAULTS[fault]
        if happens is None:
            load_into(duckdb_store, FILE, "users")
        else:
            sandbox.faults.add(happens)
            with pytest.raises(LoadError) as failure:
                load_into(duckdb_store, FILE, "users")
            told = str(failure.value)
            assert failure.value.__cause__ is None
            assert failure.value.__suppress_context__
    left = [told, caplog.text, *capfd.readouterr()]
    left += [path.read_bytes().decode("latin-1") for path in own_place.rglob("*") if path.is_file()]
    if fault == "none":
        for table in ("users", "_dlt_version", "_dlt_pipeline_state", "_dlt_loads"):
            left.append(str(duckdb_store.fetch(f"SELECT * FROM {{}}.{table}")))
    forms = [SECRET, quote(SECRET), quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()]
    assert not any(form in text for form in forms for text in left)


def test_a_selector_that_finds_nothing_shows_the_answer_but_no_secret(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    with running_sandbox(SandboxSettings(api_key=SECRET)) as sandbox:
        monkeypatch.setenv("TEST_URL", sandbox.url)
        sandbox.faults.add(Fault(kind="status", status=200, body={"error": f"no such key: {SECRET}"}))
        with pytest.raises(LoadError, match="no such key: \\*\\*\\*"):
            load_into(duckdb_store, FILE, "users")
