"""`${NAME}` templates in texts: which names there are, and putting values in their place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

_TEMPLATE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")


def names(value: Any) -> list[str]:
    """The names in a text, or in all texts of nested mappings and lists, each once, in order."""
    found: list[str] = []

    def note(name: str) -> str:
        found.append(name)
        return ""

    substitute(value, note)
    return list(dict.fromkeys(found))


def substitute(value: Any, lookup: Callable[[str], str]) -> Any:
    """A copy of a text, or of nested mappings and lists, with a value in place of each template.

    Args:
        value: Anything; what is neither text nor mapping nor list comes back as it is.
        lookup: Called with each name; what it raises passes through.
    """
    match value:
        case str():
            return _TEMPLATE.sub(lambda found: lookup(found[1]), value)
        case dict():
            items = cast("dict[Any, Any]", value).items()
            return {substitute(key, lookup): substitute(item, lookup) for key, item in items}
        case list():
            return [substitute(item, lookup) for item in cast("list[Any]", value)]
        case _:
            return value


def is_malformed(text: str) -> bool:
    """Whether a text holds a `${` that begins no template."""
    return "${" in _TEMPLATE.sub("", text)
