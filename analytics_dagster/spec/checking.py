"""One API file's text as a checked `ApiFile`, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from analytics_dagster.spec import bodies, combinations, families, pages, placeholders, rules, templates
from analytics_dagster.spec.answers import answers
from analytics_dagster.spec.api import Api, Resource
from analytics_dagster.spec.defaults import effective
from analytics_dagster.spec.placeholders import Mistake
from analytics_dagster.spec.problems import Problem
from analytics_dagster.spec.validation import validate
from analytics_dagster.spec.yaml_source import KeyPath, Node, dotted, parse_yaml

_SHELL_VARIABLE = re.compile(r"(\w+ )?\$[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class ApiFile:
    """An API, and the file that says it."""

    path: Path
    api: Api
    resource_lines: dict[str, int]
    _root: Node = field(repr=False)

    def line(self, *path: str | int) -> int:
        """The line of a key as written, or of the nearest key around it that is there.

        Args:
            path: Keys and indices, such as `"resources", 1, "endpoint"`.
        """
        return self._root.locate(path)[0].line


@dataclass(frozen=True)
class Checked:
    """What came of one file. `name` is the API's, with its line, also where other things are wrong."""

    problems: list[Problem]
    api_file: ApiFile | None = None
    name: str | None = None
    name_line: int = 1


def check_text(text: str, path: Path) -> Checked:
    """Check one API file.

    Args:
        text: The file's content.
        path: Its name for problems; without its suffix it is the default name of the API.
    """
    file = str(path)
    root, problems = parse_yaml(text, file)
    if root is None:
        return Checked(problems)
    if root.value is None:
        return Checked([Problem(file, 1, "", "the file is empty; expected an API with client and resources")])
    if not isinstance(root.value, dict):
        return Checked(
            [Problem(file, 1, "", "expected an API: a mapping with the keys client and resources")]
        )
    name = root.items.get("name")
    if name is None or name.value is None:
        name = Node(path.stem, ("name",), 1)
    root = replace(root, value={**root.items, "name": name})
    problems += _at(root, file, _in_texts(root))
    api, found = _check_api(root, file)
    problems = _once([*problems, *found])
    api_name = name.value if isinstance(name.value, str) else None
    if api is None or problems:
        return Checked(problems, None, api_name, name.line)
    lines = {
        resource.name: node.line
        for resource, node in zip(api.resources, root.items["resources"].entries, strict=True)
    }
    return Checked([], ApiFile(path, api, lines, root), api_name, name.line)


def _check_api(root: Node, file: str) -> tuple[Api | None, list[Problem]]:
    problems: list[Problem] = []
    root = effective(root)
    nodes = root.items["resources"].entries if "resources" in root.items else []
    names = [_name(node) for node in nodes]
    valid: list[tuple[Resource, Node]] = []
    for node in nodes:
        resource, found = validate(Resource, node, file)
        problems += found
        if resource:
            valid.append((resource, node))
            problems += _check_resource(resource, node, file)
    resources = [resource for resource, _ in valid]
    by_name = families.by_name(resources)
    for resource, node in valid:
        found = families.family(resource, by_name, [name for name in names if name])
        problems += _at_resource(node, file, found)
    envelope = root.plain()
    if isinstance(envelope.get("resources"), list):
        envelope["resources"] = resources
    api, found = validate(Api, root, file, envelope)
    # What is wrong with the defaults is said of them alone, and not again by each resource that has them.
    known = {(problem.line, problem.key) for problem in found}
    problems = [*found, *(problem for problem in problems if (problem.line, problem.key) not in known)]
    problems += _at(root, file, _in_resources(root, nodes, resources))
    if api is not None and not problems:
        for resource, node in zip(resources, nodes, strict=True):
            problems += _at(node, file, rules.without_token(resource, api.client.auth))
    return api, problems


def _check_resource(resource: Resource, node: Node, file: str) -> Iterator[Problem]:
    yield from _at(node, file, combinations.windows(resource))
    yield from _at(node, file, combinations.hiding(resource))
    yield from _at(node, file, rules.mistakes(resource))
    for mistakes in (placeholders.mistakes, bodies.mistakes, pages.mistakes):
        found = mistakes(resource.endpoint)
        yield from _at(node, file, (Mistake(("endpoint", *m.path), m.message) for m in found))
    yield from _at(node, file, answers(resource))
    yield from _at_resource(node, file, combinations.loading(resource))


