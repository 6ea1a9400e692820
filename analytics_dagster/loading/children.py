"""How a child is asked for: once for each row of its parent, with what that and the rows above it hold."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import dlt
from dlt.common import jsonpath
from dlt.extract import DltResource, DltSource

from analytics_dagster.loading.batches import gather_pages
from analytics_dagster.loading.child_parts import Read, in_parts
from analytics_dagster.loading.parent_cursors import ParentCursors
from analytics_dagster.reading.errors import ContractError, LoadError, RefusedError
from analytics_dagster.reading.records import MakeRows
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.side_by_side import side_by_side
from analytics_dagster.spec import Api, Endpoint, Resource, Window, families
from analytics_dagster.spec.placeholders import FOR_EACH, Source, renamed, resolved, source_of, sources

NO_PARENT = "_for_each"
"""The name that dlt knows as the parent of a resource that has lists of values only."""

_LINEAGE = "\0lineage"  # in a row of a parent: the rows that it was asked for with itself
_PARENTS = 1_000  # rows of a parent that is a child itself, whose children are read side by side
_BOUNDS = ("incremental.initial_value", "incremental.start_value", "incremental.last_value")

_log = logging.getLogger(__name__)


def parent_name(resource: Resource, resources: families.Resources) -> str:
    """The parent of a child, as dlt knows it."""
    return families.parent_of(resource, resources) or NO_PARENT


def only_values() -> DltResource:
    """The parent of a resource that has lists of values only: it has one row, and no field."""
    return dlt.resource([[{}]], name=NO_PARENT, selected=False)


def asked_endpoint(resource: Resource, endpoint: Endpoint, parent: str, *, per_parent: bool) -> Endpoint:
    """An endpoint whose placeholders name what `Children` puts into their place, as dlt's of one parent.

    Args:
        resource: A child.
        endpoint: Its endpoint, which may be another one than the file's.
        parent: The name of its parent.
        per_parent: Whether the bounds are those of the parent, from `ParentCursors`.
    """
    places = {source: number for number, source in enumerate(sources(resource.endpoint))}
    of_params = resolved(endpoint)

    def name(field: str) -> str:
        source = of_params.get(field) or source_of(field)
        if source is not None:
            return f"resources.{parent}.value_{places[source]}"
        if per_parent and field in _BOUNDS:
            return f"resources.{parent}.{'initial' if field == _BOUNDS[0] else 'start'}"
        return field

    params = {key: value for key, value in endpoint.params.items() if key not in of_params}
    cursor = endpoint.incremental
    if per_parent and cursor and cursor.start_param:
        params[cursor.start_param] = "{incremental.start_value}"
    return endpoint.model_copy(
        update={
            "path": renamed(endpoint.path, name),
            "params": renamed(params, name),
            "json_body": renamed(endpoint.json_body, name),
            "form": renamed(endpoint.form, name),
            "data": renamed(endpoint.data, name),
            "headers": renamed(endpoint.headers, name),
            "incremental": None if per_parent else cursor,
        }
    )


@dataclass(frozen=True)
class _Asked:
    """One asking: dlt's row of the parent, the fields that each row gets, and the rows that they are of."""

    row: dict[str, Any]
    given: dict[str, Any]
    lineage: dict[str, Any]
    said: str


