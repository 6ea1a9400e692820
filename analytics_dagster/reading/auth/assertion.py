"""Signed assertions (JWT, RFC 7523) that stand for a service account."""

from __future__ import annotations

import time
from uuid import uuid4

from analytics_dagster.reading.errors import CredentialsError
from analytics_dagster.spec import JwtBearerAuth

_CLOCKS_DIFFER = 30  # seconds


def signed_assertion(auth: JwtBearerAuth) -> str:
    """A new assertion.

    Args:
        auth: The file's auth, its templates resolved.

    Raises:
        CredentialsError: If the key cannot sign it.
    """
    import jwt  # noqa: PLC0415 - slow to import, and needed by few APIs

    issued = int(time.time()) - _CLOCKS_DIFFER
    usual = {
        "iss": auth.issuer,
        "sub": auth.subject,
        "aud": auth.audience or auth.access_token_url,
        "iat": issued,
        "exp": issued + int(auth.lifetime.total_seconds()),
        "jti": uuid4().hex,
        "scope": " ".join(auth.scopes) or None,
    }
    claims = {name: value for name, value in {**usual, **auth.claims}.items() if value is not None}
    headers = {"kid": auth.key_id} if auth.key_id else None
    try:
        return jwt.encode(claims, auth.private_key, auth.algorithm, headers)
    except (TypeError, ValueError, jwt.PyJWTError) as error:
        reason = type(error).__name__  # what it says may hold parts of the key
    kind = {"RS256": "an RSA key", "ES256": "a key of the curve P-256"}[auth.algorithm]
    raise CredentialsError(
        f"auth.private_key cannot sign with {auth.algorithm} ({reason}), which takes {kind}. Check the key,"
        " whether it is whole, and auth.algorithm (RS256 or ES256)."
    )
