"""Authentication whose token is fetched first: OAuth 2 in three ways, and a login."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.texts import JsonPath, Url
from analytics_dagster.spec.units import Duration

_PEM = re.compile(r"-----BEGIN ((?:\w+ )?PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)


def _scopes(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _store(value: str) -> str:
    if not value.startswith(("/", "~", "${")):
        raise ValueError("expected a directory as an absolute path, such as /var/lib/tokens or ~/tokens")
    return value


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("expected a duration above zero, such as 20m or 1h")
    return value


def _pem(value: str) -> str:
    """A PEM key in its own lines, which are often lost or escaped in environment variables."""
    if "${" in value:
        return value
    found = _PEM.search(value)
    if found is None:
        raise ValueError(
            "expected a private key: the content of its PEM file (-----BEGIN PRIVATE KEY-----…), or of"
            " Google's JSON key"
        )
    label, body = found.groups()
    if "ENCRYPTED" in found[0]:
        raise ValueError("an encrypted key cannot be used; decrypt it (openssl pkey -in KEY -out PLAIN)")
    lines = textwrap.wrap(re.sub(r"\\[nr]|\s", "", body), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


Scopes = Annotated[
    list[str],
    BeforeValidator(_scopes),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
Lifetime = Annotated[Duration, AfterValidator(_positive)]


class FetchedToken(Model):
    """What all kinds share: how the token goes along with requests."""

    location: Literal["header", "query", "param"] = Field(
        default="header", description="Where the token is sent; param is another word for query."
    )
    name: str = Field(default="Authorization", description="The header or parameter that carries the token.")
    prefix: str | None = Field(
        default=None,
        description="What stands before the token in the header; by default Bearer in Authorization, and"
        " nothing in another.",
        examples=["Token", "Zoho-oauthtoken"],
    )

    @field_validator("prefix")
    @classmethod
    def _only_in_headers(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("location") in ("query", "param"):
            raise ValueError("a prefix goes with a header, and this token goes into the query; leave it out")
        return value


class GrantedToken(FetchedToken):
    """What the kinds of OAuth 2 share: how the token is asked for."""

    scopes: Scopes = Field(default=[], description="What the token is for; a list, or words in one text.")
    access_token_request_data: dict[str, Any] = Field(
        default={}, description="Further fields of the token request, such as audience or resource."
    )
    access_token_request_format: Literal["form", "json"] = Field(
        default="form", description="How the token request is written; form is OAuth's."
    )
    access_token_path: JsonPath = Field(
        default="access_token",
        description="Where the answer holds the token (JSONPath); expires_in and refresh_token are looked for"
        " beside it.",
        examples=["data.access_token"],
    )
    default_token_expiration: int = Field(
        default=3600, gt=0, description="Seconds a token lives where the answer does not say."
    )


class OAuth2Auth(GrantedToken):
    """OAuth 2 client credentials (RFC 6749, section 4.4)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "oauth2",
                    "access_token_url": "https://login.example.com/oauth/token",
                    "client_id": "${EXAMPLE_CLIENT_ID}",
                    "client_secret": "${EXAMPLE_CLIENT_SECRET}",
                    "client_authentication": "basic",
                    "scopes": ["reports.read"],
                }
            ]
        }
    )

    type: Literal["oauth2_client_credentials"]
    access_token_url: Url = Field(description="Where the token is fetched.")
    client_id: str
    client_secret: str
    client_authentication: Literal["body", "basic"] = Field(
        default="body", description="Where the client's id and secret go (RFC 6749, section 2.3.1)."
    )


