"""A sandbox starts and stops cleanly, beside other code or alone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import requests

from analytics_dagster.sandbox import Fault, RunningSandbox, SandboxSettings, running_sandbox, serve
from analytics_dagster_tests.sandbox.conftest import API_KEY, get


def can_connect(sandbox: RunningSandbox) -> bool:
    port = int(sandbox.url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_sandbox_stops_with_its_context_and_leaves_nothing_behind(client: requests.Session) -> None:
    threads = set(threading.enumerate())
    with running_sandbox() as sandbox:
        assert get(client, f"{sandbox.url}/v1/users")["total"] == 500
        assert can_connect(sandbox)
        began = time.monotonic()
    assert time.monotonic() - began < 2, "although the client keeps its connection open"
    assert not can_connect(sandbox)
    assert set(threading.enumerate()) == threads


def test_a_sandbox_stops_while_an_answer_is_still_due() -> None:
    with running_sandbox() as sandbox:
        sandbox.faults.add(Fault(kind="slow", seconds=60))

        def wait_for_answer() -> None:
            with suppress(requests.exceptions.ConnectionError):
                requests.get(f"{sandbox.url}/v1/users", headers=API_KEY, timeout=60)

        waiting = threading.Thread(target=wait_for_answer)
        waiting.start()
        while not sandbox.requests.list():
            time.sleep(0.005)
        began = time.monotonic()
    waiting.join(10)
    assert not waiting.is_alive()
    assert time.monotonic() - began < 5


def test_a_sandbox_stops_when_its_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), running_sandbox() as sandbox:
        _ = 1 / 0
    assert not can_connect(sandbox)


def test_a_failure_of_the_sandbox_itself_is_told_to_the_client(
    sandbox: RunningSandbox, client: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.data, "view", None)
    answer = client.get(f"{sandbox.url}/v1/users", timeout=10)
    assert answer.status_code == 500
    assert "TypeError" in answer.json()["error"]["message"]


def test_sandboxes_run_side_by_side(client: requests.Session) -> None:
    with running_sandbox(SandboxSettings(users=3)) as one, running_sandbox(SandboxSettings(users=4)) as other:
        assert get(client, f"{one.url}/v1/users")["total"] == 3
        assert get(client, f"{other.url}/v1/users")["total"] == 4


def test_a_port_in_use_is_named(shared: RunningSandbox) -> None:
    port = int(shared.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"127.0.0.1, port {port}: "), running_sandbox(port=port):
        pass
    with pytest.raises(OSError, match=f"port {port}"):
        serve(port=port)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_the_blocking_server_is_quiet_and_ends_at_ctrl_c() -> None:
    program = (
        "from analytics_dagster.sandbox import serve\n"
        "serve(port=0, ready=lambda url: print(url, flush=True))\n"
        "print('ended', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/v1/users", headers=API_KEY, timeout=10).status_code == 200
        requests.post(f"{url}/control/faults", json={"kind": "cut"}, timeout=10)
        with suppress(requests.exceptions.ChunkedEncodingError):
            requests.get(f"{url}/v1/users", headers=API_KEY, timeout=10)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "ended\n", "")


def test_importing_the_sandbox_does_not_import_the_server() -> None:
    program = (
        "import sys, analytics_dagster.sandbox; sys.exit(bool({'uvicorn', 'dagster'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
