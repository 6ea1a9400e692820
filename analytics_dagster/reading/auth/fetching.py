"""Fetches tokens: asks for them in the ways of OAuth 2, or by a login."""

from __future__ import annotations

import hashlib
import json
import math
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote_plus

import requests
from dlt.common.jsonpath import compile_path

from analytics_dagster.reading.auth.assertion import signed_assertion
from analytics_dagster.reading.auth.store import TokenStore
from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.redaction import Redactor
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.spec import (
    FetchedToken,
    GrantedToken,
    JwtBearerAuth,
    OAuth2Auth,
    RefreshTokenAuth,
    SessionAuth,
)

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True)
class Token:
    """A token, and when to have a new one, in seconds since 1970."""

    value: str
    expires: float


Fetch = Callable[[str | None], Token]
"""Fetches a token; is given the one that was refused, if one was.

Raises RefusedError if there is none to be had, RequestError if nobody answers well.
"""


def how_to_fetch(auth: FetchedToken, session_for: Callable[[str], ApiSession], redact: Redactor) -> Fetch:
    """The way to fetch tokens that a file describes.

    Args:
        auth: The file's auth, its templates resolved.
        session_for: Gives the session that may send token requests to a URL.
        redact: Is told of each token, so that messages do not show it.
    """
    if isinstance(auth, JwtBearerAuth):
        redact.hide("\n".join(auth.private_key.strip().splitlines()[1:-1]))  # between BEGIN and END
    match auth:
        case OAuth2Auth():
            ask = _Asking(auth.access_token_url, session_for, redact)
            return lambda _: _client_credentials(auth, ask)
        case RefreshTokenAuth():
            ask, store = _Asking(auth.access_token_url, session_for, redact), TokenStore(auth)
            return lambda refused: _refreshed(auth, ask, store, refused)
        case JwtBearerAuth(access_token_url=None):
            return lambda _: _own_assertion(auth, redact)
        case JwtBearerAuth():
            ask = _Asking(auth.access_token_url or "", session_for, redact)
            return lambda _: _for_assertion(auth, ask)
        case _:
            assert isinstance(auth, SessionAuth)  # there is no other
            ask = _Asking(auth.login_url, session_for, redact)
            return lambda _: _login(auth, ask)


