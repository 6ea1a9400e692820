"""What a check is, and what it says; no check itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analytics_dagster.reading.errors import LoadError

if TYPE_CHECKING:
    from analytics_dagster.certifying.probe import Probe

Outcome = Literal["passed", "failed", "not applicable", "not reached"]


@dataclass(frozen=True)
class Verdict:
    """What one check found, with its evidence; nothing of it holds a secret.

    `resource` is None for what concerns the API as a whole; `requests` are those that the check sent.
    """

    resource: str | None
    check: str
    outcome: Outcome
    text: str
    requests: int


class Fault(Exception):  # noqa: N818 - of the API or its file, not of ours
    """A check failed; the message is the evidence."""


class NotApplicable(Exception):  # noqa: N818 - no error
    """A check has nothing to look at; the message says why."""


class NotReached(LoadError):  # noqa: N818 - no error
    """The budget of requests is used up; the message says at what."""


@dataclass(frozen=True)
class Check:
    """What holds if it passes, and a function that returns what it saw.

    The function raises a `Fault`, `NotApplicable`, `NotReached` or another `LoadError` otherwise. One
    `of_api` is run once, with the first resource, and not for each.
    """

    title: str
    run: Callable[[Probe], str]
    of_api: bool


def check(title: str, *, of_api: bool = False) -> Callable[[Callable[[Probe], str]], Check]:
    """Make a check of a function."""
    return lambda run: Check(title, run, of_api)
