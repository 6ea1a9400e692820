"""Where requests may go: the API's own origin, and the hosts that the file allows."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from analytics_dagster.reading.errors import ForbiddenOriginError

_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins that may see requests, and with them the API's credentials.

    Args:
        base_url: A URL of the API's own origin.
        allowed_hosts: Further ones: `host`, any port of it; `host:port`; or a whole origin. The first two
            allow https, and http only where base_url has it too.
    """

    def __init__(self, base_url: str, allowed_hosts: Sequence[str] = ()) -> None:
        self._own = urlsplit(base_url)
        self._allowed = allowed_hosts

    def check(self, url: str) -> None:
        """Let a URL pass.

        Raises:
            ForbiddenOriginError: If it leads elsewhere. Its query, which may hold secrets, is not shown.
        """
        target = urlsplit(url)
        own = origin(self._own.geturl())
        if origin(url) == own or any(self._allows(entry, target) for entry in self._allowed):
            return
        raise ForbiddenOriginError(
            f"The API leads to {without_query(url)}, which is not of its own origin ({own}). Nothing was sent"
            f" there, because the credentials would have gone along. {self._remedy(target)}"
        )

    def _allows(self, entry: str, target: SplitResult) -> bool:
        if "://" in entry:
            return origin(entry) == origin(target.geturl())
        allowed = urlsplit(f"//{entry}")
        return (
            target.scheme in ("https", self._own.scheme)
            and target.hostname == allowed.hostname
            and allowed.port in (None, _port(target))
        )

    def _remedy(self, target: SplitResult) -> str:
        place = origin(target.geturl())
        if target.hostname == self._own.hostname and (self._own.scheme, target.scheme) == ("http", "https"):
            return f"The API wants https: write `{place}` in client.base_url."
        return f"If the API is meant to lead there, add `{place}` to client.allowed_hosts."


def origin(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454, section 4); the port only where it is not the usual one."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = _port(parts)
    return f"{parts.scheme}://{host}" + (f":{port}" if port != _PORTS.get(parts.scheme) else "")


def without_query(url: str) -> str:
    """A URL up to its query."""
    return url.partition("?")[0]


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)
