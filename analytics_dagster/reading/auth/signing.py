"""Signs requests: with what the file says, or with a token that is fetched and renewed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit, urlunsplit

import requests
from dlt.common.configuration import configspec
from dlt.sources.helpers.rest_client.auth import AuthConfigBase
from dlt.sources.rest_api.config_setup import get_auth_class

from analytics_dagster.reading.auth.fetching import Fetch, Token, how_to_fetch
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import ApiKeyAuth, Auth, FetchedToken, SeveralAuth


def build_auth(auth: Auth | None, session_for: Callable[[str], ApiSession], redact: Redactor) -> Any:
    """What dlt takes for an `auth` of the file.

    Args:
        auth: The file's auth, its templates resolved.
        session_for: Gives the session that may send token requests to a URL.
        redact: Is told of each token, so that messages do not show it.
    """
    if isinstance(auth, SeveralAuth):
        return Several([build_auth(one, session_for, redact) for one in auth.all])
    if isinstance(auth, FetchedToken):
        return TokenAuth(auth, how_to_fetch(auth, session_for, redact))
    if isinstance(auth, ApiKeyAuth) and auth.location != "header":
        return KeyInQuery(auth)
    if auth is None:
        return None
    return get_auth_class(auth.type)(**auth.model_dump(exclude={"type"}))


@configspec(init=False)
class TokenAuth(AuthConfigBase):
    """Signs requests with a token that is fetched first, in time before it ends, and after a refusal.

    Args:
        auth: How the token goes along.
        fetch: Fetches a token.
    """

    def __init__(self, auth: FetchedToken, fetch: Fetch) -> None:
        super().__init__()
        self._name = auth.name
        self._in_query = auth.location != "header"
        prefix = auth.prefix
        if prefix is None:
            prefix = "Bearer" if auth.name.lower() == "authorization" and not self._in_query else ""
        self._prefix = f"{prefix} " if prefix[-1:].isalnum() else prefix
        self._fetch = fetch
        self._token: Token | None = None
        self._renewal = threading.Lock()
        self.resolve()  # dlt must not look for values in its configuration

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenAuth:
        """Itself: dlt copies configurations, and a copy would fetch tokens of its own."""
        return self

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request, with a new token where there is none or the old one is about to expire."""
        vars(request)["renewable_auth"] = self
        with self._renewal:
            if self._token is None or self._token.expires <= time.time():
                self._token = self._fetch(None)
            self._sign(request, self._token)
        return request

    def renew(self, request: requests.PreparedRequest) -> None:
        """Fetch a new token, unless another thread just did, and sign the request with it."""
        with self._renewal:
            assert self._token is not None
            if self._carries(request, self._token):
                self._token = self._fetch(self._token.value)
            self._sign(request, self._token)

    def _carries(self, request: requests.PreparedRequest, token: Token) -> bool:
        if self._in_query:
            return urlencode({self._name: token.value}) in urlsplit(request.url or "").query.split("&")
        return request.headers.get(self._name) == self._prefix + token.value

    def _sign(self, request: requests.PreparedRequest, token: Token) -> None:
        if not self._in_query:
            request.headers[self._name] = self._prefix + token.value
            return
        request.url = _with_parameter(request.url or "", self._name, token.value)


@configspec(init=False)
class KeyInQuery(AuthConfigBase):
    """Signs requests with a key in the query.

    Args:
        auth: The key and its name.
    """

    def __init__(self, auth: ApiKeyAuth) -> None:
        super().__init__()
        self._name, self._key = auth.name, auth.api_key
        self.resolve()

    def __deepcopy__(self, memo: dict[int, Any]) -> KeyInQuery:
        """Itself, which never changes."""
        return self

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request."""
        request.url = _with_parameter(request.url or "", self._name, self._key)
        return request


@configspec(init=False)
class Several(AuthConfigBase):
    """Signs requests in several ways at once.

    Args:
        parts: The ways.
    """

    def __init__(self, parts: Sequence[AuthConfigBase]) -> None:
        super().__init__()
        self._parts = parts
        self.resolve()

    def __deepcopy__(self, memo: dict[int, Any]) -> Several:
        """Itself, as its parts."""
        return self

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request in each way."""
        for part in self._parts:
            part(request)
        if "renewable_auth" in vars(request):
            vars(request)["renewable_auth"] = self
        return request

    def renew(self, request: requests.PreparedRequest) -> None:
        """Renew each token that the request was signed with."""
        for part in self._parts:
            if isinstance(part, TokenAuth):
                part.renew(request)


def _with_parameter(address: str, name: str, value: str) -> str:
    """A URL with a parameter that is in it once, also where a next link carries it already, or an old one."""
    url = urlsplit(address)
    others = [part for part in url.query.split("&") if part and _name_of(part) != name]
    return urlunsplit(url._replace(query="&".join([*others, urlencode({name: value})])))


def _name_of(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])
