"""Puts a file together: which resources there are, and what each says; guesses are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl

from analytics_dagster.drafting.auth import auth_of_kind, find_auth
from analytics_dagster.drafting.clocks import Clock, find_clock
from analytics_dagster.drafting.document import Document, DraftError, mapping, text_of
from analytics_dagster.drafting.endpoints import Endpoint, endpoint_names, find_endpoints
from analytics_dagster.drafting.operations import Operation, Parameter, base_url, operations
from analytics_dagster.drafting.paging import Paging, find_paging, repeated_parameters
from analytics_dagster.drafting.rows import primary_key
from analytics_dagster.drafting.schemas import Schemas, schema_of
from analytics_dagster.drafting.words import json_path, snake
from analytics_dagster.drafting.writing import Guess, write
from analytics_dagster.spec import templates

_HEADERS_OF_OTHERS = {"accept", "authorization", "content-type"}
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Draft:
    """A file's text, the names of its resources, and how many operations seem to read no rows."""

    text: str
    resources: tuple[str, ...]
    others: int = 0

    @property
    def variables(self) -> list[str]:
        """The variables that need a value before anything can be loaded."""
        said = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("#"))
        return templates.names(said)


class Drafter:
    """Drafts the file of one API from its document.

    Args:
        document: The document.
        name: The API's name, by which its variables are called.

    Raises:
        DraftError: If the document has no list of rows, or a `$ref` that leads nowhere.
    """

    def __init__(self, document: Document, name: str) -> None:
        self._document = document
        self._schemas = Schemas(document)
        self._name = name
        self._variable = snake(name).upper()
        read = list(operations(document))
        self.endpoints = find_endpoints(self._schemas, read, name, self._variable)
        if not self.endpoints:
            raise DraftError(
                f"{document.place}: none of its {len(read)} GET operations states that it answers with a list"
                " of objects. Draft the file without the document (--base-url, --path), and write"
                " `data_selector` by hand."
            )
        self._others = len(read) - len(self.endpoints)

    def matching(self, only: Sequence[str]) -> list[Endpoint]:
        """The endpoints whose name or path matches a pattern; all where there is none.

        Args:
            only: Patterns such as `user*` or `/v1/*`.

        Raises:
            DraftError: If none matches.
        """
        found = [
            one
            for one in self.endpoints
            if not only
            or any(fnmatchcase(text, pattern) for pattern in only for text in (one.name, one.operation.path))
        ]
        if not found:
            names = ", ".join(one.name for one in self.endpoints[:20])
            raise DraftError(
                f"nothing matches {', '.join(only)}; there is {names}" + ", …" * (len(self.endpoints) > 20)
            )
        return found

    def draft(
        self, only: Sequence[str], start: date, url: str | None = None, auth: str | None = None
    ) -> Draft:
        """Draft the file.

        Args:
            only: Patterns of the resources to write; empty for all.
            start: Where windows and cursors begin.
            url: The base URL, where the document's is not the right one.
            auth: A kind of authentication in place of the document's.

        Raises:
            DraftError: If no resource matches.
        """
        chosen = self.matching(only)
        wanted = {one.name for one in chosen}
        for one in chosen:
            while (one := one.parent) is not None:
                wanted.add(one.name)
        asked = {one.name for one in chosen}
        written = [one for one in self.endpoints if one.name in wanted]
        base, why = (url.rstrip("/"), "") if url else base_url(self._document, self._variable)
        client: dict[str, Any] = {"base_url": Guess(base, why)}
        if auth:
            found, reason = auth_of_kind(auth, self._variable), ""
        else:
            found, reason = find_auth(
                self._document, [one.operation for one in written], self._variable, base
            )
        if found or reason:
            client["auth"] = Guess(found, reason)
        entries = [self._resource(one, start, selected=one.name in asked) for one in written]
        info = mapping(self._document.root.get("info"))
        title = text_of(f"{info.get('title') or self._name} {info.get('version') or ''}")
        draft = {
            "version": 1,
            **({"description": _said(title)} if info.get("title") else {}),
            "client": client,
            "resources": entries,
        }
        return Draft(
            write(draft, _head(self._name, f"{title} ({self._document.place})")),
            tuple(one.name for one in written),
            self._others,
        )

    def _resource(self, endpoint: Endpoint, start: date, *, selected: bool) -> dict[str, Any]:
        operation, rows = endpoint.operation, endpoint.rows
        paging = find_paging(self._schemas, operation, rows)
        clock = find_clock((one for one in operation.parameters if one.name not in paging.used), rows)
        key = primary_key(rows, endpoint.name)
        said: dict[str, Any] = {"name": endpoint.name}
        if operation.text:
            said["description"] = _said(operation.text)
        if not selected:
            said["selected"] = Guess(False, "read for the resources below it only")
        if endpoint.parent:
            parent = endpoint.parent.name
            said["include_from_parent"] = [
                name if of == parent else f"{of}.{name}" for of, name in endpoint.taken
            ]
        if key:
            said["primary_key"] = self._key(endpoint, *key)
        if clock and not clock.end and (endpoint.parent or not key):
            clock = None  # one stored cursor cannot serve several parents, and new versions need a key
        said |= _loading(clock, start, has_key=bool(key))
        said["endpoint"] = self._endpoint(endpoint, paging, clock, start)
        times = {
            name: {"data_type": "timestamp"}
            for name, shape in rows.fields.items()
            if shape.format == "date-time" and shape.may_be_null and not (clock and clock.field == name)
        }
        if times:
            said["columns"] = Guess(times, "may be null at first, of which no type can be told")
        return said

    @staticmethod
    def _key(endpoint: Endpoint, key: str, why: str) -> Guess:
        if endpoint.parent is None:
            return Guess(key, f"guessed {why}")
        parents = [f"_{of}_{name}" for of, name in endpoint.taken]
        return Guess([*parents, key], f"guessed {why}; two parents may have rows of the same {key}")

    def _endpoint(
        self, endpoint: Endpoint, paging: Paging, clock: Clock | None, start: date
    ) -> dict[str, Any]:
        operation = endpoint.operation
        sent = self._sent(operation, paging, clock)
        said: dict[str, Any] = {"path": endpoint.path}
        if operation.method == "POST":
            said |= {"method": "POST", "json": sent["body"]}
        said |= {key: sent[part] for key, part in (("params", "query"), ("headers", "header")) if sent[part]}
        why = f"guessed: {endpoint.rows.why}"
        if paging.paginator:
            said["data_selector"] = Guess(endpoint.rows.selector, why)
            said["paginator"] = Guess(paging.paginator, f"guessed from {paging.why}")
        else:
            said["data_selector"] = Guess(endpoint.rows.selector, f"{why}; {paging.why}")
        if clock:
            said["incremental"] = Guess(_incremental(clock, start), clock.why)
        return said

    def _sent(self, operation: Operation, paging: Paging, clock: Clock | None) -> dict[str, dict[str, Any]]:
        """What a request says, by its place: page sizes, what is required, and bounds in a body."""
        sent: dict[str, dict[str, Any]] = {"query": {}, "body": {}, "header": {}, "path": {}}
        bounds = {one.name: bound for one, bound in clock.bounds} if clock else {}
        for one in operation.parameters:
            if one.name in paging.params and one.place != "header":
                asked = one.default if one.required else None
                sent[one.place][one.name] = paging.params[one.name] if asked is None else asked
            elif one.name in bounds:
                if one.place == "body":
                    sent["body"][one.name] = f"{{incremental.{bounds[one.name]}_value}}"
            elif one.required and one.name not in paging.used and one.name.lower() not in _HEADERS_OF_OTHERS:
                sent[one.place][one.name] = self._value(one)
        return sent

    def _value(self, one: Parameter) -> Any:
        default = one.default
        if default is None or "$" in str(default):
            return f"${{{self._variable}_{snake(one.name).upper() or 'VALUE'}}}"
        return str(default) if one.place == "header" else default


