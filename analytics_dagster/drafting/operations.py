"""The operations of an OpenAPI document, Swagger's in the same form: what is asked, and what answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urljoin

from analytics_dagster.drafting.document import Document, is_url, listing, mapping, text_of
from analytics_dagster.drafting.schemas import Schemas, Shape, schema_of
from analytics_dagster.drafting.words import is_plain, snake

_SEARCHES = {"search", "query", "filter"}
_PARAMETER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Parameter:
    """What a request may say."""

    name: str
    place: Literal["query", "path", "header", "body"]
    shape: Shape
    text: str
    required: bool

    @property
    def default(self) -> Any:
        """Its default, or the first of the values that are allowed; None where none is stated."""
        default = self.shape.raw.get("default", next(iter(listing(self.shape.raw.get("enum"))), None))
        if isinstance(default, str):
            return default if is_plain(default) else None
        return default if isinstance(default, int | float) else None

    def number(self, key: str) -> int | None:
        """What the schema states as `maximum`, `minimum` or `default`, if that is a whole number."""
        value = self.shape.raw.get(key)
        if isinstance(value, float) and value.is_integer():  # FastAPI states 50.0 for 50
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Operation:
    """What can be asked for with one method at one path."""

    path: str
    method: Literal["GET", "POST"]
    parameters: tuple[Parameter, ...]
    answer: Shape
    headers: frozenset[str]
    text: str
    security: Any

    @property
    def place(self) -> str:
        """The path of what is read: that of a search without its last word."""
        found = self.path.rstrip("/").rpartition("/")[0] if self.method == "POST" else self.path
        return found or self.path

    @property
    def path_parameters(self) -> list[str]:
        """The names in the path's braces, in order."""
        return _PARAMETER.findall(self.path)


def operations(document: Document) -> Iterator[Operation]:
    """What reads something: GET, and POST where the path ends in a word for a search and no body is needed.

    Raises:
        DraftError: If a `$ref` leads nowhere.
    """
    schemas = Schemas(document)
    for path, item in mapping(document.root.get("paths")).items():
        around = document.follow(item)
        if not is_plain(_PARAMETER.sub("", path)) or "?" in path:
            continue
        for method in ("get", "post"):
            described = mapping(around.get(method))
            if not described or described.get("deprecated") is True:
                continue
            if method == "post" and snake(path.rstrip("/").rsplit("/", 1)[-1]) not in _SEARCHES:
                continue
            parameters = _parameters(document, schemas, around, described)
            body, needs_body = _body(document, schemas, described)
            if method == "post" and needs_body:
                continue
            answer = _answer(document, described)
            yield Operation(
                path=path,
                method="GET" if method == "get" else "POST",
                parameters=(*parameters, *(body if method == "post" else ())),
                answer=schemas.shape(_answer_schema(document, answer)),
                headers=frozenset(name.lower() for name in mapping(answer.get("headers"))),
                text=text_of(described.get("summary")) or text_of(described.get("description")),
                security=described.get("security", document.root.get("security")),
            )


def _parameters(
    document: Document, schemas: Schemas, around: dict[str, Any], described: dict[str, Any]
) -> list[Parameter]:
    found: dict[tuple[str, str], Parameter] = {}
    for given in (*listing(around.get("parameters")), *listing(described.get("parameters"))):
        one = document.follow(given)
        name, place = one.get("name"), one.get("in")
        if not isinstance(name, str) or place not in ("query", "path", "header") or not is_plain(name):
            continue
        content = mapping(next(iter(mapping(one.get("content")).values()), None))
        schema = one.get("schema", content.get("schema"))
        shape = schemas.shape(one if schema is None else schema)  # Swagger's says its type itself
        text = text_of(one.get("description")) or shape.text
        found[name, place] = Parameter(
            name, cast("Any", place), shape, text, one.get("required") is True or place == "path"
        )
    return list(found.values())


def _body(document: Document, schemas: Schemas, described: dict[str, Any]) -> tuple[list[Parameter], bool]:
    """The fields of a JSON body, and whether there must be some that cannot be guessed."""
    if document.is_swagger:
        bodies = [document.follow(one) for one in listing(described.get("parameters"))]
        schema = next((one.get("schema") for one in bodies if one.get("in") == "body"), None)
    else:
        schema = _json_schema(document.follow(described.get("requestBody")))
    shape = schemas.shape(schema)
    fields = [
        Parameter(name, "body", one, one.text, name in shape.required)
        for name, one in schemas.fields(shape).items()
    ]
    return fields, any(one.required and one.default is None for one in fields)


def _answer(document: Document, described: dict[str, Any]) -> dict[str, Any]:
    answers = mapping(described.get("responses"))
    for status in ("200", "2XX", "2xx", "201", "202", "203", "206", "default"):
        if status in answers:
            return document.follow(answers[status])
    return {}


def _answer_schema(document: Document, answer: dict[str, Any]) -> Any:
    schema = answer.get("schema") if document.is_swagger else _json_schema(answer)
    if schema:
        return schema
    if document.is_swagger:
        examples = list(mapping(answer.get("examples")).values())
    else:
        media = _json_media(answer)
        named = [document.follow(one).get("value") for one in mapping(media.get("examples")).values()]
        examples = [media.get("example"), *named]
    return next((schema_of(one) for one in examples if isinstance(one, dict | list)), None)


def _json_schema(answer: dict[str, Any]) -> Any:
    return _json_media(answer).get("schema")


def _json_media(answer: dict[str, Any]) -> dict[str, Any]:
    for kind, media in mapping(answer.get("content")).items():
        if re.search(r"json|\*/\*", kind):
            return mapping(media)
    return {}


def base_url(document: Document, variable: str) -> tuple[str, str]:
    """Where the API is, and why that is thought.

    Args:
        document: The document.
        variable: The name of the template to write where the document does not say it.
    """
    if document.is_swagger:
        host = text_of(document.root.get("host"))
        schemes = listing(document.root.get("schemes"))
        scheme = "https" if "https" in schemes or not schemes else str(schemes[0])
        url = (f"{scheme}://{host}" if host else "") + text_of(document.root.get("basePath"))
        why = "host and basePath of the document"
    else:
        server = mapping(next(iter(listing(document.root.get("servers"))), None))
        url, why = text_of(server.get("url")), "the document's first server"
        if len(listing(document.root.get("servers"))) > 1:
            why += ", of several"
        defaults = {
            name: text_of(mapping(one).get("default"))
            for name, one in mapping(server.get("variables")).items()
        }
        url = _PARAMETER.sub(
            lambda found: defaults.get(found[1]) or f"${{{variable}_{snake(found[1]).upper()}}}", url
        )
    if not re.match(r"https?://[^/?#@\s]+(/|$)", url, re.IGNORECASE):
        if is_url(document.place):
            url, why = (
                urljoin(document.place, url or "/"),
                "where the document came from, as it names no host",
            )
        else:
            return f"${{{variable}_URL}}{url if url.startswith('/') else ''}".rstrip(
                "/"
            ), "the document names no host"
    return url.rstrip("/"), why
