"""What keys of a resource may not say together: the ways of loading, windows and cursors, what is hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from analytics_dagster.spec.api import Resource
from analytics_dagster.spec.endpoint import Incremental
from analytics_dagster.spec.paginators import KeysetPaginator
from analytics_dagster.spec.placeholders import Mistake, bounds_sent, without_value
from analytics_dagster.spec.problems import one_of
from analytics_dagster.spec.windows import start_problem

LONGEST_SCHEMA = 64
"""Characters of a schema's name in dlt: API, two `_`, resource."""

_CURSOR = ("endpoint", "incremental")
_FINER = re.compile("%-?[MSfcXT]")  # than an hour
_FIRST_START = datetime(2024, 1, 1)  # noqa: DTZ001  wall time
_SECOND_STARTS = {
    "hour": datetime(2024, 1, 1, 1),  # noqa: DTZ001
    "day": datetime(2024, 1, 2),  # noqa: DTZ001
    "week": datetime(2024, 1, 8),  # noqa: DTZ001
    "month": datetime(2024, 2, 1),  # noqa: DTZ001
}


def table_key(name: str) -> str:
    """Equal for names that become the same table, dataset or asset."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_")
    return re.sub(r"_+", "_", words).strip("_").lower()


def table_parts(name: str) -> list[str]:
    """The keys of a table's name, `orders__items`, as dlt may put it together for rows of lists."""
    return [table_key(part) for part in name.split("__")]


def is_nested_table(parts: list[str], outer: list[str]) -> bool:
    """Whether dlt may give a table's name to rows of a list in another one's.

    Args:
        parts: Those of the table's name.
        outer: Those of the other table's.
    """
    return len(parts) > len(outer) and parts[: len(outer)] == outer


def loading(resource: Resource) -> Iterator[Mistake]:
    """What the ways of loading forbid, and what windows and cursors may not say together."""
    way = resource.write_disposition
    cursor = resource.endpoint.incremental
    if resource.partitions:
        yield from _partitioned(resource)
    elif resource.on_rerun:
        yield Mistake(
            ("on_rerun",),
            "only a resource with partitions has windows to run again; add partitions, or leave on_rerun out",
        )
    elif way == "merge" and not resource.primary_key:
        yield Mistake(
            ("write_disposition",),
            "merge without partitions needs a primary_key to find old rows by; give one, or write replace",
        )
    elif way == "append" and not cursor:
        yield Mistake(
            ("write_disposition",),
            "append (the default) without a cursor would add every row again on each run; write replace, "
            "or merge with a primary_key, or give endpoint.incremental",
        )


def _partitioned(resource: Resource) -> Iterator[Mistake]:
    if resource.write_disposition == "replace":
        yield Mistake(
            ("write_disposition",),
            "replace with partitions would leave only the window of the last run; "
            "write merge with a primary_key, or append with on_rerun: replace_window",
        )
    elif resource.on_rerun == "merge" and resource.write_disposition == "append":
        yield Mistake(
            ("on_rerun",),
            "append cannot merge; write merge with a primary_key as write_disposition, "
            "or on_rerun: replace_window",
        )
    elif resource.on_rerun == "merge" and not resource.primary_key:
        yield Mistake(("on_rerun",), "merge needs a primary_key; give one, or write on_rerun: replace_window")
    if resource.endpoint.incremental is None:
        yield Mistake(
            ("partitions",),
            "partitions need endpoint.incremental: the cursor that tells which window a row is in, "
            "and how the API is asked for it",
        )


def windows(resource: Resource) -> Iterator[Mistake]:
    """Whether windows are where they should be, and reach the API."""
    partitions, endpoint = resource.partitions, resource.endpoint
    cursor = endpoint.incremental
    if cursor and cursor.start_param and cursor.start_param == cursor.end_param:
        yield Mistake(
            (*_CURSOR, "end_param"), "start_param and end_param are the same; one would overwrite the other"
        )
    if cursor:
        yield from _steps(resource, cursor)
    if partitions is None:
        yield from (Mistake(("endpoint", *m.path), m.message) for m in without_value(endpoint))
        return
    if message := start_problem(partitions):
        yield Mistake(("partitions", "start"), message)
    if cursor is None:
        return
    remedies = {
        "initial_value": "the window of each run is where it starts; write it as partitions.start",
        "end_value": "the window of each run is where it ends; leave it out",
        "lag": "each run reads its own window; to read late data again, write partitions.lookback",
        "last_value_func": "windows go forward in time; leave it out",
        "range_start": "a window holds its start; what the API means by start_param is said by start",
        "range_end": "a window does not hold its end; what the API means by end_param is said by end",
    }
    usual = {"last_value_func": "max", "range_start": "closed", "range_end": "open"}
    for key, remedy in remedies.items():
        if getattr(cursor, key) != usual.get(key):
            yield Mistake((*_CURSOR, key), f"with partitions, {remedy}")
    if cursor.on_cursor_value_missing == "include" and resource.rerun_mode == "replace_window":
        yield Mistake(
            (*_CURSOR, "on_cursor_value_missing"),
            "a row without a cursor is in no window, so each run would add it again; write raise or exclude, "
            "or on_rerun: merge with a primary_key",
        )
    if not bounds_sent(endpoint):
        yield Mistake(
            _CURSOR,
            "no request would tell the API the window, so each run would read everything; "
            "give start_param and end_param, or write "
            '"{incremental.start_value}" in path, params, json, form, data or headers',
        )
    if _writes_alike(cursor.format, _SECOND_STARTS[partitions.every]):
        yield Mistake(
            (*_CURSOR, "format"),
            f"with partitions every {partitions.every}, this format writes both bounds of a window alike, "
            "so the API could not tell windows apart; write iso, or take longer windows",
        )


