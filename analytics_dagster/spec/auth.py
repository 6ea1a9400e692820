"""How an API wants to be authenticated: dlt's auth configurations, key for key, and more in their manner."""

from collections import Counter
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.tokens import (
    FetchedToken,
    JwtBearerAuth,
    OAuth2Auth,
    RefreshTokenAuth,
    SessionAuth,
)


class BearerAuth(Model):
    """`Authorization: Bearer <token>`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "${EXAMPLE_TOKEN}"}]})

    type: Literal["bearer"] = "bearer"
    token: str = Field(description="The token, as a ${NAME} template.")


class ApiKeyAuth(Model):
    """A key in the query string or in a header."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "api_key", "name": "X-API-Key", "api_key": "${EXAMPLE_KEY}"},
                {"type": "api_key", "api_key": "Token ${EXAMPLE_KEY}"},
                {"type": "api_key", "name": "api_key", "api_key": "${EXAMPLE_KEY}", "location": "query"},
            ]
        }
    )

    type: Literal["api_key"]
    name: str = Field(default="Authorization", description="The name of the parameter or header.")
    api_key: str = Field(
        description="The key, as a ${NAME} template, with what the API wants before it: `Token ${NAME}`."
    )
    location: Literal["header", "query", "param"] = Field(
        default="header", description="Where the key is sent; param is dlt's other word for query."
    )


class HttpBasicAuth(Model):
    """HTTP Basic with a user name and a password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "http_basic", "username": "${EXAMPLE_USER}", "password": "${EXAMPLE_PASSWORD}"}
            ]
        }
    )

    type: Literal["http_basic"]
    username: str
    password: str


def _full_form(value: Any) -> Any:
    """Write short forms out: no type means bearer, oauth2 client credentials, `all` several at once."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        kind = given.get("type", "all" if "all" in given else "bearer")
        return {**given, "type": "oauth2_client_credentials" if kind == "oauth2" else kind}
    if isinstance(value, str):  # dlt's name of a type alone; not repeated, it may be a secret
        raise ValueError(  # noqa: TRY004  pydantic collects ValueErrors
            'expected a mapping with a type and its secrets, such as {token: "${API_TOKEN}"}'
        )
    return value


_OneAuth = (
    BearerAuth | ApiKeyAuth | HttpBasicAuth | OAuth2Auth | RefreshTokenAuth | JwtBearerAuth | SessionAuth
)


class SeveralAuth(Model):
    """Several at once, such as a token and an application's key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "all": [
                        {"token": "${EXAMPLE_TOKEN}"},
                        {"type": "api_key", "name": "X-API-Key", "api_key": "${EXAMPLE_KEY}"},
                    ]
                }
            ]
        }
    )

    type: Literal["all"] = "all"
    all: list[Annotated[Annotated[_OneAuth, Field(discriminator="type")], BeforeValidator(_full_form)]] = (
        Field(min_length=1)
    )

    @field_validator("all")
    @classmethod
    def _each_its_own_place(cls, value: list[_OneAuth]) -> list[_OneAuth]:
        for place, times in Counter(map(_place, value)).items():
            if times > 1:
                raise ValueError(
                    f"{times} of these go into {place}, and one would overwrite the other; give each its own"
                    " name, or different authentication to each endpoint with endpoint.auth"
                )
        return value


def _place(auth: _OneAuth) -> str:
    """Where in a request an authentication goes."""
    if not isinstance(auth, ApiKeyAuth | FetchedToken):
        return "the header authorization"
    if auth.location == "header":
        return f"the header {auth.name.lower()}"
    return f"the query's {auth.name}"


Auth = Annotated[
    Annotated[_OneAuth | SeveralAuth, Field(discriminator="type")],
    BeforeValidator(_full_form),
]