class RefreshTokenAuth(GrantedToken):
    """OAuth 2 with a refresh token that a user once consented to (RFC 6749, section 6).

    A refresh token that is replaced with each use is kept in a file that only its owner can read.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "oauth2_refresh_token",
                    "access_token_url": "https://oauth2.googleapis.com/token",
                    "client_id": "${EXAMPLE_CLIENT_ID}",
                    "client_secret": "${EXAMPLE_CLIENT_SECRET}",
                    "refresh_token": "${EXAMPLE_REFRESH_TOKEN}",
                    "token_store": "/var/lib/analytics/tokens",
                }
            ]
        }
    )

    type: Literal["oauth2_refresh_token"]
    access_token_url: Url = Field(description="Where the token is fetched.")
    client_id: str
    client_secret: str | None = Field(default=None, description="Left out by clients that have none.")
    refresh_token: str = Field(
        description="The first refresh token; where the API gives out new ones, the newest is kept in"
        " token_store. A changed one here wins."
    )
    client_authentication: Literal["body", "basic"] = Field(
        default="body", description="Where the client's id and secret go (RFC 6749, section 2.3.1)."
    )
    token_store: Annotated[str, AfterValidator(_store)] | None = Field(
        default=None,
        description="A directory for the newest tokens, which all machines that load must share; by default"
        " under DAGSTER_HOME, else under ~/.local/state.",
    )

    @field_validator("client_authentication")
    @classmethod
    def _has_secret(cls, value: str, info: ValidationInfo) -> str:
        if value == "basic" and info.data.get("client_secret", "") is None:
            raise ValueError("basic needs a client_secret; give one, or leave client_authentication out")
        return value


class JwtBearerAuth(GrantedToken):
    """A signed assertion for a token (RFC 7523), as service accounts have it.

    Without access_token_url the assertion itself is the token.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "jwt_bearer",
                    "private_key": "${GOOGLE_KEY}",
                    "scopes": ["https://www.googleapis.com/auth/analytics.readonly"],
                },
                {
                    "type": "jwt_bearer",
                    "algorithm": "ES256",
                    "private_key": "${EXAMPLE_KEY}",
                    "key_id": "2X9R4HXF34",
                    "issuer": "57246542-96fe-1a63-e053-0824d011072a",
                    "audience": "reports-v1",
                    "lifetime": "20m",
                },
            ]
        }
    )

    type: Literal["jwt_bearer"]
    algorithm: Literal["RS256", "ES256"] = "RS256"
    private_key: Annotated[str, AfterValidator(_pem)] = Field(
        description="The content of a PEM file, also with \\n for its line ends; or of Google's JSON key,"
        " which brings issuer, key_id and access_token_url along."
    )
    key_id: str | None = Field(default=None, description="The key's name, for the assertion's header (kid).")
    issuer: str | None = Field(default=None, description="Who asks (iss), such as the account's address.")
    subject: str | None = Field(default=None, description="For whom (sub), where that is somebody else.")
    audience: str | None = Field(
        default=None, description="Who is asked (aud); by default the access_token_url."
    )
    access_token_url: Url | None = Field(
        default=None, description="Where the assertion is changed for a token."
    )
    claims: dict[str, Any] = Field(
        default={}, description="Further claims; null leaves one of the usual ones out."
    )
    lifetime: Lifetime = Field(
        default=timedelta(hours=1),
        json_schema_extra={"default": "1h"},
        description="How long an assertion is good for.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_google(cls, value: Any) -> Any:
        """What Google's JSON key says, where the file says nothing else."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        key = given.get("private_key")
        if not (isinstance(key, str) and key.lstrip().startswith("{")):
            return given
        try:
            said = json.loads(key, strict=False)  # line ends may have become real ones
            found = {ours: said[google] for ours, google in _GOOGLE.items() if google in said}
        except (ValueError, TypeError):
            return given  # told as a private key that is none
        return found | given | {"private_key": found.get("private_key", "")}

    @model_validator(mode="after")
    def _has_issuer(self) -> Self:
        if self.issuer is None and "iss" not in self.claims and "${" not in self.private_key:
            raise ValueError("issuer is missing; only Google's JSON key brings one along")
        return self


class SessionAuth(FetchedToken):
    """A login with a POST, whose answer holds a token; done again when the API answers 401."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "session",
                    "login_url": "https://umami.example.com/api/auth/login",
                    "login": {"username": "${UMAMI_USER}", "password": "${UMAMI_PASSWORD}"},
                    "token_path": "token",
                },
                {
                    "type": "session",
                    "login_url": "https://metabase.example.com/api/session",
                    "login": {"username": "${METABASE_USER}", "password": "${METABASE_PASSWORD}"},
                    "token_path": "id",
                    "name": "X-Metabase-Session",
                    "lifetime": "14d",
                },
            ]
        }
    )

    type: Literal["session"]
    login_url: Url = Field(description="Where the login is sent.")
    login: dict[str, Any] = Field(min_length=1, description="The fields of the login.")
    login_format: Literal["json", "form"] = Field(default="json", description="How the login is written.")
    token_path: JsonPath = Field(
        default="token", description="Where the answer holds the token (JSONPath).", examples=["data.token"]
    )
    lifetime: Lifetime | None = Field(
        default=None, description="How long a token is good for; by default until the API answers 401."
    )


_GOOGLE = {
    "private_key": "private_key",
    "key_id": "private_key_id",
    "issuer": "client_email",
    "access_token_url": "token_uri",
}
