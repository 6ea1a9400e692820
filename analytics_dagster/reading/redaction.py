"""Keeps secrets out of everything that people may read."""

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator

_MASK = "***"
_SHORTEST = 3  # a shorter value would black out ordinary text and is no secret


class Redactor:
    """Replaces known secrets in texts, in every form in which they travel.

    Args:
        secrets: The values to hide; also hidden are their URL-encoded, base64 and JSON forms.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
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
    yield "".join(map(_plain_or_quoted, secret))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield re.escape(encode(secret.encode(errors="replace")).decode().rstrip("=")) + "=*"
    for escaped in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        yield re.escape(escaped[1:-1])
        yield re.escape(escaped[1:-1].replace("/", "\\/"))


def _plain_or_quoted(character: str) -> str:
    """A character as it is or as it stands in a URL; which ones are quoted there differs."""
    if character.isascii() and character.isalnum():
        return character
    quoted = "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))
    plus = r"|\+" if character == " " else ""
    return f"(?:{re.escape(character)}|(?i:{quoted}){plus})"