def _steps(resource: Resource, cursor: Incremental) -> Iterator[Mistake]:
    """Whether the windows of requests can be as `step` and `min` say."""
    step = cursor.step
    for key in ("step", "min"):
        if key in cursor.model_fields_set and not resource.partitions:
            yield Mistake(
                (*_CURSOR, key),
                "what is new since the stored cursor has no end, so it cannot be cut; "
                "add partitions, or leave it out",
            )
            return
    if not cursor.min:
        yield Mistake((*_CURSOR, "min"), "expected a duration such as 1h; to cut no window, write step: none")
    if not step:
        return
    if "min" in cursor.model_fields_set and cursor.min > step:
        yield Mistake((*_CURSOR, "min"), "min is longer than step; make it shorter, or leave one of both out")
    missing = {"start", "end"} - bounds_sent(resource.endpoint)
    if len(missing) == 2 or (missing and not _names_a_period(cursor.format)):
        yield Mistake(
            (*_CURSOR, "step"),
            f"no request would tell the API the {one_of(sorted(missing), last='and')} of a step; give"
            ' start_param and end_param, or write "{incremental.start_value}" and "{incremental.end_value}";'
            " one of both will do where its format names a whole day or hour",
        )
    elif _writes_alike(cursor.format, _FIRST_START + step):
        yield Mistake(
            (*_CURSOR, "step"),
            "the format writes both bounds of a step alike; make it longer, or take a finer format",
        )
    if cursor.on_cursor_value_missing == "include":
        yield Mistake(
            (*_CURSOR, "on_cursor_value_missing"),
            "a row without a cursor is in no step, and would come with each of them; write raise or exclude",
        )
    if cursor.row_order:
        yield Mistake(
            (*_CURSOR, "row_order"), "with step, each request has an end of its own; leave row_order out"
        )


def hiding(resource: Resource) -> Iterator[Mistake]:
    """What `records` drops or hashes, and needs or shows elsewhere."""
    records = resource.records
    if records is None:
        return
    hashed = records.hash.fields if records.hash else []
    hidden = {*records.drop, *hashed}
    for index, path in enumerate(records.drop):
        if path in records.fields:
            yield Mistake(
                ("records", "drop", index), f"fields makes `{path}`, which is dropped then; keep one of both"
            )
        if path in hashed:
            yield Mistake(("records", "drop", index), f"`{path}` is hashed too; keep it in one of both")
        if path in _listed(resource.primary_key):
            yield Mistake(
                ("records", "drop", index), f"`{path}` is of the primary_key; write it in hash instead"
            )
    for path in hashed:
        for name in records.copies_of(path):
            if name not in hidden and name != path:
                yield Mistake(
                    ("records", "fields", name),
                    f"`{name}` would show what hash hides at `{path}`; hash `{name}` and drop `{path}`",
                )
    for name, what in _leading_on(resource):
        if name in hidden:
            yield Mistake(
                ("records", "drop" if name in records.drop else "hash"),
                f"`{name}` is {what}; leave it as it is",
            )


def _leading_on(resource: Resource) -> Iterator[tuple[str, str]]:
    """The fields by which reading goes on, and what they are."""
    cursor, paginator = resource.endpoint.incremental, resource.endpoint.paginator
    if cursor:
        yield cursor.cursor_path, "the cursor, which tells what to load next"
    if isinstance(paginator, KeysetPaginator):
        for key in paginator.fields:
            yield key, "of the paginator's keys, which tell where the next page begins"


def _listed(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _names_a_period(time_format: str | None) -> bool:
    """Whether what is written may stand for a whole day or hour, as in `/2024-01-31.json`."""
    return time_format == "date" or ("%" in (time_format or "") and not _FINER.search(time_format or ""))


def _writes_alike(time_format: str | None, other: datetime) -> bool:
    """Whether a format writes another wall time like the start of 2024."""
    pattern = "%Y-%m-%d" if time_format == "date" else time_format or "iso"
    return "%" in pattern and _FIRST_START.strftime(pattern) == other.strftime(pattern)
