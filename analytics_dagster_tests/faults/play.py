"""A history is played: real loads into a real destination, which is compared with the API after each step."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import yaml

from analytics_dagster.loading.destination import Destination
from analytics_dagster.sandbox import Fault, SandboxSettings, running_sandbox
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.faults.expected import End, Ended, State, possible
from analytics_dagster_tests.faults.history import RETRIES, Endpoint, History, Step, Version, told
from analytics_dagster_tests.faults.processes import Failure, Holding, Loading, Order, Outcome, materialized
from analytics_dagster_tests.faults.source import Source
from analytics_dagster_tests.faults.stored import Query, Stored, asking, differences, stored_rows
from analytics_dagster_tests.faults.values import from_json

_SHOWN = 12  # differences that are told


class BrokenPromiseError(Exception):
    """What a history showed to be otherwise than promised; its text says at which step, and how."""


def play(history: History, database: str | None, say: Callable[[str], None] = lambda _: None) -> set[str]:
    """Play a history from its beginning, in directories of its own.

    Args:
        history: What happens.
        database: A connection string of a PostgreSQL database that nobody else uses; None for DuckDB.
        say: Is told what happens, line by line.

    Returns:
        What came of it that could not be known before, as `coverage` names it.

    Raises:
        BrokenPromiseError: If the product breaks a promise.
    """
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        with running_sandbox(SandboxSettings(max_page_size=history.cap)) as sandbox:
            sandbox.data = source = Source(history.endpoints)
            name = f"h{uuid4().hex[:12]}"
            file = parse_text(yaml.safe_dump(history.file(sandbox.url, name)), "faults.yaml")
            destination = (
                Destination("postgres", database)
                if database
                else Destination("duckdb", f"{place}/rows.duckdb")
            )
            player = _Player(history, place, source, file, destination, say)
            for number, step in enumerate(history.steps, 1):
                for line in told(step):
                    say(f"step {number}: {line}")
                for fault in step.faults:
                    sandbox.faults.add(fault)
                player.play(number, step)
                sandbox.faults.clear()
            player.tidy()
            return player.happened
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class _Ran:
    """A process that is over; `recorded` is what Dagster says of each load, where it was asked to do them."""

    order: Order
    outcome: Outcome
    recorded: list[bool] | None

    def loads(self, endpoint: str) -> list[Ended]:
        """How the loads of an endpoint ended, those that began."""
        loads = self.order.process.loads
        if self.recorded is not None:
            # Of those that Dagster does not know of, any number may have been committed.
            ended = [
                Ended(load, "done" if done else "lost")
                for load, done in zip(loads, self.recorded, strict=True)
            ]
        else:
            ended = [Ended(load, _end(how)) for load, how in zip(loads, self.outcome.ended, strict=False)]
            if len(ended) < len(loads):
                ended.append(Ended(loads[len(ended)], "lost"))
        return [one for one in ended if one.load.endpoint == endpoint]


def _end(how: Failure | None) -> End:
    if how is None:
        return "done"
    return "refused" if how.reading else "lost"


class _Player:
    def __init__(
        self,
        history: History,
        place: Path,
        source: Source,
        file: ApiFile,
        destination: Destination,
        say: Callable[[str], None],
    ) -> None:
        self._history = history
        self._place = place
        self._source = source
        self._file = file
        self._destination = destination
        self._say = say
        self._states = {endpoint.name: {State()} for endpoint in history.endpoints}
        self._number = 0
        self._torn: set[str] = set()
        self._problems: list[str] = []
        self.happened: set[str] = set()

    def play(self, number: int, step: Step) -> None:
        """Do what a step says, and look whether all is as promised."""
        self._number = number
        self._source.change(step.changes, stale=step.stale)
        self._source.change_later(step.meanwhile, step.answers)
        ran = self._run(step)
        self._judge(step, ran)
        with self._looking() as ask:
            for endpoint in self._history.endpoints:
                sequences = [one.loads(endpoint.name) for one in ran]
                self.happened |= {f"ended: {one.end}" for sequence in sequences for one in sequence}
                self._look(endpoint, sequences, ask)
        self._source.settle()
        if step is self._history.steps[-1]:
            self._look_at_the_end()
        if self._problems:
            raise BrokenPromiseError("\n".join([f"after step {number}:", *self._problems]))

    def _run(self, step: Step) -> list[_Ran]:
        orders = [
            Order(
                self._file,
                self._destination,
                process,
                step.patience,
                self._place / f"place{process.place}",
                self._place / f"instance{self._number}",
            )
            for process in step.processes
        ]
        table = f"{self._file.api.name}.{self._history.endpoints[0].name}"
        holding = Holding(self._destination, table, step.held) if step.held else None
        began = time.monotonic()
        running = [Loading(order) for order in orders]
        if step.cut_off is not None and self._destination.type == "postgres":
            time.sleep(step.cut_off / 1000)
            with asking(self._destination) as ask:
                ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}")
        outcomes = [loading.outcome() for loading in running]
        if holding:
            holding.end()
        for outcome in outcomes:
            ended = ["done" if one is None else one.message for one in outcome.ended]
            self._say(f"  {outcome.how} after {time.monotonic() - began:.2f} s: {'; '.join(ended)}")
        return [
            _Ran(order, outcome, materialized(order) if order.process.by_dagster else None)
            for order, outcome in zip(orders, outcomes, strict=True)
        ]

    def _judge(self, step: Step, ran: Sequence[_Ran]) -> None:
        """Whether each end of a process and each failure has its reason."""
        told = [f"resource `{endpoint.name}`" for endpoint in self._history.endpoints]
        server = self._destination.type == "postgres"
        cut_off = server and step.cut_off is not None
        kept_away = not server and step.held > step.patience
        for one in ran:
            how = one.outcome.how
            if how != "over" and not (how == "killed" and one.order.process.kill):
                self._problems.append(f"a process ended unasked: {how}")
            elif how == "killed" and one.order.process.kill:
                self.happened.add(f"killed: {one.order.process.kill.where}")
            moved = bool(self._source.moved)
            for failure in filter(None, one.outcome.ended):
                if not (_may_fail(step.faults) or kept_away or cut_off or moved):
                    self._problems.append(f"a load failed for no reason: {failure.message}")
                elif not failure.is_explained or not any(text in failure.message for text in told):
                    self._problems.append(f"a failure does not say what failed: {failure.message}")
            if one.recorded and None in one.outcome.ended and not all(one.recorded):
                self._problems.append(f"a run of Dagster's went well and recorded {one.recorded}")

    @contextmanager
    def _looking(self) -> Generator[Query]:
        """The destination, when nothing changes in it any more."""
        if self._destination.type == "duckdb" and not Path(self._destination.credentials or "").exists():
            yield lambda _: []
            return
        with asking(self._destination) as ask:
            if self._destination.type == "postgres":
                # A server may not have heard yet that the process behind a connection is dead.
                deadline = time.monotonic() + 30
                while ask(f"SELECT 1 FROM pg_stat_activity WHERE {_OTHERS}"):
                    assert time.monotonic() < deadline, "a connection stays open"
                    time.sleep(0.01)
            yield ask

    def _look(self, endpoint: Endpoint, sequences: list[list[Ended]], ask: Query) -> None:
        """Keep of the possible states those that are like what is stored."""
        name, shown, rows = endpoint.name, self._source.shown(endpoint.name), self._source.all[endpoint.name]
        stored, lost = stored_rows(ask, self._file.api.name, name)
        found = tuple(sorted(row.name for row in stored))
        if name in self._source.moved:
            # Rows were read some before a change and some after it. None of them is altered or there twice;
            # that none is missing, the next reading of them brings about.
            states = {State(found)}
            if endpoint.key and len({one.number for one in found}) < len(found):
                self._problems.append(f"`{name}` has rows twice: {found}")
        else:
            states = possible(endpoint, self._states[name], sequences, shown, rows)
        self._states[name] = {state for state in states if state.rows == found}
        if not self._states[name]:
            self._states[name] = {State(found)}
            nearest = min((_difference(state.rows, found) for state in states), key=len)
            self._problems.append(
                f"`{name}` is like none of {len(states)} possible outcomes; beside the nearest:"
            )
            self._problems += nearest[:_SHOWN]
        looks = [(row.name, self._alterations(endpoint, row)) for row in stored]
        altered = [f"`{name}`: {_called(one)} is altered: {'; '.join(how)}" for one, how in looks if how]
        if endpoint.way == "since_append" and any(one.end == "lost" for each in sequences for one in each):
            self._torn.add(name)
        if name in self._torn:
            # An append commits table by table. One that died may have left rows without those of their nested
            # tables, or the other way round; what counts is that all come again that are still there.
            missing = self._source.now(name).keys() - {one for one, how in looks if not how}
            altered = [f"`{name}`: {_called(one)} never came whole" for one, _ in looks if one in missing]
            lost = []
        if name not in self._torn or self._number == len(self._history.steps):
            self._problems += (altered + lost)[:_SHOWN]

    def _alterations(self, endpoint: Endpoint, row: Stored) -> list[str]:
        """How a stored row differs from what the API sent."""
        sent = self._source.all[endpoint.name].get(row.name)
        if sent is None:
            return [f"it never was: {row.fields}"]
        fields = from_json(sent.text)
        clock = endpoint.clock
        if endpoint.has_cursor and clock.form != "number":
            plain = not clock.nested and clock.form in {"iso", "micro", "offset", "naive"}
            fields["at" if plain else "_cursor"] = sent.at.isoformat()
        return differences(fields, row, endpoint.name, endpoint.nesting)

    def _look_at_the_end(self) -> None:
        """Whether the destination is what the API is, without a thought of how it came so."""
        for endpoint in self._history.endpoints:
            window = endpoint.all_windows
            now = self._source.now(endpoint.name)
            wanted = {name: row.at for name, row in now.items() if window is None or row.at in window}
            (held,) = {state.rows for state in self._states[endpoint.name]}
            if endpoint.has_cursor and endpoint.key:
                # What went back in time counts as an older version, which replaces none.
                wanted = self._newest(endpoint.name, wanted, held)
            extra = set(held) - wanted.keys() if endpoint.way in _EXACT else set[Version]()
            for what, names in (("lacks", wanted.keys() - set(held)), ("still has", extra)):
                if names:
                    listed = ", ".join(map(_called, sorted(names)[:_SHOWN]))
                    self._problems.append(f"`{endpoint.name}` {what} {listed}")
            if endpoint.way != "since_append" and len({name.number for name in held}) < len(held):
                self._problems.append(f"`{endpoint.name}` has rows twice")
        place = self._history.steps[-1].processes[0].place
        if left := [path.name for path in self._place.glob(f"place{place}/tmp/*/load-*")]:
            self._problems.append(f"directories of loads that died are left: {left}")

    def _newest(
        self, endpoint: str, wanted: Mapping[Version, datetime], held: Sequence[Version]
    ) -> dict[Version, datetime]:
        """Of each row that there should be, the version with the latest cursor of those that there are."""
        newest = {name.number: (at, name) for name, at in wanted.items()}
        for name in held:
            at = self._source.all[endpoint][name].at
            if name.number in newest and at > newest[name.number][0]:
                newest[name.number] = (at, name)
        return {name: at for at, name in newest.values()}

    def tidy(self) -> None:
        """Make a shared destination as it was."""
        if self._destination.type == "postgres":
            with asking(self._destination) as ask:
                ask(f"DROP SCHEMA IF EXISTS {self._file.api.name} CASCADE")


_EXACT = ("replace", "replace_window", "replace_window_without_key")
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"


def _may_fail(faults: Sequence[Fault]) -> bool:
    """Whether trying again need not help against some faults."""
    failing = [fault for fault in faults if fault.kind not in {"slow", "trickle"}]
    lasting = any(fault.kind == "status" and fault.status not in _PASSING for fault in failing)
    return lasting or sum(fault.first for fault in failing) > RETRIES


_PASSING = (429, 500, 502, 503, 504)


def _difference(wanted: Sequence[Version], found: Sequence[Version]) -> list[str]:
    more, less = Counter(found), Counter(wanted)
    return [f"  {_called(name)} is missing" for name in sorted((less - more).elements())] + [
        f"  {_called(name)} is {'there once too often' if name in less else 'there but should not be'}"
        for name in sorted((more - less).elements())
    ]


def _called(name: Version) -> str:
    return f"row {name.number} v{name.version}"
