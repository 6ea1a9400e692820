"""The authentication of a file: from the security schemes of a document, or as a person names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

from analytics_dagster.drafting.document import Document, listing, mapping, text_of
from analytics_dagster.drafting.operations import Operation
from analytics_dagster.drafting.words import is_plain, snake

KINDS = ("none", "bearer", "api_key", "http_basic", "oauth2")
"""What a person may name."""


def auth_of_kind(kind: str, variable: str) -> dict[str, Any] | None:
    """The authentication that a person named.

    Args:
        kind: One of KINDS.
        variable: How the names of `${…}` templates begin.
    """
    secret = f"${{{variable}_"
    match kind:
        case "bearer":
            return {"type": "bearer", "token": secret + "TOKEN}"}
        case "api_key":
            return {"type": "api_key", "name": "X-API-Key", "api_key": secret + "API_KEY}"}
        case "http_basic":
            return {"type": "http_basic", "username": secret + "USERNAME}", "password": secret + "PASSWORD}"}
        case "oauth2":
            return {"type": "oauth2", "access_token_url": secret + "TOKEN_URL}", **_client(variable)}
        case _:
            return None


def find_auth(
    document: Document, wanted: Iterable[Operation], variable: str, base_url: str
) -> tuple[dict[str, Any] | None, str]:
    """The authentication that most operations want, and why that is thought.

    Args:
        document: The document.
        wanted: The operations that are asked for.
        variable: How the names of `${…}` templates begin.
        base_url: What a relative token URL begins with.
    """
    if document.is_swagger:
        schemes = mapping(document.root.get("securityDefinitions"))
    else:
        schemes = mapping(mapping(document.root.get("components")).get("securitySchemes"))
    asked: Counter[tuple[str, ...]] = Counter()
    scopes: dict[str, list[Any]] = {}
    for operation in wanted:
        for requirement in map(mapping, listing(operation.security)):
            known = tuple(name for name in requirement if name in schemes)
            asked[known] += bool(known)
            for name in known:
                scopes.setdefault(name, listing(requirement[name]))
    chosen = asked.most_common(1)[0][0] if asked.total() else tuple(schemes)[:1]
    found: list[dict[str, Any]] = []
    for name in chosen:
        scheme = document.follow(schemes[name])
        own = f"{variable}_{snake(name).upper()}" if len(chosen) > 1 and snake(name) else variable
        auth = _auth(scheme, own, base_url, [one for one in scopes.get(name, []) if isinstance(one, str)])
        if auth is None:
            kind = text_of(scheme.get("scheme")) or text_of(scheme.get("type"))
            return None, f"security scheme `{name}` ({kind}) is not known; say how in `auth`"
        found.append(auth)
    if not found:
        return None, ""
    why = f"security scheme{'s' * (len(chosen) > 1)} {' and '.join(f'`{name}`' for name in chosen)}"
    if len(schemes) > len(chosen):
        others = [name for name in schemes if name not in chosen]
        why += f"; there is also {', '.join(f'`{name}`' for name in others[:5])}"
    # Two of one place would overwrite each other, which a file may not say.
    by_place = {(one.get("location"), one.get("name", "Authorization").lower()): one for one in found}
    return ({"all": [*by_place.values()]} if len(by_place) > 1 else found[0]), why


def _auth(scheme: dict[str, Any], variable: str, base_url: str, scopes: list[str]) -> dict[str, Any] | None:
    kind, text = scheme.get("type"), text_of(scheme.get("description"))
    if kind == "apiKey":
        return _api_key(scheme, text, variable)
    if kind == "basic" or (kind == "http" and str(scheme.get("scheme")).lower() == "basic"):
        return auth_of_kind("http_basic", variable)
    if kind == "http" and str(scheme.get("scheme")).lower() == "bearer":
        return auth_of_kind("bearer", variable)
    if kind == "openIdConnect":
        return auth_of_kind("bearer", variable)
    return _oauth2(scheme, variable, base_url, scopes) if kind == "oauth2" else None


def _api_key(scheme: dict[str, Any], text: str, variable: str) -> dict[str, Any] | None:
    name, place, key = text_of(scheme.get("name")), scheme.get("in"), f"${{{variable}_API_KEY}}"
    if not is_plain(name):
        return None
    if place == "cookie":
        return {"type": "api_key", "name": "Cookie", "api_key": f"{name}={key}"}
    if name.lower() == "authorization" and "bearer" in text.lower():  # how Swagger 2.0 has to say it
        return auth_of_kind("bearer", variable)
    auth = {"type": "api_key", "name": name, "api_key": key}
    return auth | ({"location": "query"} if place == "query" else {})


def _oauth2(scheme: dict[str, Any], variable: str, base_url: str, scopes: list[str]) -> dict[str, Any] | None:
    flows = mapping(scheme.get("flows")) or {str(scheme.get("flow")): scheme}  # Swagger has one
    for name in ("clientCredentials", "application", "authorizationCode", "accessCode", "password"):
        flow = mapping(flows.get(name))
        url = text_of(flow.get("tokenUrl"))
        if not url:
            continue
        url = urljoin(f"{base_url}/", url)
        if not url.startswith(("http://", "https://")) or not is_plain(url):
            url = f"${{{variable}_TOKEN_URL}}"
        auth = {"access_token_url": url, **_client(variable), **({"scopes": scopes} if scopes else {})}
        if name in ("clientCredentials", "application"):
            return {"type": "oauth2", **auth}
        if name == "password":
            return _login(url, variable)
        return {"type": "oauth2_refresh_token", **auth, "refresh_token": f"${{{variable}_REFRESH_TOKEN}}"}
    return auth_of_kind("bearer", variable)


def _login(url: str, variable: str) -> dict[str, Any]:
    """A token for name and password, as RFC 6749, section 4.3 asks for it."""
    named = {"username": f"${{{variable}_USERNAME}}", "password": f"${{{variable}_PASSWORD}}"}
    return {
        "type": "session",
        "login_url": url,
        "login": {"grant_type": "password", **named},
        "login_format": "form",
        "token_path": "access_token",
    }


def _client(variable: str) -> dict[str, Any]:
    return {"client_id": f"${{{variable}_CLIENT_ID}}", "client_secret": f"${{{variable}_CLIENT_SECRET}}"}
