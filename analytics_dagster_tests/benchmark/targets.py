"""What is to be reached, as ratios of one run, and whether it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from analytics_dagster_tests.benchmark import fixed
from analytics_dagster_tests.benchmark.loads import Load
from analytics_dagster_tests.benchmark.scenarios import FIXED, PEERS, TOOLS

Results = dict[str, dict[str, list[Load]]]
"""Loads by scenario and contender."""

OURS = "ours_materialize"


def work(loads: Sequence[Load]) -> float:
    """The median of the time without imports, in seconds; endless if a load did not get to its end."""
    return median(float("inf") if load.work is None else load.work for load in loads)


def wall(loads: Sequence[Load]) -> float:
    """The median of the time of the whole process, in seconds."""
    return median(load.cost.wall for load in loads)


def peak(loads: Sequence[Load]) -> float:
    """The median of the most memory, in MB; not a number where it cannot be seen."""
    return median(math.nan if load.cost.peak is None else load.cost.peak / 1e6 for load in loads)


def is_exact(loads: Sequence[Load]) -> bool:
    """Whether each load left exactly what was served."""
    return not any(load.problem for load in loads)


Figure = Callable[[Results], float]


@dataclass(frozen=True)
class Target:
    """A figure of a scenario, and the most or the least that it may be."""

    scenario: str
    what: str
    sign: Literal["≤", "≥"]
    bound: float
    figure: Figure


@dataclass(frozen=True)
class Verdict:
    """A target, and the figure of this run; `exact` says whether ours and the limit left what was served."""

    target: Target
    figure: float
    exact: bool

    @property
    def reached(self) -> bool:
        """Whether the figure is within the target's bound, and counts."""
        bound = self.target.bound
        if not self.exact:
            return False
        return self.figure <= bound if self.target.sign == "≤" else self.figure >= bound


def verdicts(results: Results) -> Iterator[Verdict]:
    """Each target of which the loads were made."""
    for target in TARGETS:
        try:
            figure = target.figure(results)
        except (KeyError, ValueError):  # a contender or scenario was left out
            continue
        if not math.isnan(figure):
            loads = results[target.scenario].items()
            yield Verdict(target, figure, all(is_exact(own) for name, own in loads if name not in PEERS))


def _times_limit(scenario: str) -> Figure:
    return lambda results: work(results[scenario][OURS]) / work(results[scenario]["limit"])


def _ahead_of(scenario: str, *peers: str) -> Figure:
    """How many times faster than the fastest exact one."""

    def figure(results: Results) -> float:
        loads = results[scenario]
        fastest = min(work(loads[peer]) for peer in peers if peer in loads and is_exact(loads[peer]))
        return fastest / work(loads[OURS])

    return figure


def _memory(scenario: str) -> Figure:
    return lambda results: peak(results[scenario][OURS])


def _ratio(of: Callable[[Sequence[Load]], float], one: tuple[str, str], other: tuple[str, str]) -> Figure:
    return lambda results: of(results[one[0]][one[1]]) / of(results[other[0]][other[1]])


_MANY, _BARE, _EMPTY_WINDOW, _EMPTY_ASSET = ((FIXED, name) for name in fixed.NAMES)
_MILLION, _TEN_MILLION = ("million", OURS), ("ten-million", OURS)
TARGETS = [
    Target("flat-1000", "times the limit", "≤", 2.0, _times_limit("flat-1000")),
    Target("flat-1000", "times faster than the fastest tool", "≥", 4, _ahead_of("flat-1000", *TOOLS)),
    Target("flat-1000", "MB", "≤", 350, _memory("flat-1000")),
    Target("flat-100", "times the limit", "≤", 2.5, _times_limit("flat-100")),
    Target("slow", "times the limit", "≤", 1.5, _times_limit("slow")),
    Target("slow", "times faster than the fastest tool", "≥", 6, _ahead_of("slow", *TOOLS)),
    Target("nested", "times faster than dlt REST, Parquet", "≥", 2, _ahead_of("nested", "dlt_parquet")),
    Target("json", "times the limit", "≤", 2.5, _times_limit("json")),
    Target("postgres", "times faster than dlt REST", "≥", 3, _ahead_of("postgres", "dlt_default")),
    Target("million", "times the limit", "≤", 1.5, _times_limit("million")),
    Target("million", "MB", "≤", 400, _memory("million")),
    Target("ten-million", "times the time of a million", "≤", 10.5, _ratio(work, _TEN_MILLION, _MILLION)),
    Target("ten-million", "times the memory of a million", "≤", 1.1, _ratio(peak, _TEN_MILLION, _MILLION)),
    Target(FIXED, "1,000 resources, times as many bare assets", "≤", 2, _ratio(wall, _MANY, _BARE)),
    Target(FIXED, "empty window, times an empty asset", "≤", 1.3, _ratio(wall, _EMPTY_WINDOW, _EMPTY_ASSET)),
]
