"""Who may read: the credentials a request carries, and the tokens that the OAuth2 endpoint gives out."""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
import time
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from analytics_dagster.sandbox.settings import SandboxSettings


class Tokens:
    """The access tokens that are out. Safe from any thread."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._expiries: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self) -> str:
        """Give out a token that is valid for the lifetime from now on."""
        token, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            self._expiries = {old: expiry for old, expiry in self._expiries.items() if expiry > now}
            self._expiries[token] = now + self._lifetime
        return token

    def is_valid(self, token: str) -> bool:
        """Whether a token was given out, has not expired and is not revoked."""
        return self._expiries.get(token, 0) > time.monotonic()

    def revoke_all(self) -> int:
        """Make every token invalid at once, and say how many there were."""
        with self._lock:
            revoked, self._expiries = len(self._expiries), {}
        return revoked


def _authorization(request: Request, scheme: str) -> str | None:
    given, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if given.lower() == scheme else None


def _basic(request: Request) -> list[str] | None:
    """The user name and the password of HTTP Basic; something else where they are malformed."""
    encoded = _authorization(request, "basic")
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().split(":", 1)
    except (binascii.Error, UnicodeDecodeError):
        return []


def has_api_credentials(request: Request, settings: SandboxSettings) -> bool:
    """Whether a request carries the API key, the fixed token or the user's name and password."""
    return (
        settings.api_key in (request.query_params.get("api_key"), request.headers.get("X-API-Key"))
        or _authorization(request, "bearer") == settings.token
        or _basic(request) == [settings.username, settings.password]
    )


def has_oauth_token(request: Request, tokens: Tokens) -> bool:
    """Whether a request carries a valid token from the token endpoint."""
    return tokens.is_valid(_authorization(request, "bearer") or "")


async def answer_token_request(request: Request, settings: SandboxSettings, tokens: Tokens) -> Response:
    """Give out a token for client credentials (RFC 6749, section 4.4)."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))

    def field(name: str) -> str | None:
        return form.get(name, [None])[0]

    if "grant_type" not in form:
        return _refusal(400, "invalid_request", "grant_type is missing from the form-encoded body")
    if field("grant_type") != "client_credentials":
        return _refusal(400, "unsupported_grant_type", "only client_credentials is supported")
    by_basic = _basic(request)
    client = [field("client_id"), field("client_secret")] if by_basic is None else by_basic
    if client != [settings.client_id, settings.client_secret]:
        return _refusal(401, "invalid_client", "unknown client or wrong secret")
    answer = {"access_token": tokens.issue(), "token_type": "Bearer", "expires_in": settings.token_lifetime}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _refusal(status: int, error: str, description: str) -> Response:
    headers = {"WWW-Authenticate": 'Basic realm="sandbox"'} if status == 401 else {}
    return JSONResponse({"error": error, "error_description": description}, status, headers)
