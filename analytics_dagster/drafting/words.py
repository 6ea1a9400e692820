"""The names of fields and parameters as words, by which guesses are made."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FORMAT = re.compile(r"(?<=.)_(json|jsonl|csv|xml|php|aspx?)$")
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `createdAt`, `created_at` and `created[at]` have the same."""
    return [word.lower() for word in _WORD.findall(name)]


def snake(name: str) -> str:
    """The words of a name, joined by `_`."""
    return "_".join(words(name))


def last_part(path: str) -> str:
    """The last part of a path as words, without what says the format: `/issues.json` is about issues."""
    return without_format(snake(path.rstrip("/").rsplit("/", 1)[-1]))


def without_format(name: str) -> str:
    """The words of a part of a path, without those that say the format or the language."""
    return _FORMAT.sub("", name)


def stem(word: str) -> str:
    """What `created`, `creation` and `creates` have in common."""
    return word[:5]


def singular(word: str) -> str:
    """`companies` as `company`, `users` as `user`; good enough to compare names."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def json_path(parts: tuple[str, ...]) -> str:
    """The JSONPath of fields inside each other; `$` for none."""
    text = "".join(f".{part}" if _PLAIN.fullmatch(part) else f"['{part}']" for part in parts)
    return text.removeprefix(".") or "$"


def is_plain(name: str) -> bool:
    """Whether a name can stand in a file: no template, placeholder, quote or control character."""
    return (
        bool(name) and len(name) <= 200 and name.isprintable() and not re.search(r"""[{}'"\\]|\$\{""", name)
    )
