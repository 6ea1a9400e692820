"""Which resources a child is asked for by, what it takes from them, and what of that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from analytics_dagster.spec.api import Resource
from analytics_dagster.spec.placeholders import FOR_EACH, Mistake, Source, parents, sources
from analytics_dagster.spec.problems import nearest, one_of

_CURSOR = ("endpoint", "incremental")
_NO_PARENT = (
    "this resource has no parent; it gets one by {resources.PARENT.FIELD} in its path, "
    "params, json, form, data or headers, or a list of values by for_each"
)

Resources = Mapping[str, Resource]


def by_name(resources: Sequence[Resource]) -> Resources:
    """The resources of a file by their names."""
    return {resource.name: resource for resource in resources}


def ancestors(resource: Resource, resources: Resources) -> set[str]:
    """The resources that a child is asked for by, and those that they are asked for by, and so on.

    Args:
        resource: Any resource.
        resources: Those of its file.
    """
    found: set[str] = set()
    left = parents(resource.endpoint)
    while left:
        name = left.pop()
        if name not in found and name in resources:
            found.add(name)
            left += parents(resources[name].endpoint)
    return found


def parent_of(resource: Resource, resources: Resources) -> str | None:
    """The resource for each of whose rows a child is asked: of a chain the last one; None without one.

    Args:
        resource: Any resource.
        resources: Those of its file.
    """
    named = parents(resource.endpoint)
    for name in named:
        if name in resources and {*named} - {name} <= ancestors(resources[name], resources):
            return name
    return None


def chain(resource: Resource, resources: Resources) -> list[Resource]:
    """The resources that are read for a child, the topmost first.

    Args:
        resource: Any resource.
        resources: Those of its file.
    """
    found: list[Resource] = []
    while (name := parent_of(resource, resources)) is not None:
        resource = resources[name]
        found.insert(0, resource)
    return found


def taken(resource: Resource, resources: Resources) -> dict[str, Source]:
    """The fields that the rows of a child take from what they were asked for with, by the fields' names.

    `accounts.id` in `include_from_parent` and `{parent: accounts.id}` is a field of an ancestor, and
    `for_each.site` one of the lists; a field alone is the parent's.

    Args:
        resource: Any resource.
        resources: Those of its file.
    """
    above = ancestors(resource, resources)
    if resource.for_each:
        above.add(FOR_EACH)
    parent = parent_of(resource, resources) or FOR_EACH

    def source(text: str) -> Source:
        of, dot, field = text.partition(".")
        return Source(of, field) if dot and of in above else Source(parent, text)

    included = [source(text) for text in resource.include_from_parent]
    made = resource.records.from_parent if resource.records else {}
    return {
        **{f"_{one.of}_{one.field}": one for one in included},  # as dlt names them
        **{name: source(text) for name, text in made.items()},
    }


def key_columns(resource: Resource, resources: Resources) -> dict[Source, str]:
    """Where a row says for which parents it was asked: a column for each value that asks for it.

    Args:
        resource: A child.
        resources: Those of its file.

    Returns:
        The columns; less than there are values where the rows lack one.
    """
    columns = {source: column for column, source in taken(resource, resources).items()}
    return {source: columns[source] for source in sources(resource.endpoint) if source in columns}


def family(resource: Resource, resources: Resources, names: Sequence[str]) -> Iterator[Mistake]:
    """What is wrong with a resource as a child of others.

    Args:
        resource: Any resource.
        resources: Those of its file that are right for themselves.
        names: The names of all resources of the file.
    """
    yield from _values(resource)
    if not resource.is_child:
        if resource.include_from_parent:
            yield Mistake(("include_from_parent",), _NO_PARENT)
        for name in resource.records.from_parent if resource.records else ():
            yield Mistake(("records", "fields", name), _NO_PARENT)
        return
    named = parents(resource.endpoint)
    for parent in named:
        if parent not in names:
            yield Mistake(
                ("endpoint",),
                f"there is no resource `{parent}` to take values from" + nearest(parent, names),
            )
    if not resources.keys() >= {*named}:
        return
    if named and parent_of(resource, resources) is None:
        one, other = named[:2]
        yield Mistake(
            ("endpoint",),
            f"a resource is asked for by the rows of one parent and of the parents of that, and "
            f"{one_of(named, last='and')} are no such chain; if each `{one}` has its own `{other}`, write "
            f"{{resources.{one}.FIELD}} in the endpoint of `{other}`",
        )
        return
    yield from _taken(resource, resources)
    if resource.has_cursor_per_parent:
        yield from _cursor_per_parent(resource, resources)


def _values(resource: Resource) -> Iterator[Mistake]:
    """Whether the lists of `for_each` are asked for, and nothing else."""
    asked = [source.field for source in sources(resource.endpoint) if source.of == FOR_EACH]
    for name in asked:
        if name not in resource.for_each:
            remedy = f"write for_each: {{{name}: [VALUE, …]}}"
            if resource.for_each:
                remedy = f"expected {one_of(f'{{for_each.{one}}}' for one in resource.for_each)}"
            remedy += nearest(name, resource.for_each)
            yield Mistake(("endpoint",), f"{{for_each.{name}}} has no values; {remedy}")
    for name, values in resource.for_each.items():
        if name not in asked:
            yield Mistake(
                ("for_each", name),
                f"no request asks for it, so that each value would give the same rows; write "
                f'"{{for_each.{name}}}" in path, params, json, data or headers',
            )
        if len({*map(str, values)}) < len(values):
            yield Mistake(("for_each", name), "a value is there twice; its rows would come twice")


def _taken(resource: Resource, resources: Resources) -> Iterator[Mistake]:
    above = ancestors(resource, resources)
    made = resource.records.from_parent if resource.records else {}
    written = [
        *((("include_from_parent", index), text) for index, text in enumerate(resource.include_from_parent)),
        *((("records", "fields", name), text) for name, text in made.items()),
    ]
    for path, text in written:
        of, dot, _ = text.partition(".")
        if dot and of in resources and of not in above:
            known = one_of(sorted(above), last="and") if above else FOR_EACH
            yield Mistake(path, f"`{of}` is nothing that this resource is asked for by; that is {known}")
    for column, source in taken(resource, resources).items():
        if source.of == FOR_EACH and source.field not in resource.for_each:
            path = ("include_from_parent",) if column.startswith("_") else ("records", "fields", column)
            yield Mistake(
                path,
                f"for_each has no `{source.field}`, only {one_of(resource.for_each, last='and')}"
                + nearest(source.field, resource.for_each),
            )


def _cursor_per_parent(resource: Resource, resources: Resources) -> Iterator[Mistake]:
    """What the cursor of a child needs: it is found in the table, by the parent."""
    cursor = resource.endpoint.incremental
    assert cursor is not None
    if resource.write_disposition == "append":
        yield Mistake(
            ("write_disposition",),
            "a child's cursor is found in its table, so the last rows of each parent come again, and append "
            "would add them; write merge with a primary_key, or add partitions",
        )
    if cursor.initial_value is None:
        yield Mistake(_CURSOR, "a child's cursor needs initial_value, where those of a new parent begin")
    usual = {
        "last_value_func": "max",
        "on_cursor_value_missing": "raise",
        "range_start": "closed",
        "range_end": "open",
        "row_order": None,
        "end_value": None,
    }
    for key, value in usual.items():
        if getattr(cursor, key) != value:
            yield Mistake(
                (*_CURSOR, key),
                "a child without partitions goes on behind the newest row of each parent; leave it out",
            )
    columns = key_columns(resource, resources)
    for source in sources(resource.endpoint):
        if source not in columns:
            text = f"{source.of}.{source.field}"
            yield Mistake(
                _CURSOR,
                f"a child's cursor is found in its table for each parent, and the rows do not say which "
                f"`{text}` they are of; write `include_from_parent: [{text}]`",
            )


def circles(resources: Sequence[Resource]) -> list[str]:
    """The names of resources that are children of themselves, one after the other; empty where none is."""
    try:
        TopologicalSorter({r.name: parents(r.endpoint) for r in resources}).prepare()
    except CycleError as error:
        return list(dict.fromkeys(error.args[1]))
    return []
