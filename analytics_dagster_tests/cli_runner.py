"""Runs commands of the command line as a person does, in this process or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analytics_dagster.cli import main

PROGRAM = [sys.executable, "-c", "from analytics_dagster.cli import main; main()"]
DEFINITIONS = "analytics_dagster.definitions"


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: Any
    out: str
    err: str


class Cli:
    """Calls commands in this process, each as if it were the first."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        sys.modules.pop(DEFINITIONS, None)  # it holds the API files of an earlier directory
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = self._capsys.readouterr()
        return Done(ended.value.code or 0, printed.out, printed.err)


def fresh_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """For a fixture: a `Cli` that leaves the definitions of other tests as they were."""
    before = sys.modules.get(DEFINITIONS)
    monkeypatch.setattr("rich.console.Console.is_terminal", False)
    yield Cli(capsys)
    sys.modules.pop(DEFINITIONS, None)
    if before is not None:
        sys.modules[DEFINITIONS] = before


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )


def write_api(text: str, name: str = "acme") -> Path:
    """Write an API file into `./apis`."""
    path = Path("apis") / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
