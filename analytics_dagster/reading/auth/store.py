"""Keeps the newest refresh token from run to run, in a file that only its owner can read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from analytics_dagster.reading.errors import CredentialsError
from analytics_dagster.spec import RefreshTokenAuth

_QUIET = 1.0  # seconds of waiting that need no word
_log = logging.getLogger(__name__)

_KEPT = ("refresh_token", "access_token", "expires", "asked")


class TokenStore:
    """The tokens that came of one given refresh token; another one has a file of its own, and begins anew.

    Args:
        auth: The file's auth, its templates resolved.
    """

    def __init__(self, auth: RefreshTokenAuth) -> None:
        given = "\n".join((auth.access_token_url, auth.client_id, auth.refresh_token))
        name = hashlib.sha256(given.encode()).hexdigest()[:32]
        place = Path(auth.token_store).expanduser() if auth.token_store else _usual_place()
        self.path = place / f"{urlsplit(auth.access_token_url).hostname}-{name}.json"

    @contextmanager
    def opened(self) -> Generator[dict[str, Any]]:
        """What is kept, while no other load can use it.

        Raises:
            CredentialsError: If it cannot be read, or not be written later.
        """
        lock = FileLock(self.path.with_suffix(".lock"), mode=0o600)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take(lock)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            yield self._read()
        finally:
            lock.release()

    def _take(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=_QUIET)
        except Timeout:
            _log.warning("Waiting for another load to fetch a token with %s…", self.path)
            lock.acquire()

    def keep(self, tokens: dict[str, Any]) -> None:
        """Put tokens in the place of the old ones, as a whole or not at all.

        Raises:
            CredentialsError: If they cannot be written.
        """
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent)  # which only its owner can read
            with os.fdopen(descriptor, "w") as file:
                json.dump(tokens, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError as error:
            raise self._unusable(error) from None

    def _read(self) -> dict[str, Any]:
        try:
            found = cast("dict[str, Any]", json.loads(self.path.read_bytes()))
            return {name: found[name] for name in _KEPT}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> CredentialsError:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        return CredentialsError(
            f"The API's newest refresh token cannot be kept in {self.path}: {reason}. Check that this user"
            " may write there, and that there is room, or name another directory with auth.token_store. If"
            " the token that the API file knows is spent by now, let a user consent again."
        )


def _usual_place() -> Path:
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home) / "analytics_dagster" / "tokens"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "analytics_dagster" / "tokens"
