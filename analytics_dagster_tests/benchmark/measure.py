"""Running a program and seeing what it costs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_BETWEEN_LOOKS = 0.02  # seconds


@dataclass(frozen=True)
class Cost:
    """What a program cost from its start to its end.

    `wall` and `cpu` are seconds; `peak` is the most memory of it and its children at once, in bytes, and None
    where there is no /proc.
    """

    wall: float
    cpu: float
    peak: int | None
    exit_code: int
    output: str
    errors: str


def run(command: Sequence[str], place: Path, environment: Mapping[str, str]) -> Cost:
    """Run a program to its end.

    Args:
        command: The program and its arguments.
        place: The directory to run it in; what it prints is kept there too.
        environment: Its variables.
    """
    output, errors = place / "stdout", place / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=stdout, stderr=stderr)
        watch = _Watch(process.pid)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            watch.over.set()
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    watch.join()
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=watch.peak or None,
        exit_code=process.returncode,
        output=output.read_text(errors="replace"),
        errors=errors.read_text(errors="replace"),
    )


class _Watch(threading.Thread):
    """Looks at the memory of a process and its children until it is told that it is over."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.over = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self.over.wait(_BETWEEN_LOOKS):
            found = [_memory(pid) for pid in _with_children(self._pid)]
            together = sum(now for now, _ in found)
            self.peak = max(self.peak, together, *(most for _, most in found))


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:  # it has ended
            continue
        for child in pids:
            yield from _with_children(int(child))


def _memory(pid: int) -> tuple[int, int]:
    """The bytes that a process has in memory now, and the most that it ever had."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended, or there is no /proc
        return 0, 0
    found = dict(line.split(":", 1) for line in lines)
    now, most = (int(found.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most