def blank(name: str, url: str, auth: str, path: str) -> Draft:
    """A file with one resource of which nothing is known but its path.

    Args:
        name: The API's name, by which its variables are called.
        url: The base URL.
        auth: One of the kinds that `auth` knows.
        path: The path of the first resource.
    """
    bare, _, asked = path.partition("?")
    resource = endpoint_names([bare], name)[0]
    client: dict[str, Any] = {"base_url": url}
    if said := auth_of_kind(auth, snake(name).upper()):
        client["auth"] = said
    endpoint: dict[str, Any] = {
        "path": Guess(bare, "add where rows are and how pages are asked for: data_selector and paginator")
    }
    if asked:
        sent = parse_qs(asked, keep_blank_values=True)
        endpoint["params"] = {key: values if values[1:] else values[0] for key, values in sent.items()}
    entry = {
        "name": resource,
        "write_disposition": Guess("replace", "read anew each time; merge needs primary_key"),
        "endpoint": endpoint,
    }
    draft = {"version": 1, "client": client, "resources": [entry]}
    return Draft(write(draft, _head(name, "a blank form")), (resource,))


def document_of_answer(url: str, path: str, answer: Any, headers: Iterable[str]) -> Document:
    """What an OpenAPI document would say of an answer that came.

    Args:
        url: The API's base URL.
        path: What was asked for, with its query if it has one.
        answer: The decoded body.
        headers: The names of the answer's headers.
    """
    bare, _, asked = path.partition("?")
    parameters = [
        {"name": name, "in": "query", "required": True, "schema": {"type": "string", "default": value}}
        for name, value in parse_qsl(asked)
    ]
    repeated = [
        {"name": name, "in": "query", "schema": {"type": "integer"}}
        for name in repeated_parameters(answer)
        if name not in dict(parse_qsl(asked))
    ]
    said = {"headers": dict.fromkeys(headers), "content": {"application/json": {"schema": schema_of(answer)}}}
    operation = {"parameters": [*parameters, *repeated], "responses": {"200": said}}
    place = f"one answer of {url.rstrip('/')}/{bare.lstrip('/')}"
    return Document(
        {"openapi": "3.1.0", "paths": {f"/{bare.lstrip('/')}": {"get": operation}}}, place, is_answer=True
    )


