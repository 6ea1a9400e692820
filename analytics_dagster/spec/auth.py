"""How an API wants to be authenticated: dlt's auth configurations, key for key."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.texts import Url


class BearerAuth(Model):
    """`Authorization: Bearer <token>`."""

    type: Literal["bearer"] = "bearer"
    token: str = Field(description="The token, as a ${NAME} template.")


class ApiKeyAuth(Model):
    """A key in the query string or in a header."""

    type: Literal["api_key"]
    name: str = Field(default="Authorization", description="The name of the parameter or header.")
    api_key: str = Field(description="The key, as a ${NAME} template.")
    location: Literal["header", "query", "param"] = Field(
        default="header", description="Where the key is sent; param is dlt's other word for query."
    )


class HttpBasicAuth(Model):
    """HTTP Basic with a user name and a password."""

    type: Literal["http_basic"]
    username: str
    password: str


class OAuth2Auth(Model):
    """OAuth 2 client credentials (RFC 6749, section 4.4): the token is fetched."""

    type: Literal["oauth2_client_credentials"]
    access_token_url: Url = Field(description="Where the token is fetched.")
    client_id: str
    client_secret: str
    access_token_request_data: dict[str, Any] = Field(
        default={}, description="Further fields of the token request, such as scope or audience."
    )
    default_token_expiration: int = Field(
        default=3600, gt=0, description="Seconds a token lives where the answer does not say."
    )
    client_authentication: Literal["body", "basic"] = Field(
        default="body", description="Where the client's id and secret go (RFC 6749, section 2.3.1)."
    )


def _full_form(value: Any) -> Any:
    """Write dlt's and our short forms out: no type means bearer, oauth2 means client credentials."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        kind = given.get("type", "bearer")
        return {**given, "type": "oauth2_client_credentials" if kind == "oauth2" else kind}
    if isinstance(value, str):  # dlt's name of a type alone; not repeated, it may be a secret
        raise ValueError(  # noqa: TRY004  pydantic collects ValueErrors
            'expected a mapping with a type and its secrets, such as {token: "${API_TOKEN}"}'
        )
    return value


Auth = Annotated[
    Annotated[BearerAuth | ApiKeyAuth | HttpBasicAuth | OAuth2Auth, Field(discriminator="type")],
    BeforeValidator(_full_form),
]
