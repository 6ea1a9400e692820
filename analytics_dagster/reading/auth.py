"""Authentication that needs requests of its own: OAuth 2 client credentials."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import requests
from dlt.common.configuration import configspec
from dlt.common.pendulum import pendulum
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials

from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import OAuth2Auth

_renewal = threading.Lock()  # one for all: dlt copies the auth object, which a lock inside it would forbid


@configspec(init=False)
class ClientCredentials(OAuth2ClientCredentials):
    """dlt's client credentials, with a token that is renewed in time and after a refusal.

    Args:
        auth: The file's auth, its templates resolved.
        session: Sends the token requests.
        redact: Is told of each token, so that messages do not show it.
    """

    def __init__(self, auth: OAuth2Auth, session: ApiSession, redact: Redactor) -> None:
        super().__init__(
            access_token_url=auth.access_token_url,  # pyright: ignore[reportCallIssue]
            client_id=auth.client_id,  # pyright: ignore[reportCallIssue]
            client_secret=auth.client_secret,  # pyright: ignore[reportCallIssue]
            access_token_request_data=auth.access_token_request_data,  # pyright: ignore[reportCallIssue]
            default_token_expiration=auth.default_token_expiration,  # pyright: ignore[reportCallIssue]
            session=session,  # pyright: ignore[reportCallIssue]
        )
        self._basic = auth.client_authentication == "basic"
        self._redact = redact
        self.resolve()  # all values are here; dlt must not look for others in its configuration

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with _renewal:
            request.renewable_auth = self  # pyright: ignore[reportAttributeAccessIssue]
            return super().__call__(request)

    def renew(self, request: requests.PreparedRequest) -> None:
        """Fetch a new token, unless another thread just did, and sign the request with it."""
        with _renewal:
            if request.headers.get("Authorization") == f"Bearer {self.access_token}":
                self.obtain_token()
            request.headers["Authorization"] = f"Bearer {self.access_token}"

    def obtain_token(self) -> None:
        """Fetch a token.

        Raises:
            RefusedError: If the answer holds none.
        """
        super().obtain_token()
        # Renewed a little early, so that a token does not expire on its way to the API.
        left = self.token_expiry - pendulum.now()
        self.token_expiry = pendulum.now() + left - min(left / 10, pendulum.duration(seconds=30))

    def build_access_token_request(self) -> dict[str, Any]:
        """The token request's headers and form (RFC 6749, sections 2.3.1 and 4.4.2)."""
        request = super().build_access_token_request()
        if self._basic:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            request["headers"]["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
            del request["data"]["client_id"], request["data"]["client_secret"]
        return request

    def parse_access_token(self, response_json: Any) -> str:
        """The token in the answer."""
        token = response_json.get("access_token") if isinstance(response_json, dict) else None
        if not isinstance(token, str) or not token:
            raise RefusedError(
                f"The token endpoint {self._redact(self.access_token_url)} answered without an access_token."
                " Check access_token_url and the client's credentials."
            )
        self._redact.hide(token)
        return token