def _in_resources(root: Node, nodes: list[Node], resources: list[Resource]) -> Iterator[Mistake]:
    """What is wrong between resources."""
    listed = root.items.get("resources")
    if listed and isinstance(listed.value, list) and not nodes:
        yield Mistake(("resources",), "expected at least one resource")
    yield from _too_long(root, nodes)
    seen: dict[str, Node] = {}
    tables = [(_table(node), node) for node in nodes]
    outer_tables = [
        (combinations.table_parts(key), node)
        for key, node in tables
        if key is not None
        and ("max_table_nesting" not in node.items or node.items["max_table_nesting"].value != 0)
    ]
    for index, (key, node) in enumerate(tables):
        if key is None:
            continue
        parts = combinations.table_parts(key)
        for outer, around in outer_tables:
            if combinations.is_nested_table(parts, outer):
                yield Mistake(
                    ("resources", index, "name"),
                    f"the table `{key}` would have this resource's rows, and those of a list in"
                    f" `{_name(around)}` in line {around.line} that has its name; give it another table_name,"
                    f" or write `max_table_nesting: 0` for `{_name(around)}`",
                )
        other = seen.setdefault(combinations.table_key(key), node)
        if other is not node:
            same = "has the same name as" if _name(other) == _name(node) else "would have the same table as"
            yield Mistake(
                ("resources", index, "name"),
                f"`{_name(node)}` {same} `{_name(other)}` in line {other.line}; give it another name",
            )
    if circle := families.circles(resources):
        index = next(i for i, node in enumerate(nodes) if _name(node) == circle[0])
        names = " → ".join([*circle, circle[0]])
        yield Mistake(("resources", index), f"the resource is its own parent: {names}")


def _too_long(root: Node, nodes: list[Node]) -> Iterator[Mistake]:
    """Names of which dlt would make no schema."""
    of_api = combinations.table_key(str(root.items["name"].value))
    longest = combinations.LONGEST_SCHEMA - len("__")
    for index, node in enumerate(nodes):
        if (length := len(combinations.table_key(_name(node) or ""))) > longest - len(of_api):
            yield Mistake(
                ("resources", index, "name"),
                f"the names of the API and of a resource may have {longest} characters together, and have"
                f" {len(of_api)} and {length}; give it a shorter one, and a table_name if the table is to"
                " keep the long one",
            )


def _in_texts(root: Node) -> Iterator[Mistake]:
    """Templates and placeholders that were not written as what they are."""
    for node in root.walk():
        if isinstance(node.value, str) and templates.is_malformed(node.value):
            yield Mistake(
                node.path,
                "a `${` begins no template; write ${NAME}, with a name of letters, digits, _ and . in braces",
            )
        if {"auth", "headers"} & set(node.path) and _SHELL_VARIABLE.fullmatch(str(node.value)):
            yield Mistake(
                node.path,
                "$NAME is sent as it stands; write ${NAME} for the value of an environment variable",
            )
        for key, value in node.items.items():
            if value.value is None and key.startswith(("incremental.", "resources.", "for_each.")):
                yield Mistake(node.path, f'a placeholder needs quotes, else it is a mapping: "{{{key}}}"')


def _table(node: Node) -> str | None:
    table = node.items.get("table_name", node).value
    return table if isinstance(table, str) else _name(node)


def _name(node: Node) -> str | None:
    name = node.items.get("name")
    return name.value if name and isinstance(name.value, str) else None


def _at(node: Node, file: str, mistakes: Iterable[Mistake]) -> Iterator[Problem]:
    """Problems where their values stand, which may be in the defaults."""
    for path, message in mistakes:
        found, written = node.locate(path)
        yield Problem(file, found.line, dotted(written), message)


def _at_resource(node: Node, file: str, mistakes: Iterable[Mistake]) -> Iterator[Problem]:
    """Problems of a resource as a whole, which are its own though some of its keys stand in the defaults."""
    for path, message in mistakes:
        found, written = node.locate(path)
        own = written[: len(node.path)] == node.path
        key: KeyPath = written if own else (*node.path, *path)
        yield Problem(file, found.line if own else node.line, dotted(key), message)


def _once(problems: list[Problem]) -> list[Problem]:
    key: Callable[[Problem], int] = lambda problem: problem.line or 0  # noqa: E731
    return sorted(dict.fromkeys(problems), key=key)