def lists_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[Any]]]:
    """The lists of an answer that have something in them, but for those in lists, with their JSONPaths."""
    if isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from lists_in(inner, (*path, name))
    elif isinstance(value, list) and value:
        yield json_path(path), cast("list[Any]", value)


def _head(name: str, source: str) -> list[str]:
    return [
        f"Drafted from {source}.",
        f"What is guessed says why. `analytics-dagster check {name}` says which guesses hold.",
    ]


def _loading(clock: Clock | None, start: date, *, has_key: bool) -> dict[str, Any]:
    """How rows go into the destination."""
    if clock is None:
        return {
            "write_disposition": Guess(
                "replace", "read anew each time, as no usable filter by time was found"
            )
        }
    if clock.end is None:
        return {
            "write_disposition": Guess(
                "merge", "what is new since the last load, as only a lower bound was found"
            )
        }
    partitions = Guess(
        {"every": "day", "start": start.isoformat()}, "a window a day; where does its history begin?"
    )
    if has_key:
        return {"write_disposition": "merge", "partitions": partitions}
    return {
        "write_disposition": Guess("append", "without a key, a rerun replaces its window"),
        "partitions": partitions,
    }


def _incremental(clock: Clock, start: date) -> dict[str, Any]:
    said: dict[str, Any] = {"cursor_path": clock.field}
    said |= {f"{bound}_param": one.name for one, bound in clock.bounds if one.place == "query"}
    if clock.format != "iso":
        said["format"] = clock.format
    if clock.is_exclusive:
        said["start"] = "exclusive"  # which is right for both, as rows before the window are left out
    if clock.takes_end:
        said["end"] = "inclusive"
    if clock.end is None:
        said["initial_value"] = start.isoformat() + ("" if clock.format == "date" else "T00:00:00Z")
    return said


def _said(text: str) -> str:
    text = "".join(letter for letter in text if letter.isprintable()).replace("${", "$ {")
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1].rsplit(' ', 1)[0]}…"
