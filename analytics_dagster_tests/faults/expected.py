"""What the destination may hold after loads, by what the documentation promises of each way of loading.

A load that ended well has one outcome. One that died may have committed its rows or not, and its cursor or
not; loads at once may have come in any order. So there is a set of states, which each look at the destination
narrows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from analytics_dagster_tests.faults.history import SINCE, Endpoint, Load, Row, Version

End = Literal["done", "refused", "lost"]
"""Of a load: it said that it is done, it said why nothing came of it, or it may have come to any point."""


@dataclass(frozen=True)
class State:
    """The versions of rows that a table holds, in order, each as often as it is there; and the stored cursor.

    `seen` are the rows at the cursor itself, which were loaded.
    """

    rows: tuple[Version, ...] = ()
    cursor: datetime | None = None
    seen: frozenset[Version] = field(default=frozenset())


@dataclass(frozen=True)
class Ended:
    """A load and how it ended."""

    load: Load
    end: End


def after(
    endpoint: Endpoint, state: State, shown: Sequence[Row], load: Load, all_rows: Mapping[Version, Row]
) -> State:
    """The state after a load that went well.

    Args:
        endpoint: What is loaded.
        state: The state before.
        shown: What the API has.
        load: The load.
        all_rows: All versions of all rows that there ever were.
    """
    rows = [row for row in shown if load.window is None or row.at in load.window]
    if endpoint.way == "replace" or load.full_refresh:
        return _at_newest(endpoint, State(_sorted(row.name for row in rows)), rows)
    if endpoint.way in SINCE and state.cursor is not None:
        rows = [row for row in rows if row.at >= state.cursor and row.name not in state.seen]
    if endpoint.way == "since_append":
        held = _sorted([*state.rows, *(row.name for row in rows)])
        return _at_newest(endpoint, replace(state, rows=held), rows)
    came = {row.name.number for row in rows}
    held = list(state.rows)
    if load.window and endpoint.way != "upsert":
        window = load.window
        stays = endpoint.way == "replace_window"
        held = [n for n in held if all_rows[n].at not in window or (stays and n.number in came)]
    if endpoint.way == "replace_window_without_key":
        return State(_sorted([*held, *(row.name for row in rows)]))
    by_number = {name.number: name for name in held}
    # What other windows of the run are to replace leaves nothing out.
    others = load.run if endpoint.way == "replace_window" else None
    for row in rows:
        old = by_number.get(row.name.number)
        before = all_rows[old].at if old else row.at
        replaced = others and load.window and before in others and before not in load.window
        if not endpoint.has_cursor or before <= row.at or replaced:
            by_number[row.name.number] = row.name
    return _at_newest(endpoint, replace(state, rows=_sorted(by_number.values())), rows)


def _at_newest(endpoint: Endpoint, state: State, rows: Sequence[Row]) -> State:
    """With the cursor of the newest row that came, where there is one."""
    if endpoint.way not in SINCE or not rows:
        return state
    newest = max(row.at for row in rows)
    seen = frozenset(row.name for row in rows if row.at == newest)
    return replace(state, cursor=newest, seen=seen | state.seen if newest == state.cursor else seen)


def _sorted(names: Iterable[Version]) -> tuple[Version, ...]:
    return tuple(sorted(names))


def possible(
    endpoint: Endpoint,
    states: Iterable[State],
    sequences: Sequence[Sequence[Ended]],
    shown: Sequence[Row],
    all_rows: Mapping[Version, Row],
) -> set[State]:
    """The states that may be after loads of one endpoint.

    Args:
        endpoint: What is loaded.
        states: Those that may have been before.
        sequences: The loads of each process, one after another; those of different processes in any order.
        shown: What the API has.
        all_rows: All versions of all rows that there ever were.
    """
    found: set[State] = set()
    begin = tuple(0 for _ in sequences)
    reached = {(begin, state) for state in states}
    queue = list(reached)
    while queue:
        places, state = queue.pop()
        waiting = [number for number, place in enumerate(places) if place < len(sequences[number])]
        if not waiting:
            found.add(state)
        for number in waiting:
            ended = sequences[number][places[number]]
            following = tuple(place + (one == number) for one, place in enumerate(places))
            for outcome in _outcomes(endpoint, state, ended, shown, all_rows):
                if (following, outcome) not in reached:
                    reached.add((following, outcome))
                    queue.append((following, outcome))
    return found


def _outcomes(
    endpoint: Endpoint, state: State, ended: Ended, shown: Sequence[Row], all_rows: Mapping[Version, Row]
) -> list[State]:
    if ended.end == "refused":
        return [state]
    whole = after(endpoint, state, shown, ended.load, all_rows)
    if ended.end == "done":
        return [whole]
    return [state, whole, replace(whole, cursor=state.cursor, seen=state.seen)]
