"""Dagster resources: the credentials of an API, and the destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import dagster as dg

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.resolve import lookup
from analytics_dagster.reading.errors import MissingSecretError
from analytics_dagster.spec import (
    ApiFile,
    ApiKeyAuth,
    Auth,
    BearerAuth,
    HttpBasicAuth,
    JwtBearerAuth,
    OAuth2Auth,
    RefreshTokenAuth,
    SessionAuth,
    SeveralAuth,
    templates,
)


class Credentials(dg.ConfigurableResource[Any]):
    """What an API wants to know of its caller.

    The fields of its kinds are named as in the file's `client.auth` and replace what stands there. They
    may hold `${NAME}` templates, which are filled in while a run is under way, or Dagster `EnvVar`s.
    """

    def auth(self) -> dict[str, Any]:
        """The fields that have a value, for `client.auth`."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _as_template(value) for name, value in fields.items() if value is not None}

    def variables(self) -> Mapping[str, str]:
        """Values for the file's templates that come before the environment."""
        return {}


def _as_template(value: Any) -> Any:
    """A value with `${NAME}` for each `EnvVar("NAME")` in it: Dagster looks up none inside of values."""
    match value:
        case {"env": str(name), **others} if not others:
            return f"${{{name}}}"
        case dict():
            return {name: _as_template(inner) for name, inner in cast("dict[str, Any]", value).items()}
        case list():
            return [_as_template(inner) for inner in cast("list[Any]", value)]
        case _:
            return value


class ApiKeyCredentials(Credentials):
    """An API key."""

    api_key: str


class BearerCredentials(Credentials):
    """A bearer token."""

    token: str


class BasicCredentials(Credentials):
    """A user name and a password for HTTP Basic."""

    username: str
    password: str


class OAuth2Credentials(Credentials):
    """An OAuth 2 client, whose token is fetched."""

    client_id: str
    client_secret: str


class RefreshTokenCredentials(Credentials):
    """An OAuth 2 client, and the refresh token that a user's consent gave it."""

    client_id: str
    client_secret: str | None = None
    refresh_token: str


class JwtBearerCredentials(Credentials):
    """A service account's key; its issuer, if the key is not Google's JSON key."""

    private_key: str
    issuer: str | None = None


class SessionCredentials(Credentials):
    """The fields of a login."""

    login: dict[str, Any]


class SeveralCredentials(Credentials):
    """What each of several kinds wants, in the order of the file."""

    all: list[dict[str, Any]]


_KINDS: dict[type[Auth], type[Credentials]] = {
    ApiKeyAuth: ApiKeyCredentials,
    BearerAuth: BearerCredentials,
    HttpBasicAuth: BasicCredentials,
    OAuth2Auth: OAuth2Credentials,
    RefreshTokenAuth: RefreshTokenCredentials,
    JwtBearerAuth: JwtBearerCredentials,
    SessionAuth: SessionCredentials,
}


def credentials_key(file: ApiFile) -> str:
    """The resource key of an API's credentials."""
    return f"{file.api.name.replace('-', '_')}_credentials"


def credentials_for(file: ApiFile) -> Credentials:
    """The credentials that a file describes, its templates not yet filled in."""
    return _credentials(file.api.client.auth)


def _credentials(auth: Auth | None) -> Credentials:
    if auth is None:
        return Credentials()
    if isinstance(auth, SeveralAuth):
        return SeveralCredentials(all=[_credentials(one).auth() for one in auth.all])
    kind = _KINDS[type(auth)]
    return kind(**{name: getattr(auth, name) for name in kind.model_fields})


class DestinationResource(dg.ConfigurableResource[Any]):
    """Where rows go.

    `type` is dlt's name of the destination (empty: `ANALYTICS_DESTINATION`, else DuckDB); `credentials`
    a connection string, a `${NAME}` template or a DuckDB file (empty: dlt's own settings).
    """

    type: str = ""
    credentials: str = ""

    def destination(self) -> Destination:
        """The destination, its template filled in.

        Raises:
            MissingSecretError: If the template's name has no value.
        """
        found = Destination.from_environment()
        credentials = templates.substitute(self.credentials, _value) if self.credentials else None
        return Destination(self.type or found.type, credentials)


def _value(name: str) -> str:
    value = lookup(name)
    if value is None:
        raise MissingSecretError(
            f"The destination's credentials: no value for ${{{name}}}. Set the variable."
        )
    return value
