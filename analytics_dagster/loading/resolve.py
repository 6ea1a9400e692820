"""Puts the values of `${NAME}` templates into an API; the only place where secrets are looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import dlt
from pydantic import ValidationError

from analytics_dagster.reading.errors import LoadError, MissingSecretError
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.spec import Api, ApiFile, placeholders, templates

_NOT_SECRET = {
    "access_token_path",
    "access_token_request_format",
    "access_token_url",
    "algorithm",
    "audience",
    "claims",
    "client_authentication",
    "default_token_expiration",
    "grant_type",
    "issuer",
    "key_id",
    "lifetime",
    "location",
    "login_format",
    "login_url",
    "name",
    "prefix",
    "resource",
    "scope",
    "scopes",
    "subject",
    "token_path",
    "token_store",
    "type",
    "username",
}


class WrongValueError(LoadError):
    """The value of a `${NAME}` is not what its place in the file needs."""

    permanent = True


@dataclass(frozen=True)
class ResolvedApi:
    """An API whose templates are filled in, and what must never be shown of it."""

    api: Api
    redact: Redactor


def lookup(name: str) -> str | None:
    """The value of a name: from the environment, else from dlt's secret providers.

    Args:
        name: As it stands in `${NAME}`.
    """
    value = os.environ.get(name)
    if value is None:
        value = cast("Any", dlt.secrets).get(name)  # of any type, which the stubs do not allow
    return None if value is None else str(value)


def resolve(
    file: ApiFile, auth: Mapping[str, Any] | None = None, values: Mapping[str, str] | None = None
) -> ResolvedApi:
    """Fill in the templates of a file.

    Args:
        file: The API file.
        auth: Fields of `client.auth` that replace the file's; they may be templates too.
        values: Values that come before the environment and dlt's providers.

    Raises:
        MissingSecretError: If a name has no value; it says which, and names the file and all others missing.
        WrongValueError: If a value does not fit where it stands, such as a base URL without a scheme.
    """
    raw = file.api.model_dump(mode="python", by_alias=True, exclude_unset=True)
    if auth and raw["client"].get("auth"):
        raw["client"]["auth"] = _replaced(file, raw["client"]["auth"], auth)
    known = dict(values or {})
    missing: list[str] = []

    def value_of(name: str) -> str:
        found = known.get(name) or lookup(name)
        if not found:  # an empty one is one that somebody forgot to fill in
            missing.append(name)
            return ""
        return known.setdefault(name, found)

    filled = templates.substitute(raw, value_of)
    for resource, texts in zip(filled["resources"], raw["resources"], strict=True):
        # A value is sent as it is, never taken for one of dlt's placeholders.
        endpoint: dict[str, Any] = texts["endpoint"]
        parts = {part: endpoint[part] for part in placeholders.PARTS if part in endpoint}
        resource["endpoint"] |= templates.substitute(parts, lambda name: placeholders.escaped(value_of(name)))
    if missing:
        names = ", ".join(f"${{{name}}}" for name in dict.fromkeys(missing))
        raise MissingSecretError(
            f"{file.path}: no value for {names}. Set the environment variable, or write it into dlt's"
            " secrets.toml (or a vault that dlt is set up to use)."
        )
    return ResolvedApi(_validated(file, filled), Redactor(_secrets(file, filled, known)))


def _replaced(file: ApiFile, auth: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """An auth with other fields; those of `all` one by one."""
    if "all" not in auth or "all" not in fields:
        return {**auth, **fields}
    own: list[dict[str, Any]] = auth["all"]
    others: list[dict[str, Any]] = fields["all"]
    if len(own) != len(others):
        raise WrongValueError(
            f"{file.path}: client.auth.all has {len(own)} entries, and the credentials in its place have"
            f" {len(others)}. Give one for each, in the same order; an empty one changes nothing."
        )
    return {**auth, "all": [_replaced(file, *pair) for pair in zip(own, others, strict=True)]}


def _validated(file: ApiFile, filled: dict[str, Any]) -> Api:
    try:
        return Api.model_validate(filled)
    except ValidationError as error:
        # Shown without the values, which may be secrets.
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_context=False, include_url=False)
        )
        raise WrongValueError(
            f"{file.path}: with its templates filled in, the file is wrong: {problems}. Correct the value of"
            f" {', '.join(f'${{{name}}}' for name in sorted(templates.names(file.api.model_dump())))}."
        ) from None


def _secrets(file: ApiFile, filled: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """What must not be shown: auth fields, and all looked-up values but those that say where the API is."""
    # Only a URL up to its path: that may hold a token, as in https://api.telegram.org/bot${TOKEN}.
    addresses = {*_names_of_place(file.api.client.base_url)}
    for resource in file.api.resources:
        addresses |= {name for name in _names_of_place(resource.endpoint.path) if "://" in known[name]}
    secrets = [value for name, value in known.items() if name not in addresses]
    for raw in (filled["client"], *(raw["endpoint"] for raw in filled["resources"])):
        secrets += secrets_in(raw.get("auth"))
    return secrets


def secrets_in(auth: Any) -> Iterator[str]:
    match auth:
        case dict():
            block = cast("dict[str, Any]", auth)
            for key, value in block.items():
                if key not in _NOT_SECRET:
                    yield from secrets_in(value)
            if "username" in block and "password" in block:
                yield f"{block['username']}:{block['password']}"
        case list():
            for one in cast("list[Any]", auth):
                yield from secrets_in(one)
        case str() | int() if not isinstance(auth, bool):
            yield str(auth)
        case _:
            pass


def _names_of_place(url: str) -> list[str]:
    """The names of templates in a URL's scheme, host and port; or in what its beginning is made of."""
    place = re.match(r"[^/?#]*(//[^/?#]*)?", url)
    assert place is not None
    return templates.names(place[0])