class Children:
    """Asks for a child, for each row of its parent.

    Args:
        api: The API, its templates filled in.
        resource: The child.
        cursors: Where its rows end for each parent; None without a cursor of that kind.
        is_parent: Whether it is read for children of its own, and not loaded.
    """

    def __init__(
        self, api: Api, resource: Resource, cursors: ParentCursors | None, *, is_parent: bool
    ) -> None:
        resources = families.by_name(api.resources)
        self._name = resource.name
        self._parent = families.parent_of(resource, resources)
        self._sources = sources(resource.endpoint)
        self._in_path = sources(resource.endpoint, ("path",))
        self._as_is = [one for one in self._in_path if f"{_placeholder(one)}!e" not in resource.endpoint.path]
        self._taken = {} if is_parent else families.taken(resource, resources)
        self._lists = resource.for_each
        self._make = MakeRows(resource.records) if resource.records else None
        self._shows = not any(one.records and one.records.hides for one in api.resources)
        self._cursors = cursors
        self._is_parent = is_parent
        self._find = {
            source: jsonpath.compile_path(source.field) for source in (*self._sources, *self._taken.values())
        }
        self._asked: set[bytes] = set()
        self._has_told = False

    def asking(self, rows: list[Any]) -> Iterator[_Asked]:
        """What to ask for the rows of the parent; the same is asked for once.

        Args:
            rows: Of the parent.

        Raises:
            ContractError: If one has not what the child is asked for by.
        """
        for row in rows:
            if not isinstance(row, dict):
                raise ContractError(
                    f"a row of `{self._parent}` is {row!r:.80}, which has no fields to ask `{self._name}` for"
                    " by. Give it some: `records: {rows: {scalar: NAME}}`."
                )
            above = cast("dict[str, Any]", row)
            lineage = {**above.pop(_LINEAGE, {}), **({self._parent: above} if self._parent else {})}
            for values in itertools.product(*self._lists.values()):
                asked = self._ask({**lineage, FOR_EACH: dict(zip(self._lists, values, strict=True))})
                if asked is not None and self._is_new(asked):
                    yield asked

    def _is_new(self, asked: _Asked) -> bool:
        text = repr((asked.row, asked.given))
        mark = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        is_new = mark not in self._asked
        self._asked.add(mark)
        return is_new

    def _ask(self, lineage: dict[str, Any]) -> _Asked | None:
        values = [self._value(source, lineage) for source in self._sources]
        for source, value in zip(self._sources, values, strict=True):
            if value is None or value == "":
                if not self._has_told:
                    self._has_told = True
                    _log.warning(
                        "Some rows of `%s` have nothing in `%s`: `%s` is not asked for them.",
                        source.of,
                        source.field,
                        self._name,
                    )
                return None
            if value in (".", "..") and source in self._in_path:
                raise ContractError(
                    f"a row of `{source.of}` has `{value}` in `{source.field}`, which in a path means another"
                    " place."
                )
        given = {column: self._value(source, lineage) for column, source in self._taken.items()}
        if self._make:
            given = self._make.hashed(given)
        row = {f"value_{number}": value for number, value in enumerate(values)}
        if self._cursors:
            row |= self._cursors.bounds(given)
        named = [
            f"`{source.of}.{source.field}` = {value!r:.80}"
            for source, value in zip(self._sources, values, strict=True)
        ]
        return _Asked(row, given, lineage, ", ".join(named) if self._shows else "")

    def _value(self, source: Source, lineage: Mapping[str, Any]) -> Any:
        row: dict[str, Any] = lineage[source.of]
        if source.field in row:
            return row[source.field]
        found = jsonpath.find_values(self._find[source], row)
        if found:
            return found[0]
        fields = ", ".join(f"`{name}`" for name in list(row)[:20])
        raise ContractError(
            f"a row of `{source.of}` has no field `{source.field}`, by which `{self._name}` is asked for. Its"
            f" fields are {fields}. Correct the name; or, to pass over rows that lack it, write for"
            f" `{source.of}` `records: {{fields: {{{source.field}: {source.field}}}}}`."
        )

    def pages(self, asked: _Asked, read: Read) -> Iterator[Any]:
        """The pages of one asking, their rows with what they take from it.

        Args:
            asked: What to ask for.
            read: dlt's generator.

        Raises:
            LoadError: What went wrong, with the parent that it went wrong for.
            ContractError: If a row can take nothing, as it is none.
        """
        given = {**asked.given, **({_LINEAGE: asked.lineage} if self._is_parent else {})}
        try:
            for page in read([asked.row]):
                for row in page if given else ():
                    if not isinstance(row, dict):
                        raise ContractError(
                            f"a row is {row!r:.80}, which takes no fields of a parent. Give it some:"
                            " `records: {rows: {scalar: NAME}}`."
                        )
                    cast("dict[str, Any]", row).update(given)
                yield page
        except LoadError as error:
            where = f"for {asked.said}{self._slash(asked, error)}: " if asked.said else ""
            problem = type(error)(f"{where}{error}")
        else:
            return
        raise problem

    def _slash(self, asked: _Asked, error: LoadError) -> str:
        """What to do if a slash in a value has led to another place, which the API does not know."""
        for source, value in zip(self._sources, asked.row.values(), strict=False):  # bounds may follow them
            if isinstance(error, RefusedError) and source in self._as_is and "/" in str(value):
                return f", whose `/` parts the path (`{_placeholder(source)}!e}}` encodes it)"
        return ""


def _placeholder(source: Source) -> str:
    """How one begins that stands for a value."""
    return f"{{{'' if source.of == FOR_EACH else 'resources.'}{source.of}.{source.field}"


def ask_children(
    source: DltSource,
    api: Api,
    loaded: Resource,
    session: ApiSession,
    cursors: ParentCursors | None = None,
    *,
    window: Window | None = None,
    first: int | None = None,
) -> None:
    """Let dlt ask for children as `Children` says, those of several parents side by side.

    dlt's own `parallelized` gives them in any order, and keeps all children of a parent in memory.

    Args:
        source: What dlt made of `rest_api_config`.
        api: The API, its templates filled in.
        loaded: The resource that is loaded.
        session: Sends the requests.
        cursors: Where the loaded resource goes on for each parent.
        window: What of it is read, in parts where the file says so; None for all as it is asked for.
        first: How often to ask at most; None for all parents.
    """
    if cursors is None and loaded.has_cursor_per_parent:
        cursors = ParentCursors(api, loaded, forget=True)
    for child in source.resources.values():
        if child.is_transformer:
            resource = next(one for one in api.resources if one.name == child.name)
            is_parent = resource.name != loaded.name
            children = Children(api, resource, None if is_parent else cursors, is_parent=is_parent)
            pipe: Any = child._pipe  # pyright: ignore[reportPrivateUsage]
            read = pipe.gen if is_parent else in_parts(pipe.gen, resource, window, session)
            pipe.replace_gen(_of_all(read, children, session, first))
            if is_parent and first is None:
                gather_pages(child, session.meter, _PARENTS)


def _of_all(read: Read, children: Children, session: ApiSession, count: int | None) -> Any:
    def of_all(rows: list[Any], meta: Any = None) -> Iterator[Any]:
        asked = itertools.islice(children.asking(rows), count)
        return side_by_side((children.pages(one, read) for one in asked), session)

    return of_all
