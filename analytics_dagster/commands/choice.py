"""What a person names on the command line: an API, its resources and their windows."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analytics_dagster.commands.terminal import CommandError
from analytics_dagster.spec import (
    ApiFile,
    Partitions,
    Resource,
    Window,
    find_files,
    in_timezone,
    read_files,
    window_containing,
    windows_between,
)
from analytics_dagster.spec.problems import nearest, one_of
from analytics_dagster.spec.units import parse_time

_MOMENT = timedelta(microseconds=1)
# Dagster writes the partition of an hour as 2024-01-31-05:00.
_HOUR_KEY = re.compile(r"^(\d{4}-\d\d-\d\d)-(\d\d:\d\d)")


def own_directories() -> list[Path]:
    """The directories of a person's own API files, there or not; a new file goes into the first."""
    given = os.environ.get("ANALYTICS_APIS", "").split(os.pathsep)
    return [Path(one) for one in given if one] or [Path("apis")]


def files_of(given: Sequence[Path]) -> list[Path]:
    """API files that are given by path, or as `check` and the others take them, by name.

    Args:
        given: Paths and names; empty for all files in use.

    Raises:
        ApiFileError: If there are none in use.
    """
    if not given:
        return find_files()
    if all(path.suffix or path.exists() for path in given):
        return list(given)
    named = {path.stem: path for path in find_files()}
    return [path if path.exists() else named.get(str(path), path) for path in given]


def find_api(name: str) -> ApiFile:
    """The API of that name among the files in use.

    Raises:
        ApiFileError: If there is a mistake in any file.
        CommandError: If there is no such API.
    """
    files = {file.api.name: file for file in read_files(find_files())}
    if name not in files:
        folders = ", ".join(sorted({str(file.path.parent) for file in files.values()}))
        raise CommandError(_unknown("API", name, list(files), f"in {folders}"))
    return files[name]


def find_resource(file: ApiFile, name: str) -> Resource:
    """The resource of that name.

    Raises:
        CommandError: If the API has none.
    """
    for resource in file.api.resources:
        if resource.name == name:
            return resource
    names = [resource.name for resource in file.api.resources]
    raise CommandError(_unknown("resource", name, names, f"in {file.path}"))


def find_resources(file: ApiFile, names: Sequence[str]) -> list[Resource]:
    """The resources of those names; all that are loaded where no name is given.

    Raises:
        CommandError: If the API does not have one of them.
    """
    if names:
        return [find_resource(file, name) for name in dict.fromkeys(names)]
    return [resource for resource in file.api.resources if resource.selected]


def refuse_hidden(file: ApiFile, resources: Sequence[Resource]) -> None:
    """Refuse resources that are read for others only.

    Raises:
        CommandError: If one of them is.
    """
    if hidden := [resource.name for resource in resources if not resource.selected]:
        raise CommandError(
            f"{one_of(hidden, last='and')} cannot be loaded: {file.path} says `selected: false`, so it is"
            " only read for the resources below it"
        )


def _unknown(kind: str, name: str, known: Sequence[str], where: str) -> str:
    return f"there is no {kind} `{name}` {where}" + (
        nearest(name, known) or f"; there is {', '.join(f'`{one}`' for one in known)}"
    )


def last_windows(partitions: Partitions, count: int, now: datetime) -> list[Window]:
    """The last windows that are over, the oldest first; fewer where the partitions start later.

    Args:
        partitions: What windows there are.
        count: How many windows at most.
        now: The instant by which they are over.
    """
    found: list[Window] = []
    end = window_containing(partitions, now).start
    while end > partitions.first and len(found) < count:
        found.insert(0, window_containing(partitions, end - _MOMENT))
        end = found[0].start
    return found


def all_windows(partitions: Partitions, now: datetime) -> list[Window]:
    """All windows that are over, the oldest first."""
    return windows_between(partitions, partitions.first, window_containing(partitions, now).start)


def windows_of(
    resources: Sequence[Resource], partitions: Partitions, start: str | None, end: str | None, now: datetime
) -> list[Window]:
    """The windows of resources from one edge up to another, as `windows_from_to` finds them.

    Raises:
        CommandError: As there, with the resources' names: those of one file may have windows of their own.
    """
    try:
        return windows_from_to(partitions, start, end, now)
    except CommandError as error:
        names = ", ".join(f"`{one.name}`" for one in resources)
        raise CommandError(f"{names}: {error}") from None


def windows_from_to(
    partitions: Partitions, start: str | None, end: str | None, now: datetime
) -> list[Window]:
    """The windows from one edge, included, up to another, which is not.

    Args:
        partitions: What windows there are.
        start: A date or an ISO 8601 time; None for the first window.
        end: As well; None for all windows that are over.
        now: The instant by which they are over.

    Raises:
        CommandError: If these are not edges of windows, or no windows that can be loaded lie between them.
    """
    latest = window_containing(partitions, now).start
    first = partitions.first if start is None else _edge(partitions, "--from", start)
    last = latest if end is None else _edge(partitions, "--to", end)
    if first < partitions.first:
        raise CommandError(
            f"--from {start} is before the first window, which starts at"
            f" {edge_text(partitions, partitions.first)}"
        )
    if last > latest or first >= latest:
        option = f"--to {end}" if last > latest else f"--from {start}"
        raise CommandError(
            f"{option} is in the future: the last {partitions.every} that is over ends at"
            f" {edge_text(partitions, latest)}, in {partitions.timezone}"
        )
    if first >= last:
        raise CommandError(
            f"nothing lies from {edge_text(partitions, first)} to {edge_text(partitions, last)}; --from is"
            " included, --to is not"
        )
    return windows_between(partitions, first, last)


def window_of_key(partitions: Partitions, key: str, now: datetime) -> Window:
    """The window of a partition, by the key that Dagster shows.

    Raises:
        CommandError: If there is no such partition, or not yet.
    """
    start = _edge(partitions, "--partition", _HOUR_KEY.sub(r"\1T\2", key))
    window = window_containing(partitions, start)
    if window.start < partitions.first:
        raise CommandError(
            f"--partition {key} is before the first one, which starts at"
            f" {edge_text(partitions, partitions.first)}"
        )
    if window.end > window_containing(partitions, now).start:
        raise CommandError(f"--partition {key} is not over yet")
    return window


def _edge(partitions: Partitions, option: str, text: str) -> datetime:
    try:
        # In UTC, as a time in an hour that comes twice equals no time of another zone (PEP 495).
        instant = in_timezone(parse_time(text), partitions.timezone).astimezone(UTC)
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None
    window = window_containing(partitions, instant)
    if window.start != instant:
        raise CommandError(
            f"{option} {text} is not the start of a window: there is one for each {partitions.every} in"
            f" {partitions.timezone}. The nearest start at {edge_text(partitions, window.start)} and"
            f" {edge_text(partitions, window.end)}"
        )
    return instant


def edge_text(partitions: Partitions, instant: datetime) -> str:
    """An edge of a window as a person would write it: a date where it is midnight."""
    local = in_timezone(instant, partitions.timezone)
    if partitions.every != "hour":
        return local.date().isoformat()
    return local.isoformat(timespec="minutes")


def range_text(partitions: Partitions, windows: Sequence[Window]) -> str:
    """The starts of the first and the last window."""
    first, last = (edge_text(partitions, window.start) for window in (windows[0], windows[-1]))
    return first if first == last else f"{first} … {last}"
