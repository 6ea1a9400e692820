"""YAML text as plain values that know where they were written; nothing that knows of APIs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from analytics_dagster.spec.problems import Problem

try:
    from yaml import CSafeLoader
except ImportError:  # a build of PyYAML without libyaml
    from yaml import SafeLoader as CSafeLoader

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 60
_MAX_VALUES = 100_000
_MAX_DIGITS = 100  # a longer number fits nowhere, and many a place cannot take or show it
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, the path of keys that leads to it, and the line (from 1) of its key.

    `value` is a `dict[str, Node]`, a `list[Node]`, or a text, number, truth value or None.
    """

    value: Any
    path: KeyPath
    line: int

    @property
    def items(self) -> dict[str, Node]:
        """The entries of a mapping; nothing for any other value."""
        value: object = self.value
        return cast("dict[str, Node]", value) if isinstance(value, dict) else {}

    @property
    def entries(self) -> list[Node]:
        """The entries of a list; nothing for any other value."""
        value: object = self.value
        return cast("list[Node]", value) if isinstance(value, list) else []

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.items.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.entries]
        return self.value

    def locate(self, path: KeyPath) -> tuple[Node, KeyPath]:
        """The node at a path below this one, or the last one on the way, and the path as it was written."""
        node = self
        for depth, part in enumerate(path):
            inner = node.items.get(part) if isinstance(part, str) else dict(enumerate(node.entries)).get(part)
            if inner is None:
                return node, (*node.path, *path[depth:])
            node = inner
        return node, node.path

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for inner in (*self.items.values(), *self.entries):
            yield from inner.walk()


def dotted(path: KeyPath) -> str:
    """`resources[1].endpoint.path`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def parse_yaml(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document.

    Scalars follow YAML 1.2's core rules: `no`, `12:30` and `2024-01-01` are text. Keys are text as written.

    Args:
        text: The document.
        file: The name that problems give.

    Returns:
        The document, None where it does not parse; and what is wrong with it.
    """
    converter = _Converter(file)
    try:
        composed = _compose(text)
        node = Node(None, (), 1) if composed is None else converter.convert(composed, (), 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return None, [*converter.problems, Problem(file, line, "", _explain(error, text, line))]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the YAML does not parse: the character #x{error.character:04x} is not allowed"
        return None, [Problem(file, line, "", message)]
    except RecursionError:
        return None, [Problem(file, None, "", "the YAML is nested too deeply")]
    return node, converter.problems


def load_plain(text: str) -> Any:
    """The plain value of a YAML document of somebody else's, which may be long.

    Scalars are read as `parse_yaml` does. Aliases share what they stand for, so none multiplies it; merge
    keys (`<<`) would, and are an error.

    Raises:
        yaml.YAMLError: If it does not parse.
        RecursionError: If it is nested too deeply.
    """
    return yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader


def flow_text(value: Any) -> str:
    """A value in one line that `parse_yaml` reads back as it is, save for line breaks in texts.

    Args:
        value: A text, number, truth value or None, or lists and mappings of them.
    """
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        width=float("inf"),
        sort_keys=False,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  filled below


class _FastLoader(CSafeLoader):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


class _PlainLoader(_FastLoader):  # pyright: ignore[reportUntypedBaseClass]
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Nothing, so that a merge key has no constructor and is an error."""


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]  untyped in its stubs
        _TAG + _tag, re.compile(rf"^(?:{_pattern})$"), _first
    )


def _compose(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _FastLoader)
    except yaml.YAMLError:
        return yaml.compose(text, _Loader)  # ten times as slow, and says better what is wrong


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text, flags=re.IGNORECASE)),
}


class _Converter:
    """Turns PyYAML's nodes into ours, and notes what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._count = 0

    def convert(self, node: yaml.Node, path: KeyPath, line: int) -> Node:
        self._count += 1
        if len(path) > _MAX_DEPTH:
            raise _refusal("the YAML is nested too deeply, or an alias contains itself", node)
        if self._count > _MAX_VALUES:
            raise _refusal(f"more than {_MAX_VALUES} values; aliases multiply what they stand for", node)
        if node.tag.removeprefix(_TAG) not in {"map", "seq", "merge", *_SCALARS}:
            self._note_tag(path, line)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, path, line), path, line)
        if isinstance(node, yaml.SequenceNode):
            inner = [
                self.convert(item, (*path, index), item.start_mark.line + 1)
                for index, item in enumerate(node.value)
            ]
            return Node(inner, path, line)
        return Node(self._scalar(node, path, line), path, line)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, line: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_line, path, "a key must be text; a text that begins with { or [ needs quotes")
                continue
            if key_node.tag == _TAG + "merge":
                source = self.convert(value_node, path, line)
                for mapping in source.entries or [source]:
                    merged = {**self._moved(mapping, path), **merged}
                continue
            key = key_node.value
            if key in found:
                message = f"this key is there twice; the first one is in line {found[key].line}"
                self._note(key_line, (*path, key), message)
                continue
            found[key] = self.convert(value_node, (*path, key), key_line)
        return {**merged, **found}

    @staticmethod
    def _moved(mapping: Node, path: KeyPath) -> dict[str, Node]:
        return {key: Node(node.value, (*path, key), node.line) for key, node in mapping.items.items()}

    def _scalar(self, node: yaml.Node, path: KeyPath, line: int) -> Any:
        if node.tag == _TAG + "int" and len(node.value) > _MAX_DIGITS:
            message = f"a number of more than {_MAX_DIGITS} digits; a text of digits needs quotes"
            self._note(line, path, message)
            return node.value
        try:
            return _SCALARS.get(node.tag.removeprefix(_TAG), str)(node.value)
        except (KeyError, ValueError):  # an explicit tag on a text that does not fit it
            self._note_tag(path, line)
            return node.value

    def _note_tag(self, path: KeyPath, line: int) -> None:
        self._note(
            line, path, "YAML tags (values that begin with !) are not read; a text with a ! needs quotes"
        )

    def _note(self, line: int, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(self.file, line, dotted(path), message))


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """PyYAML's message and a remedy, without any value of the file: it may be a secret."""
    problem = error.problem or "it ends too early"
    if "alias" in problem and "undefined" in problem:
        return (
            "the YAML does not parse: an alias that nothing defines; a text that begins with * needs quotes"
        )
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else ""
    hint = ""
    if "\\t" in problem:
        hint = "; indent with spaces, not tabs"
    elif "${" in source and re.search(r"\{.*\$\{|\[.*\$\{", source):
        hint = '; between { } or [ ], a template needs quotes: "${NAME}"'
    elif "mapping values" in problem:
        hint = "; a text with `: ` in it needs quotes, or the indentation is off"
    elif "expected <block end>" in problem:
        hint = "; look at the indentation of this line and those above it"
    elif "another document" in problem:
        problem = "a second document begins here"
        hint = "; one file holds one API, without a further `---`"
    return f"the YAML does not parse: {problem}{hint}"
