"""Shows a load while it is under way: windows, pages, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

if TYPE_CHECKING:
    from dagster import AssetKey

from analytics_dagster.commands.choice import range_text
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import Partitions, Window


class LoadProgress:
    """A line for each resource of one run; without a terminal, a line for each step and each wait.

    To be used as the run's watcher, and as a context around it.

    Args:
        console: Where to draw.
        partitions: What the windows are; None for resources without.
        windows: The windows of the run, in order.
    """

    def __init__(self, console: Console, partitions: Partitions | None, windows: Sequence[Window]) -> None:
        self._console = console
        self._partitions = partitions
        self._places: Mapping[Window, int] = {window: place for place, window in enumerate(windows)}
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[AssetKey, TaskID] = {}
        self._waiting: str | None = None
        self.meters: dict[AssetKey, list[Meter]] = {}

    def __enter__(self) -> LoadProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, key: AssetKey, step: Sequence[Window], meter: Meter) -> None:
        """Take note of a change of the counts of a step."""
        meters = self.meters.setdefault(key, [])
        name = key.to_user_string()
        step_text = range_text(self._partitions, step) if self._partitions else ""
        if not meters or meters[-1] is not meter:
            meters.append(meter)
            self._say(f"{name}: reading {step_text}".rstrip())
        if meter.waiting != self._waiting:
            self._waiting = meter.waiting
            if meter.waiting:
                self._say(f"{name}: {meter.waiting}")
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(name, total=len(self._places) or None, text="")
        rows, pages = (sum(getattr(one, count) for one in meters) for count in ("rows", "pages"))
        self._bars.update(
            self._tasks[key],
            completed=self._places[step[0]] if step else 0,
            text=f"{step_text}  {rows:,} rows, {pages:,} pages  {meter.waiting or ''}".strip(),
        )

    def _say(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, markup=False, soft_wrap=True)


@contextmanager
def waits_shown(console: Console, what: str) -> Generator[Callable[[Meter], None]]:
    """Show what is under way, and what it waits for; without a terminal, a line for each wait.

    Yields what the load's `on_change` calls.

    Args:
        console: Where to draw.
        what: What is under way.
    """
    told: str | None = None
    with console.status(escape(what)) as status:

        def on_change(meter: Meter) -> None:
            nonlocal told
            if meter.waiting != told:
                told = meter.waiting
                text = f"{what}: {told}" if told else what
                status.update(escape(text))
                if told and not console.is_terminal:
                    console.print(text, markup=False, soft_wrap=True)

        yield on_change
