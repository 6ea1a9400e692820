"""Keeps secrets out of everything that people may read."""

import base64
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator

_MASK = "***"
_SHORTEST = 3  # a shorter value would black out ordinary text and is no secret
_PADDING = "(?i:=|%3D|%253D|" + re.escape(r"\u003d") + ")*"


class Redactor:
    """Replaces known secrets in texts, in every form in which they travel.

    Args:
        secrets: The values to hide; also hidden are their URL-encoded, base64, JSON and HTML forms.

    Attributes:
        hides_bodies: Whether nothing of an answer's body may be shown, since its rows hold what must not be.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.hides_bodies = False
        self._patterns: set[str] = set()
        self._found: re.Pattern[str] | None = None
        self._changing = threading.Lock()
        for secret in secrets:
            self.hide(secret)

    def hide(self, secret: str) -> None:
        """Hide one more secret, such as a token that was fetched."""
        with self._changing:
            for text in (secret, secret.strip()):
                if len(text) >= _SHORTEST:
                    self._patterns.update(_patterns(text))
            if self._patterns:
                longest_first = sorted(self._patterns, key=len, reverse=True)
                self._found = re.compile("|".join(longest_first))

    def __call__(self, text: str) -> str:
        """The text without any of the secrets."""
        return self._found.sub(_MASK, text) if self._found else text


def _patterns(secret: str) -> Iterator[str]:
    parts = re.findall(r"[^\W_]+|\s+|\\+|.", secret, re.ASCII | re.DOTALL)
    yield "".join(map(_in_any_form, parts))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(secret.encode(errors="replace")).decode().rstrip("=")
        yield "".join(map(_in_any_form, encoded)) + _PADDING


def _in_any_form(part: str) -> str:
    """Letters and digits as they are; another character, or a run of one kind, in all ways to write it."""
    if part.isascii() and part.isalnum():
        return part
    # A doubled backslash is two: with two ways to read it, a search could take for ever.
    forms = {form for character in part for form in _written(character) if set(form) != {"\\"}}
    if part[0] == "\\":
        forms.add("\\")
    found = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    if part.isspace():  # which may be an end of line in one place and a blank in another
        return rf"(?:\\{{0,3}}(?i:{found}|\s|\+)){{1,{len(part)}}}"
    if part[0] == "\\":  # JSON doubles it, and JSON within JSON once more
        return rf"(?i:{found}){{{len(part)},{4 * len(part)}}}"
    return rf"\\{{0,3}}(?i:{found})"


def _written(character: str) -> Iterator[str]:
    """A character as it stands in texts, in URLs and in URLs within URLs, in JSON, HTML and Python."""
    data = character.encode(errors="replace")
    quoted = "".join(f"%{byte:02X}" for byte in data)
    units = character.encode("utf-16-be", "surrogatepass").hex()
    yield from (character, quoted, quoted.replace("%", "%25"))
    for escape in ("\\u", "\\\\u"):
        yield "".join(escape + units[place : place + 4] for place in range(0, len(units), 4))
    yield from (json.dumps(character)[1:-1], repr(character)[1:-1], repr(data)[2:-1])
    yield from (html.escape(character), f"&#{ord(character)};", f"&#x{ord(character):x};")
