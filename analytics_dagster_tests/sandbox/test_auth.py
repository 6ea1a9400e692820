"""Right credentials open the API, wrong ones get a 401, and OAuth2 tokens end when they should."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from analytics_dagster.sandbox import RunningSandbox, SandboxSettings, running_sandbox

CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def stranger() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # no netrc
        yield session


def fetch_token(stranger: requests.Session, url: str) -> dict[str, Any]:
    answer = stranger.post(f"{url}/oauth/token", data=GRANT | CLIENT, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def status_with(stranger: requests.Session, url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return stranger.get(f"{url}/oauth/v1/users", headers=headers, timeout=10).status_code


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"params": {"api_key": "sandbox-key"}}, 200),
        ({"headers": {"X-API-Key": "sandbox-key"}}, 200),
        ({"headers": {"Authorization": "Bearer sandbox-token"}}, 200),
        ({"auth": ("sandbox-user", "sandbox-password")}, 200),
        ({}, 401),
        ({"params": {"api_key": "sandbox"}}, 401),
        ({"headers": {"X-API-Key": "Sandbox-key"}}, 401),
        ({"headers": {"Authorization": "Bearer sandbox-key"}}, 401),
        ({"headers": {"Authorization": "Bearer"}}, 401),
        ({"headers": {"Authorization": "Basic %%%"}}, 401),
        ({"auth": ("sandbox-user", "sandbox-key")}, 401),
    ],
)
def test_the_api_opens_to_right_credentials_only(
    shared: RunningSandbox, stranger: requests.Session, arguments: dict[str, Any], status: int
) -> None:
    answer = stranger.get(f"{shared.url}/v1/users", timeout=10, **arguments)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["status"] == 401
        assert "WWW-Authenticate" in answer.headers


def test_other_secrets_can_be_set(stranger: requests.Session) -> None:
    with running_sandbox(SandboxSettings(api_key="another")) as sandbox:
        for key, status in [("another", 200), ("sandbox-key", 401)]:
            answer = stranger.get(f"{sandbox.url}/v1/users", headers={"X-API-Key": key}, timeout=10)
            assert answer.status_code == status


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": GRANT | CLIENT},
        {"data": GRANT, "auth": ("sandbox-client", "sandbox-secret")},
    ],
    ids=["secret in the body", "secret by HTTP Basic"],
)
def test_a_token_is_given_out_for_client_credentials(
    shared: RunningSandbox, stranger: requests.Session, arguments: dict[str, Any]
) -> None:
    answer = stranger.post(f"{shared.url}/oauth/token", timeout=10, **arguments)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
    assert answer.json()["expires_in"] == 3600
    assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    for path in ("users", "cursor/users", "pages/users"):
        assert stranger.get(f"{shared.url}/oauth/v1/{path}", headers=headers, timeout=10).status_code == 200
    assert stranger.get(f"{shared.url}/v1/users", headers=headers, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        (CLIENT, 400, "invalid_request"),
        (CLIENT | {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (GRANT, 401, "invalid_client"),
        (GRANT | CLIENT | {"client_secret": "guess"}, 401, "invalid_client"),
        (GRANT | CLIENT | {"client_id": "nobody"}, 401, "invalid_client"),
    ],
)
def test_a_wrong_token_request_is_refused_as_the_standard_says(
    shared: RunningSandbox, stranger: requests.Session, form: dict[str, str], status: int, error: str
) -> None:
    answer = stranger.post(f"{shared.url}/oauth/token", data=form, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize("token", ["", "sandbox-token", "sandbox-key", "x" * 32])
def test_oauth_paths_open_to_issued_tokens_only(
    shared: RunningSandbox, stranger: requests.Session, token: str
) -> None:
    assert status_with(stranger, shared.url, token) == 401
    answer = stranger.get(f"{shared.url}/oauth/v1/users?api_key=sandbox-key", timeout=10)
    assert answer.status_code == 401


def test_a_token_expires(stranger: requests.Session) -> None:
    with running_sandbox(SandboxSettings(token_lifetime=1)) as sandbox:
        token = fetch_token(stranger, sandbox.url)
        assert token["expires_in"] == 1
        expiry = time.monotonic() + 1
        assert status_with(stranger, sandbox.url, token["access_token"]) == 200
        time.sleep(max(0, expiry - time.monotonic()))
        assert status_with(stranger, sandbox.url, token["access_token"]) == 401
        assert status_with(stranger, sandbox.url, fetch_token(stranger, sandbox.url)["access_token"]) == 200


def test_revoked_tokens_are_refused_until_a_new_one_is_fetched(
    sandbox: RunningSandbox, stranger: requests.Session
) -> None:
    tokens = [fetch_token(stranger, sandbox.url)["access_token"] for _ in range(2)]
    answer = stranger.post(f"{sandbox.url}/control/revoke-tokens", timeout=10)
    assert answer.json() == {"revoked": 2}
    assert [status_with(stranger, sandbox.url, token) for token in tokens] == [401, 401]
    assert status_with(stranger, sandbox.url, fetch_token(stranger, sandbox.url)["access_token"]) == 200
