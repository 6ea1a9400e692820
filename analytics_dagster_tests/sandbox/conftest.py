"""What the sandbox's tests share: one default sandbox for all that change nothing in it, and a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from analytics_dagster.sandbox import RunningSandbox, SandboxSettings, running_sandbox

API_KEY = {"X-API-Key": "sandbox-key"}
SMALL = SandboxSettings(users=40, events=200, sessions=60, orders=30, days=5)


@pytest.fixture(scope="session")
def shared() -> Iterator[RunningSandbox]:
    """A sandbox with default settings. Tests only read it."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A sandbox of a test's own, small and open to change."""
    with running_sandbox(SMALL) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def client() -> Iterator[requests.Session]:
    """A session that sends the API key and reads no proxy settings."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(API_KEY)
        yield session


def get(client: requests.Session, url: str, **params: Any) -> Any:
    """The JSON of an answer that must be 200."""
    answer = client.get(url, params=params, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()
