"""A drafted file as YAML text, with the reason of each guess as a comment beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from analytics_dagster.spec.yaml_source import flow_text

_WIDTH = 110  # characters
_LONGEST = 160  # of a reason


@dataclass(frozen=True)
class Guess:
    """A value, and why it is thought to be right."""

    value: Any
    why: str


def write(draft: dict[str, Any], head: list[str]) -> str:
    """The text of a file.

    Args:
        draft: What the file says; any value may be a `Guess`.
        head: Comments at its top.
    """
    lines = [*(f"# {_plain(line)}".rstrip() for line in head), *_entries(draft, "")]
    return "\n".join(lines) + "\n"


def comment(text: str) -> str:
    """A text as the words of a comment, which may be somebody else's."""
    text = _plain(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _entries(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        why = ""
        if isinstance(value, Guess):
            value, why = value.value, comment(value.why)  # noqa: PLW2901 - the value itself
        yield from _entry(f"{indent}{flow_text(key)}:", value, why, indent)


def _entry(start: str, value: Any, why: str, indent: str) -> Iterator[str]:
    nested = value not in ({}, []) and isinstance(value, dict | list)
    flow = f"{start} {flow_text(value)}" if not _has_guess(value) else ""
    if flow and (len(flow) <= _WIDTH or not nested):
        if why and len(flow) + len(why) + 4 > _WIDTH:
            yield f"{indent}# {why}"
            why = ""
        yield f"{flow}  # {why}" if why else flow
        return
    if why:
        yield f"{indent}# {why}"
    yield start
    if isinstance(value, dict):
        yield from _entries(cast("dict[str, Any]", value), f"{indent}  ")
        return
    for item in cast("list[Any]", value):
        if isinstance(item, dict) and _has_guess(item):
            yield from _first_marked(list(_entries(cast("dict[str, Any]", item), f"{indent}    ")), indent)
        else:
            yield f"{indent}  - {flow_text(item)}"


def _first_marked(lines: list[str], indent: str) -> Iterator[str]:
    """The lines of a list's entry, a dash before the first that is no comment."""
    marked = False
    for line in lines:
        if marked or line.lstrip().startswith("#"):
            yield line
        else:
            yield f"{indent}  - {line.lstrip()}"
            marked = True


def _has_guess(value: Any) -> bool:
    if isinstance(value, Guess):
        return True
    inner = (
        list(cast("dict[str, Any]", value).values())
        if isinstance(value, dict)
        else cast("list[Any]", value)
        if isinstance(value, list)
        else []
    )
    return any(map(_has_guess, inner))
