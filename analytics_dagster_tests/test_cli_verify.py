"""`verify`: what a person sees of differences between an API and the destination."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, write_api

FILE = """\
client:
  base_url: {url}/v1
  auth: {{type: api_key, name: api_key, api_key: sandbox-key, location: query}}
retry: {{max_retries: 0}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 1000}}}}
resources:
  - name: users
    write_disposition: replace
    endpoint: {{path: users}}
  - name: orders
    endpoint:
      incremental:
        cursor_path: updated_at
        initial_value: 2024-01-01
        start_param: updated_after
        end_param: updated_before
  - name: events
    endpoint:
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: {start}}}
"""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


@pytest.fixture
def api(sandbox: RunningSandbox) -> RunningSandbox:
    write_api(FILE.format(url=sandbox.url, start="2024-01-01"))
    return sandbox


def line_of(out: str, asset: str) -> list[str]:
    return next(line.split()[1:] for line in out.splitlines() if line.startswith(asset))


def test_what_differs_is_told_with_its_values_and_what_to_do(cli: Cli, api: RunningSandbox) -> None:
    assert cli("load", "acme", "-r", "users", "-r", "orders").code == 0
    assert cli("load", "acme", "-r", "events", "--from", "2024-01-01", "--to", "2024-01-03").code == 0
    api.data.delete("orders", ["ord_5"])
    with duckdb.connect("analytics.duckdb") as destination:
        destination.execute("DELETE FROM acme.users WHERE id IN ('usr_1', 'usr_2')")
        destination.execute("UPDATE acme.users SET name = repeat('x', 200) WHERE id = 'usr_3'")
    before = Path("analytics.duckdb").read_bytes()
    done = cli("verify", "acme", "-r", "users", "-r", "orders")
    assert Path("analytics.duckdb").read_bytes() == before
    assert done.code == 1
    assert line_of(done.out, "acme/users") == ["–", "500", "498", "2", "0", "1"]
    assert line_of(done.out, "acme/orders") == ["–", "599", "600", "0", "1", "0"]
    name = next(row["name"] for row in api.data.truth("users") if row["id"] == "usr_3")
    assert f'name: "{name}" in the API, "{"x" * 58}… in the destination' in done.out
    assert "analytics-dagster load acme -r users" in done.out
    assert 'id "ord_5" (updated_at 2024-' in done.out
    assert "rows stay that the API no longer has" in done.out
    assert "analytics-dagster load acme -r orders --full-refresh" in done.out
    assert done.err.endswith("2 of 2 resources differ: users, orders\n")
    assert "acme/users: comparing with the destination…" in done.err

    done = cli("verify", "acme", "--from", "2024-01-01", "--to", "2024-01-03")
    assert line_of(done.out, "acme/events")[-3:] == ["0", "0", "0"]
    assert "acme/users is left out: it has no partitions and it has no cursor" in done.err
    assert 'id "ord_5"' in done.out
    done = cli("verify", "acme", "-r", "events", "--from", "2024-01-01", "--to", "2024-01-03")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    done = cli("verify", "acme", "-r", "events", "--from", "2024-01-02", "--to", "2024-01-04")
    assert done.code == 1
    assert "analytics-dagster load acme -r events --from 2024-01-02 --to 2024-01-04" in done.out


def test_all_windows_that_are_over_are_compared(cli: Cli, sandbox: RunningSandbox) -> None:
    write_api(FILE.format(url=sandbox.url, start=datetime.now(UTC).date() - timedelta(days=3)))
    done = cli("verify", "acme", "-r", "events")
    assert (done.code, line_of(done.out, "acme/events")) == (0, ["3", "0", "0", "0", "0", "0"])
    assert not Path("analytics.duckdb").exists()


def test_what_cannot_be_read_is_told_and_the_rest_is_compared(cli: Cli, api: RunningSandbox) -> None:
    assert cli("load", "acme", "-r", "orders").code == 0
    api.faults.add(Fault(kind="status", status=503, match="/v1/users"))
    done = cli("verify", "acme", "-r", "users", "-r", "orders")
    assert done.code == 1
    assert "apis/acme.yaml: resource `users`: " in done.err
    assert "503 Service Unavailable" in done.err
    assert "sandbox-key" not in done.err + done.out
    assert line_of(done.out, "acme/orders") == ["–", "600", "600", "0", "0", "0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-r", "users", "--from", "2024-01-01"], "`users` cannot be compared so: it has no partitions"),
        (
            ["-r", "events", "--from", "2024-01-01T05:00"],
            "`events`: --from 2024-01-01T05:00 is not the start",
        ),
        (["-r", "orders", "--from", "2024-02-01", "--to", "2024-01-01"], "a window must end after it starts"),
        (["-r", "nobody"], "there is no resource `nobody`"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    cli: Cli, api: RunningSandbox, arguments: list[str], message: str
) -> None:
    done = cli("verify", "acme", *arguments)
    assert done.code == 1
    assert message in done.err


def test_a_load_tells_of_a_check_that_failed(
    cli: Cli, api: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_dagster.loading.arrival.Arrival.problem", "three rows fell off")
    done = cli("load", "acme", "-r", "users")
    assert done.code == 0
    assert (
        "acme/users: three rows fell off. To see which rows differ: analytics-dagster verify acme" in done.err
    )
