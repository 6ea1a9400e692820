"""The operations that answer with rows: their names, and whose rows fill their paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from analytics_dagster.drafting.operations import Operation, Parameter
from analytics_dagster.drafting.rows import Rows, find_rows, primary_key
from analytics_dagster.drafting.schemas import Schemas
from analytics_dagster.drafting.words import singular, snake, without_format, words
from analytics_dagster.spec.combinations import LONGEST_SCHEMA, table_key

_PARAMETER = re.compile(r"\{[^{}]*\}")
_VERSION = re.compile(r"v\d+(\.\d+)*|api|rest|\d+(\.\d+)*")
_KEY_WORDS = ("id", "uuid", "guid", "slug", "number", "key", "code", "name", "login", "iid", "handle")


@dataclass
class Endpoint:
    """An operation that reads rows, and how its path is filled from the rows of another."""

    operation: Operation
    rows: Rows
    name: str
    parent: Endpoint | None = None
    values: list[str] = field(default_factory=list[str])  # of the path's parameters, in order
    taken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # resources, and their fields

    @property
    def path(self) -> str:
        """The path as the file says it."""
        values = iter(self.values)
        return _PARAMETER.sub(lambda _: next(values), self.operation.path)


def find_endpoints(schemas: Schemas, read: Iterable[Operation], api: str, variable: str) -> list[Endpoint]:
    """The operations that answer with rows.

    Args:
        schemas: Where the answers' schemas are from.
        read: All operations.
        api: The API's name.
        variable: How the names of `${…}` templates begin, for what no parent gives.
    """
    found = [(one, rows) for one in read if (rows := find_rows(schemas, one.answer, one.place))]
    names = endpoint_names([one.place for one, _ in found], api)
    endpoints = [Endpoint(one, rows, name) for (one, rows), name in zip(found, names, strict=True)]
    # Where there are both, a plain list is the parent, and not a search.
    by_path = {
        _shape_of(one.operation.place): one
        for one in sorted(endpoints, key=lambda one: one.operation.method, reverse=True)
    }
    # A parent has a shorter path, so its own values are there before those of its children.
    for endpoint in sorted(endpoints, key=lambda one: len(_shape_of(one.operation.path))):
        _fill(endpoint, by_path, variable)
    return endpoints


def _fill(endpoint: Endpoint, by_path: dict[str, Endpoint], variable: str) -> None:
    """Find a value for each parameter of a path."""
    operation = endpoint.operation
    described = {one.name: one for one in operation.parameters if one.place == "path"}
    names = operation.path_parameters
    places = [found.start() for found in _PARAMETER.finditer(operation.path)]
    endpoint.values = [_value(described.get(name), name, variable) for name in names]
    for index in reversed(range(len(names))):
        before = operation.path[: places[index]]
        parent = by_path.get(_shape_of(before)) if before.endswith("/") else None
        key = parent and _key_in(parent, names[index])
        if parent is None or not key or parent is endpoint:
            continue
        endpoint.parent = parent
        endpoint.values[index] = f"{{resources.{parent.name}.{key}}}"
        endpoint.values[: len(parent.values)] = parent.values
        endpoint.taken = [*parent.taken, (parent.name, key)]
        return


def _value(parameter: Parameter | None, name: str, variable: str) -> str:
    default = parameter.default if parameter else None
    if default is not None and re.fullmatch(r"[\w.~-]+", str(default)):
        return str(default)
    return f"${{{variable}_{snake(name).upper() or 'ID'}}}"


def _shape_of(path: str) -> str:
    """A path by which two are equal that differ only in what they call their parameters."""
    return _PARAMETER.sub("{}", path.rstrip("/"))


def _key_in(parent: Endpoint, parameter: str) -> str | None:
    """The field of a parent's rows that fills a parameter of a path."""
    fields = {
        snake(name): name for name in reversed(parent.rows.fields) if re.fullmatch(r"\w+", name, re.ASCII)
    }
    wanted, last = snake(parameter), (words(parameter) or [""])[-1]
    for name in (wanted, last if last in _KEY_WORDS else ""):
        if name in fields:
            return fields[name]
    if not parent.rows.fields:
        return last if last in _KEY_WORDS else "id"
    key = primary_key(parent.rows, parent.name)
    return key[0] if key and re.fullmatch(r"\w+", key[0], re.ASCII) else None


def endpoint_names(paths: Sequence[str], api: str) -> list[str]:
    """A name for each path, as short as they stay different.

    Args:
        paths: The paths.
        api: The API's name, which a long one leaves less room.
    """
    most = LONGEST_SCHEMA - len(f"{table_key(api)}__")
    taken: set[str] = set()
    names: list[str] = []
    for path in paths:
        name = next(one for one in _candidates(path, most) if table_key(one) not in taken)
        taken.add(table_key(name))
        names.append(name)
    return names


def _candidates(path: str, most: int) -> Iterator[str]:
    """Names for a path, the shortest first."""
    parts = [without_format(snake(part)) for part in path.split("/") if not _PARAMETER.search(part)]
    parts = [part for part in parts if part and not _VERSION.fullmatch(part)] or ["rows"]
    named = [f"r_{part}" if part[0].isdigit() else part for part in parts]
    for count in range(1, len(named) + 1):
        inner = [singular(part) for part in named[-count:-1]]
        yield _end("_".join([*inner, named[-1]]), most)
    number = 2
    while True:
        yield f"{_end('_'.join(named), most - len(f'_{number}'))}_{number}"
        number += 1


def _end(name: str, most: int) -> str:
    """The end of a name that is too long, beginning with a letter."""
    return name if len(name) <= most else name[-max(most, 1) :].strip("_").lstrip("_0123456789") or "rows"
