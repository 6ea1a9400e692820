"""What stored rows depend on in the file, and what a change of that would do to them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import dlt

from analytics_dagster.loading.cursor import PageStep, cursor_column, is_number_cursor
from analytics_dagster.reading.errors import ChangedError
from analytics_dagster.spec import ApiFile, Incremental, Resource
from analytics_dagster.spec.combinations import table_key
from analytics_dagster.spec.records import FieldSource, Rows

DEFINITION = "definition"
"""The key in dlt's state of a resource, which dlt commits with the rows."""

_AHEAD = timedelta(days=1)  # of clocks and time zones that are a little off

Definition = dict[str, Any]

_TABLE = "table_name"
_KEY = "primary_key"
_WAY = "write_disposition"
_SELECTOR = "endpoint.data_selector"
_CURSOR = "endpoint.incremental.cursor_path"
_FIRST = "endpoint.incremental.initial_value"
_READ_BY = (
    "endpoint.incremental.format",
    "endpoint.incremental.timezone",
    "endpoint.incremental.last_value_func",
)
_ROWS = "records.rows"
_MADE = "records"
_COLUMN = "the cursor's column"
_EVERY = "partitions.every"
_ZONE = "partitions.timezone"
_START = "partitions.start"

_OTHER_CURSOR = "what was loaded so far was told by the old one, so rows would be missed or be there twice"
_OTHER_WINDOWS = "what counts as loaded are other windows than the new ones, so rows would be missed unseen"
_HARM = {
    _TABLE: "the rows so far would stay behind in the old table, and the new one would lack them",
    _KEY: "rows that are there would not be found by the new key, and would be there twice",
    _WAY: "the table may hold several versions of a row, and a merge would leave them there",
    _SELECTOR: "rows that are there may be others than those that would come now, and would stay",
    _ROWS: "rows that are there may be others than those that would come now, and would stay",
    _MADE: "rows that are there have other keys or cursors than those that would come now",
    _CURSOR: _OTHER_CURSOR,
    **dict.fromkeys(_READ_BY, _OTHER_CURSOR),
    _COLUMN: "rows that are there have none in the new column, and would be missed or be there twice",
    _EVERY: _OTHER_WINDOWS,
    _ZONE: _OTHER_WINDOWS,
}

_log = logging.getLogger(__name__)


def definition(resource: Resource) -> Definition:
    """What the stored rows of a resource depend on, by the keys of the file; equal meanings are equal.

    Args:
        resource: As it is in the file, its templates not filled in: this is stored.
    """
    cursor, partitions = resource.endpoint.incremental, resource.partitions
    keys, records = resource.primary_key, resource.records
    return {
        _TABLE: table_key(resource.table_name or resource.name),
        _KEY: sorted([keys] if isinstance(keys, str) else keys) if keys else None,
        _WAY: resource.write_disposition,
        _SELECTOR: _plain_selector(resource.endpoint.data_selector),
        _ROWS: _written(records.rows) if records and records.rows else None,
        _MADE: _made(resource),
        _CURSOR: cursor and _plain_selector(cursor.cursor_path),
        _FIRST: cursor and cursor.initial_value,
        **dict(zip(_READ_BY, _reading(cursor) if cursor else (None,) * len(_READ_BY), strict=True)),
        _COLUMN: cursor_column(resource),
        _EVERY: partitions and partitions.every,
        _ZONE: partitions and partitions.timezone,
        _START: partitions and partitions.first.isoformat(),
    }


def _reading(cursor: Incremental) -> tuple[str, str | None, str]:
    """How cursors are read: as what, in which time zone where that matters, and which one is the last."""
    written = "number" if is_number_cursor(cursor) else cursor.format or "iso"
    zone = None if written in ("number", "epoch", "epoch_ms") else cursor.timezone
    return written, zone, cursor.last_value_func


def _made(resource: Resource) -> str | None:
    """How `records` makes the fields of primary key and cursor, without a salt."""
    if (records := resource.records) is None:
        return None
    keys, cursor = resource.primary_key or [], resource.endpoint.incremental
    names = [*([keys] if isinstance(keys, str) else keys), *([cursor.cursor_path] if cursor else [])]
    made = {name: _written(records.fields[name]) for name in names if name in records.fields}
    hashed = [name for name in names if records.hash and name in records.hash.fields]
    texts = [*(f"{name}: {text}" for name, text in made.items()), *(f"{name} hashed" for name in hashed)]
    return ", ".join(dict.fromkeys(texts)) or None


def _written(part: Rows | FieldSource) -> str:
    return part.model_dump_json(by_alias=True, exclude_defaults=True)


def _plain_selector(path: str | None) -> str | None:
    """`$.data[*]` and `data` find the same rows."""
    return path and (re.sub(r"^\$\.", "", re.sub(r"\.?\[\*\]$", "", path)) or "$")


@dataclass(frozen=True)
class Change:
    """A key that stored rows depend on, with what it was and is, and what a load would do to them."""

    key: str
    was: Any
    now: Any
    harm: str

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.was)} -> {_shown(self.now)}: {self.harm}"


