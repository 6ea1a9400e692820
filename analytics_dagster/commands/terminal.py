"""Where commands write: results to standard output, progress and errors to standard error."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH = 160  # columns, where nothing says how wide the reader's window is


class CommandError(Exception):
    """What was asked for cannot be done; the message says why, and what to do."""


def standard_output() -> Console:
    """For results."""
    return _console(stderr=False)


def standard_error() -> Console:
    """For progress and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


@contextmanager
def warnings_shown() -> Generator[None]:
    """Show what our modules warn of meanwhile, such as that they wait for a DuckDB file."""
    handler = _ToStandardError(logging.WARNING)
    ours = logging.getLogger("analytics_dagster")
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        standard_error().print(record.getMessage(), style="yellow", markup=False, soft_wrap=True)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in `numbers` are aligned to the right."""
    made = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return made