class _Asking:
    """Asks one URL for tokens.

    Args:
        url: The URL.
        session_for: Gives the session that sends the requests.
        redact: Is told of each token.
    """

    def __init__(self, url: str, session_for: Callable[[str], ApiSession], redact: Redactor) -> None:
        self.hide = redact.hide
        self._url = url
        self._session = session_for(url)
        self._redact = redact

    def token(
        self,
        fields: dict[str, Any],
        written: str,
        path: str,
        advice: str,
        headers: dict[str, str] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Send a token request.

        Args:
            fields: What it says.
            written: How: json or form.
            path: Where the answer holds the token.
            advice: What to check if there is none.
            headers: Headers of the request.

        Returns:
            The token, and what stands beside it in the answer.
        """
        body: dict[str, Any] = {"json" if written == "json" else "data": fields}
        headers = {"Accept": "application/json", **(headers or {})}
        try:
            answer = self._session.post(self._url, headers=headers, auth=_answer_is_secret, **body)
        except RefusedError as error:
            problem = RefusedError(f"There is no token for the API: {error}\n{advice}")
        else:
            return self._found(answer.json(), path, advice)
        raise problem

    def _found(self, document: Any, path: str, advice: str) -> tuple[str, dict[str, Any]]:
        for match in compile_path(path).find(document):
            if isinstance(match.value, str) and match.value:
                beside = _fields(match.context and match.context.value)
                for name, value in beside.items():
                    if name.endswith("_token"):
                        self.hide(str(value))
                self.hide(match.value)
                return match.value, beside
        named = ", ".join(_fields(document)) or "none"
        raise RefusedError(
            f"{self._redact(without_query(self._url))} answered without a token at `{path}`; it sent the"
            f" fields {named}.\n{advice}"
        )


def _client_credentials(auth: OAuth2Auth, ask: _Asking) -> Token:
    fields, headers = _client(auth, ask)
    return _granted(auth, ask, {**fields, "grant_type": "client_credentials"}, _CHECK_CLIENT, headers)[0]


def _refreshed(auth: RefreshTokenAuth, ask: _Asking, store: TokenStore, refused: str | None) -> Token:
    """A token that another run fetched, else one for the newest refresh token, which is kept."""
    asked = hashlib.sha256(json.dumps([auth.scopes, auth.access_token_request_data]).encode()).hexdigest()
    with store.opened() as kept:
        for name in ("refresh_token", "access_token"):
            ask.hide(kept.get(name, ""))
        if kept.get("asked") == asked and kept["access_token"] != refused and kept["expires"] > time.time():
            return Token(kept["access_token"], kept["expires"])
        newest = kept.get("refresh_token", auth.refresh_token)
        fields, headers = _client(auth, ask)
        fields |= {"grant_type": "refresh_token", "refresh_token": newest}
        advice = (
            "If the refresh token has expired, was revoked or was used by another program, let a user consent"
            " again, and give the new refresh token where auth.refresh_token in the API file takes it from."
            f" The newest one that the API sent is kept in {store.path}: loads that do not share this"
            f" directory (auth.token_store, else DAGSTER_HOME) spend each other's. {_CHECK_CLIENT}"
        )
        token, beside = _granted(auth, ask, fields, advice, headers)
        store.keep(
            {
                "refresh_token": str(beside.get("refresh_token") or newest),
                "access_token": token.value,
                "expires": token.expires,
                "asked": asked,
            }
        )
        return token


def _for_assertion(auth: JwtBearerAuth, ask: _Asking) -> Token:
    assertion = signed_assertion(auth)
    ask.hide(assertion)
    fields = {"grant_type": _JWT_BEARER, "assertion": assertion}
    advice = (
        "Check private_key, issuer, subject, audience, scopes and algorithm, and whether this machine's"
        " clock is right."
    )
    return _granted(auth, ask, fields, advice)[0]


def _own_assertion(auth: JwtBearerAuth, redact: Redactor) -> Token:
    assertion = signed_assertion(auth)
    redact.hide(assertion)
    return Token(assertion, _renewal_time(auth.lifetime.total_seconds()))


def _login(auth: SessionAuth, ask: _Asking) -> Token:
    advice = "Check login_url, login, login_format (json or form) and token_path."
    token, _ = ask.token(auth.login, auth.login_format, auth.token_path, advice)
    return Token(token, _renewal_time(auth.lifetime.total_seconds()) if auth.lifetime else math.inf)


_CHECK_CLIENT = (
    "Check access_token_url, client_id, client_secret, client_authentication (body or basic), scopes,"
    " access_token_request_data and access_token_path."
)


def _granted(
    auth: GrantedToken,
    ask: _Asking,
    fields: dict[str, Any],
    advice: str,
    headers: dict[str, str] | None = None,
) -> tuple[Token, dict[str, Any]]:
    if auth.scopes and not isinstance(auth, JwtBearerAuth):  # where they are a claim of the assertion
        fields = {**fields, "scope": " ".join(auth.scopes)}
    fields |= auth.access_token_request_data
    token, beside = ask.token(
        fields, auth.access_token_request_format, auth.access_token_path, advice, headers
    )
    try:
        lifetime = float(beside["expires_in"])
    except (KeyError, TypeError, ValueError):
        lifetime = auth.default_token_expiration
    return Token(token, _renewal_time(lifetime)), beside


def _client(auth: OAuth2Auth | RefreshTokenAuth, ask: _Asking) -> tuple[dict[str, Any], dict[str, str]]:
    """The client's id and secret as fields or as a header (RFC 6749, section 2.3.1)."""
    if auth.client_authentication == "body":
        secret = {} if auth.client_secret is None else {"client_secret": auth.client_secret}
        return {"client_id": auth.client_id, **secret}, {}
    pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret or '')}"
    ask.hide(pair)
    return {}, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _renewal_time(lifetime: float) -> float:
    """A little before a token's end, so that none expires on its way."""
    return time.time() + lifetime - min(lifetime / 10, 30)


def _answer_is_secret(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Signs nothing; marks a request whose answer holds a token, which no message may show."""
    vars(request)["answer_is_secret"] = True
    return request


def _fields(document: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}
