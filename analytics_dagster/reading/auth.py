"""Authentication that needs requests of its own: OAuth 2 client credentials."""

from __future__ import annotations

import copy
import threading
from base64 import b64encode
from typing import Any, cast
from urllib.parse import quote_plus

import requests
from dlt.common.configuration import configspec
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials

from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import OAuth2Auth


@configspec(init=False)
class ClientCredentials(OAuth2ClientCredentials):
    """dlt's client credentials, with a token that is renewed in time and after a refusal.

    Args:
        auth: The file's auth, its templates resolved.
        session: Sends the token requests.
        redact: Is told of each token, so that messages do not show it.
    """

    def __init__(self, auth: OAuth2Auth, session: ApiSession, redact: Redactor) -> None:
        given = auth.model_dump(exclude={"type", "client_authentication"})
        super().__init__(**given, session=session)
        self._redact = redact
        self._basic: str | None = None
        if auth.client_authentication == "basic":
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
            self._basic = f"Basic {b64encode(pair.encode()).decode()}"
            redact.hide(pair)
        self._renewal = threading.Lock()
        self.resolve()  # all values are here; dlt must not look for others in its configuration

    def __deepcopy__(self, memo: dict[int, Any]) -> ClientCredentials:
        """A copy that dlt may overwrite secrets in, as it does to show a configuration."""
        return copy.copy(self)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request, with a new token where there is none or the old one is about to expire."""
        vars(request)["renewable_auth"] = self
        with self._renewal:
            return super().__call__(request)

    def renew(self, request: requests.PreparedRequest) -> None:
        """Fetch a new token, unless another thread just did, and sign the request with it."""
        with self._renewal:
            if request.headers.get("Authorization") == f"Bearer {self.access_token}":
                self.obtain_token()
            request.headers["Authorization"] = f"Bearer {self.access_token}"

    def obtain_token(self) -> None:
        """Fetch a token.

        Raises:
            RefusedError: If the token endpoint refuses, or its answer holds no token.
            RequestError: If it does not answer, or not well.
        """
        try:
            super().obtain_token()
        except RefusedError as error:
            problem = RefusedError(
                f"There is no token for the API: {error}\nCheck client_id, client_secret,"
                " client_authentication (body or basic) and access_token_request_data."
            )
        else:
            return
        raise problem

    def build_access_token_request(self) -> dict[str, Any]:
        """The token request's headers and form (RFC 6749, sections 2.3.1 and 4.4.2)."""
        request = super().build_access_token_request()
        if self._basic:
            request["headers"]["Authorization"] = self._basic
            del request["data"]["client_id"], request["data"]["client_secret"]
        return request

    def parse_access_token(self, response_json: Any) -> str:
        """The token in the answer."""
        token = _fields(response_json).get("access_token")
        if not isinstance(token, str) or not token:
            raise RefusedError(
                f"{self._redact(without_query(self.access_token_url))} answered without an access_token; it"
                f" sent the fields {', '.join(_fields(response_json)) or 'none'}. Check access_token_url."
            )
        for name, value in _fields(response_json).items():
            if name.endswith("_token"):
                self._redact.hide(str(value))
        return token

    def parse_expiration_in_seconds(self, response_json: Any) -> int:
        """How long to keep the token: a little less than it lives, so that none expires on its way."""
        try:
            lifetime = float(_fields(response_json)["expires_in"])
        except (KeyError, TypeError, ValueError):
            lifetime = self.default_token_expiration
        return int(lifetime - min(lifetime / 10, 30))


def _fields(document: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}