def harmful_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What is not as it was, and would damage rows or leave some out.

    Args:
        old: The definition by which the stored rows were loaded.
        new: The file's.
    """
    changed = {key for key in new if key in old and old[key] != new[key]}
    refreshed = old.get(_WAY) == "replace"
    windows = old.get(_EVERY) is not None and new[_EVERY] is not None
    cursors = old.get(_CURSOR) is not None and new[_CURSOR] is not None
    finds_rows = bool(new[_KEY]) and (new[_WAY] == "merge" or new[_EVERY] is not None)
    added_up = old.get(_WAY) == "append" and old.get(_EVERY) is None
    harmful = {
        _TABLE: True,
        _KEY: not refreshed,  # else no row was ever looked for by its key
        _WAY: added_up and new[_WAY] == "merge",
        _SELECTOR: True,
        _ROWS: True,
        _MADE: not refreshed,
        # Where rows find their old versions, a first cursor only reads all of them once more.
        _CURSOR: cursors or (new[_CURSOR] is not None and not finds_rows),
        **{key: cursors and None not in (old.get(key), new[key]) for key in _READ_BY},
        _COLUMN: cursors and not changed & {_CURSOR, *_READ_BY},
        _EVERY: windows,
        _ZONE: windows,
    }
    found = [
        Change(key, old[key], new[key], _HARM[key]) for key in harmful if key in changed and harmful[key]
    ]
    if old.get(_EVERY) is not None and new[_EVERY] is None and new[_WAY] == "append":
        harm = "no cursor is stored yet, so all rows would come once more and be added"
        found.append(Change("partitions", old[_EVERY], None, harm))
    return found


def spelled(resources: Mapping[str, Any], name: str) -> str | None:
    """How the name of a resource was written when it was stored; equal ones have the same table.

    Args:
        resources: dlt's state of resources, by their names.
        name: As the file has it now.
    """
    alike = [one for one in resources if table_key(one) == table_key(name)]
    return name if name in alike else next(iter(alike), None)


def _notes(old: Mapping[str, Any], new: Mapping[str, Any], *, has_cursor: bool) -> Iterator[str]:
    """What a person should know of changes that do no harm."""
    if (table := old.get(_TABLE, new[_TABLE])) != new[_TABLE]:
        yield f"the rows so far stay in the table `{table}`, which is not loaded any more"
    start, was = new[_START], old.get(_START)
    if start and was and datetime.fromisoformat(start) > datetime.fromisoformat(was):
        yield f"partitions.start is later now ({was} -> {start}): rows before it stay in the table"
    first, was = new[_FIRST], old.get(_FIRST)
    if has_cursor and first != was:
        yield (
            f"initial_value was changed ({_shown(was)} -> {_shown(first)}), which does nothing, as loads"
            " begin at the stored cursor; `analytics-dagster state … --set` moves that"
        )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, cast('list[Any]', value)))}]"
    return "nothing" if value is None else str(value)


class RefuseChanges(PageStep):
    """A step of a dlt resource that compares the file with what its rows were loaded by, before any request.

    dlt restores its state before it binds steps, and commits what is written to it with the rows.

    Args:
        file: The API file.
        resource_name: The resource that is read.
        starts_over: All stored rows go, so nothing depends on how they were loaded.
    """

    placement_affinity: ClassVar[float] = 0.4  # before the cursor is looked at

    def __init__(self, file: ApiFile, resource_name: str, *, starts_over: bool) -> None:
        super().__init__(lambda page: page)
        self._file = file
        self._name = resource_name
        self._starts_over = starts_over

    def bind(self, pipe: Any) -> RefuseChanges:
        """Called by dlt before the first page.

        Raises:
            ChangedError: If this load would damage what is stored.
        """
        index, resource = next(
            (index, one) for index, one in enumerate(self._file.api.resources) if one.name == self._name
        )
        new = definition(resource)
        resources: dict[str, Any] = dlt.current.source_state().setdefault("resources", {})
        state: dict[str, Any] = resources.pop(spelled(resources, self._name) or self._name, {})
        resources[self._name] = state
        old: Definition | None = state.get(DEFINITION)
        if old and dlt.current.source_schema().data_table_names(seen_data_only=True):
            if not self._starts_over and (changes := harmful_changes(old, new)):
                raise ChangedError(self._message(index, changes))
            stored: dict[str, Any] = {} if self._starts_over or new[_EVERY] else state.get("incremental", {})
            notes = [*_notes(old, new, has_cursor=new[_COLUMN] in stored)]
            last = stored.get(new[_COLUMN], {}).get("last_value")
            if isinstance(last, datetime) and last > datetime.now(UTC) + _AHEAD:
                notes.append(
                    f"the stored cursor is {last.isoformat()}, in the future: no row before it is asked for."
                    f" If that is a mistake in a row, run `analytics-dagster state {self._file.api.name}"
                    f" --resource {self._name} --set` with the time to go on from"
                )
            for note in notes:
                _log.warning("%s: resource `%s`: %s.", self._file.path, self._name, note)
        state[DEFINITION] = new
        return self

    def _message(self, index: int, changes: list[Change]) -> str:
        api = self._file.api.name
        listed = "\n".join(
            f"  {self._file.path}:{self._line(index, change.key)}: {change}" for change in changes
        )
        return (
            "what the stored rows were loaded by was changed, and a load would damage them. Nothing was"
            f" read or written.\n{listed}\n"
            f"Put the old value back; or run `analytics-dagster reset {api} {self._name}`, which drops the"
            " rows, and load again; or, if the stored rows are right all the same, run `analytics-dagster"
            f" state {api} --resource {self._name} --accept`."
        )

    def _line(self, index: int, key: str) -> int:
        return self._file.line("resources", index, *key.split("."))
