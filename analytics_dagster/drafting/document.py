"""An OpenAPI document: read from a file or URL, and its `$ref`s followed. Nothing that guesses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import yaml

from analytics_dagster.spec.yaml_source import load_plain

MOST_BYTES = 32 << 20
"""The most that a document may weigh; those of the largest vendors have some 10 MB."""

_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces
_MOST_REFERENCES = 50  # one leading to the next


class DraftError(Exception):
    """Nothing can be drafted; the message says of what, where, why, and what to do."""


def mapping(value: object) -> dict[str, Any]:
    """An object's entries, empty for anything else; YAML may have numbers as keys, such as 200."""
    if not isinstance(value, dict):
        return {}
    return {str(key): item for key, item in cast("dict[Any, Any]", value).items()}


def listing(value: object) -> list[Any]:
    """A list's entries, empty for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A text in one line, empty for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def is_url(place: str) -> bool:
    """Whether a document is on the web, and not a file."""
    return place.startswith(("http://", "https://"))


def without_secrets(place: str) -> str:
    """A file or URL as it may be shown: without query, user name and password."""
    return re.sub(r"(?<=://)[^/?#]*@", "", place.split("?", maxsplit=1)[0]) if is_url(place) else place


class Document:
    """An OpenAPI 3.0 or 3.1, or Swagger 2.0 document.

    Args:
        root: Its content.
        place: The file or URL that it is from.
        is_answer: Whether it is made of one answer, so that all it has was asked for.

    Raises:
        DraftError: If it is none.
    """

    def __init__(self, root: Any, place: str, *, is_answer: bool = False) -> None:
        self.root = mapping(root)
        self.is_answer = is_answer
        self.place = without_secrets(place)
        version = str(self.root.get("openapi", self.root.get("swagger", "")))
        self.is_swagger = version.startswith("2")
        if not version.startswith(("2", "3.")):
            found = (
                f"`openapi: {version:.20}`"
                if version
                else "neither `openapi: 3.x` nor `swagger: 2.0` at its top"
            )
            raise DraftError(
                f"{self.place}: this is no OpenAPI document that can be read: it has {found}. Give the"
                " document itself (mostly openapi.json or openapi.yaml), not the page that shows it."
            )
        if not mapping(self.root.get("paths")):
            raise DraftError(f"{self.place}: the document has no `paths`, so there is nothing to ask for.")

    def follow(self, value: Any) -> dict[str, Any]:
        """An object, or the one that its `$ref` leads to; keys beside a `$ref` add to it.

        Raises:
            DraftError: If the reference leads nowhere, in a circle, or into another document.
        """
        found = mapping(value)
        for _ in range(_MOST_REFERENCES):
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            beside = {key: item for key, item in found.items() if key != "$ref"}
            found = {**mapping(self._at(reference)), **beside}
        raise DraftError(f"{self.place}: `$ref: {found.get('$ref')}` leads to itself; correct the document.")

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise DraftError(
                f"{self.place}: `$ref: {reference}` leads into another document, which is not read. Put all"
                " into one first, such as with `npx @redocly/cli bundle`."
            )
        found: Any = self.root
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            inside = mapping(found) or {str(index): one for index, one in enumerate(listing(found))}
            if key not in inside:
                raise DraftError(
                    f"{self.place}: `$ref: {reference}` leads nowhere: there is no `{key}`."
                    " Correct the document."
                )
            found = inside[key]
        return found


def read_document(place: str) -> Document:
    """Read a document from a file or URL.

    Args:
        place: A path, or a URL with http:// or https://.

    Raises:
        DraftError: If it cannot be read, is too large, or is no OpenAPI document.
    """
    content = _fetched(place) if is_url(place) else _read(place)
    given, place = place, without_secrets(place)
    if len(content) > MOST_BYTES:
        raise DraftError(f"{place}: the document is larger than {MOST_BYTES >> 20} MB, which is the limit.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DraftError(f"{place}: this is not UTF-8 text ({error.reason}).") from None
    return Document(_parsed(text, place), given)


def _parsed(text: str, place: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text)
            except ValueError:  # a flow mapping of YAML, or JSON that is broken, of which YAML says the line
                pass
        return load_plain(text)
    except RecursionError:
        raise DraftError(f"{place}: the document is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split()).replace('in "<unicode string>",', "at")
        what = "it is a web page" if text.lstrip().startswith("<") else said
        raise DraftError(
            f"{place}: this is neither JSON nor YAML that can be read: {what:.300}. Give the OpenAPI document"
            " itself; YAML's merge keys (<<) and tags (!) are not read, for which JSON helps."
        ) from None


def _read(place: str) -> bytes:
    try:
        with Path(place).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DraftError(f"{place}: the document cannot be read: {error.strerror}.") from None


def _fetched(place: str) -> bytes:
    import requests  # noqa: PLC0415 - most commands need none of it

    shown = without_secrets(place)
    try:
        with requests.get(place, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code != 200:
                raise DraftError(
                    f"{shown} answers {answer.status_code} {answer.reason}. If it wants you to log in, save"
                    " the document, and give the file."
                )
            content = bytearray()
            for piece in answer.iter_content(1 << 18):
                content += piece
                if len(content) > MOST_BYTES:
                    break
            return bytes(content)
    except requests.RequestException as error:
        raise DraftError(
            f"{shown} cannot be reached: {type(error).__name__}. Look at the URL, and at HTTPS_PROXY if you"
            " are behind a proxy."
        ) from None
