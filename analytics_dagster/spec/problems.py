"""Mistakes in API files, and the words in which a person is told of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands (lines count from 1) and what to do about it."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ApiFileError(Exception):
    """All mistakes of all API files that were read, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def nearest(word: Any, words: Iterable[str]) -> str:
    """The end of a message that names the most similar of some words, empty where none is similar."""
    close = closest(word, words)
    return f"; did you mean `{close}`?" if close else ""


def closest(word: Any, words: Iterable[str]) -> str | None:
    """The most similar of some words, if any is similar."""
    by_lower = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def one_of(words: Iterable[str], *, last: str = "or") -> str:
    """`a, b or c`."""
    *first, final = words
    return f"{', '.join(first)} {last} {final}" if first else final


def shown(value: Any) -> str:
    """A value of a YAML file as a message names it: short, and in YAML's words rather than Python's."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            text = str(value)
            return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}…'"
