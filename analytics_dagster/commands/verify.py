"""`verify`: reads an API again and shows what the destination does not have as the API has it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from analytics_dagster.commands.choice import (
    all_windows,
    edge_text,
    find_api,
    find_resources,
    refuse_hidden,
    windows_of,
)
from analytics_dagster.commands.progress import LoadProgress
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output, table
from analytics_dagster.loading.compare import Comparison, Difference
from analytics_dagster.loading.verify import unreadable_range, verify
from analytics_dagster.orchestration.assets import asset_key
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.sample import is_sample, sandbox_variables
from analytics_dagster.spec import ApiFile, Resource, Window, in_timezone
from analytics_dagster.spec.units import parse_time

_WIDTH = 60  # characters of a value
_FIELDS = 12  # of a row that are shown


@dataclass(frozen=True)
class _Planned:
    """What is compared of a resource: some windows, or everything."""

    resource: Resource
    windows: Sequence[Window]


def verify_api(name: str, resources: Sequence[str], start: str | None, end: str | None) -> None:
    """Compare resources of an API with the destination and show what differs.

    Args:
        name: The API.
        resources: Names of its resources; empty for all.
        start: The first edge of what to compare.
        end: The edge where it ends.

    Raises:
        CommandError: If that cannot be done, or there are differences.
    """
    file = find_api(name)
    wanted = find_resources(file, resources)
    refuse_hidden(file, wanted)
    planned, left_out = _plan(wanted, start, end, named=bool(resources))
    console, errors = standard_output(), standard_error()
    for resource, reason in left_out:
        errors.print(escape(f"{name}/{resource.name} is left out: {reason}."), soft_wrap=True)
    compared: list[tuple[_Planned, Comparison]] = []
    problems: list[str] = []
    with ExitStack() as stack:
        values = stack.enter_context(sandbox_variables()) if is_sample(file) else None
        for one in planned:
            key = asset_key(file, one.resource)
            with LoadProgress(errors, one.resource.partitions, one.windows) as progress:
                try:
                    comparison = verify(
                        file,
                        one.resource.name,
                        one.windows,
                        values=values,
                        on_change=lambda step, meter, key=key, progress=progress: progress(key, step, meter),
                    )
                except LoadError as error:
                    problems.append(str(error))
                else:
                    compared.append((one, comparison))
    _show(console, file, compared)
    differing = [one.resource.name for one, comparison in compared if not comparison.is_equal]
    if differing:
        problems.append(f"{len(differing)} of {len(planned)} resources differ: {', '.join(differing)}")
    if problems:
        raise CommandError("\n".join(dict.fromkeys(problems)))


def _plan(
    resources: Sequence[Resource], start: str | None, end: str | None, *, named: bool
) -> tuple[list[_Planned], list[tuple[Resource, str]]]:
    """What to compare, and the resources that are left out, with the reason."""
    now = datetime.now(UTC)
    ranged = start is not None or end is not None
    planned: list[_Planned] = []
    left_out: list[tuple[Resource, str]] = []
    for resource in resources:
        if resource.partitions:
            windows = (
                windows_of([resource], resource.partitions, start, end, now)
                if ranged
                else all_windows(resource.partitions, now)
            )
            if windows:
                planned.append(_Planned(resource, windows))
            else:
                left_out.append((resource, f"its first {resource.partitions.every} is not over yet"))
        elif not ranged:
            planned.append(_Planned(resource, []))
        elif reason := unreadable_range(resource):
            left_out.append((resource, f"it has no partitions and {reason}, so --from and --to mean nothing"))
        else:
            planned.append(_Planned(resource, [_range(resource, start, end, now)]))
    if left_out and (named or not planned):
        resource, reason = left_out[0]
        raise CommandError(f"`{resource.name}` cannot be compared so: {reason}")
    return planned, left_out


def _range(resource: Resource, start: str | None, end: str | None, now: datetime) -> Window:
    """The instants from --from, else the first ones that a load reads, up to --to, else now."""
    cursor = resource.endpoint.incremental
    assert cursor is not None
    if start is None and cursor.initial_value is None:
        raise CommandError(
            f"`{resource.name}` does not say in initial_value where it starts; give --from, too"
        )
    try:
        first = (
            Bounds(cursor).parse(cursor.initial_value)
            if start is None
            else in_timezone(parse_time(start), cursor.timezone)
        )
        last = now if end is None else in_timezone(parse_time(end), cursor.timezone)
        return Window(first, last)
    except ValueError as error:
        raise CommandError(f"--from and --to, for `{resource.name}`: {error}") from None


def _show(console: Console, file: ApiFile, compared: Sequence[tuple[_Planned, Comparison]]) -> None:
    numbers = ("windows", "in API", "in destination", "missing", "extra", "different")
    made = table("asset", *numbers, numbers=numbers)
    for one, comparison in compared:
        made.add_row(
            f"{file.api.name}/{one.resource.name}",
            f"{len(one.windows):,}" if one.resource.partitions else "–",
            f"{comparison.in_api:,}",
            f"{comparison.in_destination:,}",
            f"{comparison.missing:,}",
            f"{comparison.extra:,}",
            f"{comparison.different:,}",
        )
    if compared:
        console.print(made)
    for one, comparison in compared:
        lines = [*_differences(one, comparison), *_notes(file, one, comparison)]
        if lines:
            console.print(f"\n[bold]{escape(f'{file.api.name}/{one.resource.name}')}[/]")
        for line in lines:
            console.print(f"  {escape(line)}", soft_wrap=True)


def _differences(one: _Planned, comparison: Comparison) -> Iterator[str]:
    counts = {
        "missing": (comparison.missing, "in the API, missing in the destination"),
        "extra": (comparison.extra, "in the destination, not in the API"),
        "different": (comparison.different, "different"),
    }
    for kind, (count, text) in counts.items():
        if not count:
            continue
        yield f"{count:,} {text}:"
        examples = [example for example in comparison.examples if example.kind == kind]
        for example in examples:
            yield f"  {_named(one.resource, example)}"
            for number, (field, (sent, there)) in enumerate(example.fields.items()):
                if number == _FIELDS:
                    yield f"    … and {len(example.fields) - _FIELDS:,} more fields"
                    break
                api, own = _cut(sent, there)
                yield f"    {field}: {api or 'nothing'} in the API, {own or 'nothing'} in the destination"
        if count > len(examples):
            yield f"  … and {count - len(examples):,} more"


def _named(resource: Resource, example: Difference) -> str:
    fields = list(example.key.items())
    named = ", ".join(f"{field} {_cut(value, '')[0]}" for field, value in fields[:_FIELDS])
    more = ", …" if len(fields) > _FIELDS else ""
    cursor = resource.endpoint.incremental
    at = f" ({cursor.cursor_path} {example.cursor})" if cursor and example.cursor else ""
    return f"{named}{more}{at}"


def _cut(one: str, other: str) -> tuple[str, str]:
    """Two values cut to a width, so that what differs can be seen."""
    if max(len(one), len(other)) <= _WIDTH:
        return one, other
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    first = max(0, sum(1 for _ in alike) - _WIDTH // 3)
    before = "…" if first else ""

    def cut(text: str) -> str:
        rest = text[first:]
        return before + (rest if len(rest) <= _WIDTH else rest[: _WIDTH - 1] + "…")

    return cut(one), cut(other)


def _notes(file: ApiFile, one: _Planned, comparison: Comparison) -> Iterator[str]:
    """What may be behind the differences, and what to do."""
    resource, windows = one.resource, one.windows
    command = f"analytics-dagster load {file.api.name} -r {resource.name}"
    partitions = resource.partitions
    if comparison.older:
        yield f"{comparison.older:,} earlier versions of rows are there, too, as `append` keeps all."
    if comparison.missing or comparison.different or (comparison.extra and not _keeps_deleted(resource)):
        again = command
        if partitions:
            first, last = (edge_text(partitions, edge) for edge in (windows[0].start, windows[-1].end))
            again += f" --from {first} --to {last}"
        elif resource.endpoint.incremental and resource.write_disposition != "replace":
            again += " (what is new since the last load) or with --full-refresh (everything)"
        yield f"Rows may have come or changed since the last load. To load them again: {again}"
    if comparison.extra and _keeps_deleted(resource):
        if partitions:
            yield (
                "Extra rows: with `on_rerun: merge`, rows stay that the API no longer has."
                " `on_rerun: replace_window` lets them go."
            )
        else:
            versions = "" if resource.primary_key else ", and earlier versions of rows that changed"
            yield (
                f"Extra rows: with `{resource.write_disposition}`, rows stay that the API no longer has"
                f"{versions}. To let them go: {command} --full-refresh"
            )
    if windows and resource.primary_key and (comparison.missing or comparison.extra):
        yield "A row whose cursor moved into or out of this range since it was loaded is missing or extra."


def _keeps_deleted(resource: Resource) -> bool:
    """Whether rows stay by design that the API no longer has."""
    if resource.partitions:
        return resource.rerun_mode == "merge"
    return resource.write_disposition != "replace"
