"""Dagster resources: the credentials of an API, and the destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.resolve import lookup
from analytics_dagster.reading.errors import MissingSecretError
from analytics_dagster.spec import (
    ApiFile,
    ApiKeyAuth,
    BearerAuth,
    HttpBasicAuth,
    OAuth2Auth,
    templates,
)


class Credentials(dg.ConfigurableResource[Any]):
    """What an API wants to know of its caller.

    The fields of its kinds are named as in the file's `client.auth` and replace what stands there. They
    may hold `${NAME}` templates, which are filled in while a run is under way, or Dagster `EnvVar`s.
    """

    def auth(self) -> dict[str, str]:
        """The fields, for `client.auth`."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def variables(self) -> Mapping[str, str]:
        """Values for the file's templates that come before the environment."""
        return {}


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


def credentials_key(file: ApiFile) -> str:
    """The resource key of an API's credentials."""
    return f"{file.api.name.replace('-', '_')}_credentials"


def credentials_for(file: ApiFile) -> Credentials:
    """The credentials that a file describes, its templates not yet filled in."""
    match file.api.client.auth:
        case None:
            return Credentials()
        case ApiKeyAuth(api_key=api_key):
            return ApiKeyCredentials(api_key=api_key)
        case BearerAuth(token=token):
            return BearerCredentials(token=token)
        case HttpBasicAuth(username=username, password=password):
            return BasicCredentials(username=username, password=password)
        case OAuth2Auth(client_id=client_id, client_secret=client_secret):
            return OAuth2Credentials(client_id=client_id, client_secret=client_secret)


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
