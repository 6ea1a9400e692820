"""That the harness itself learns how a process ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import pytest

from analytics_dagster_tests.faults.processes import exit_code, start


def unguarded(process: BaseProcess) -> int | None:
    wait([process.sentinel])
    return process.exitcode


@pytest.mark.parametrize(
    ("ask", "codes"),
    [
        pytest.param(exit_code, {0}, id="ours"),
        # When this fails, python/cpython#130895 is mended, and the lock in `processes` can go.
        pytest.param(unguarded, {0, 255}, id="python"),
    ],
)
def test_two_threads_ask_for_one_exit_code(
    ask: Callable[[BaseProcess], int | None], codes: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, process = start(repr)

    def read_slowly(fd: int) -> int:
        time.sleep(0.2)  # so that both threads have seen that there is something to read
        return read_signed(fd)

    read_signed = forkserver.read_signed
    monkeypatch.setattr(forkserver, "read_signed", read_slowly)
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(ask, [process, process])) == codes
