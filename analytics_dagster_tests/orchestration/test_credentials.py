"""Each kind of authentication has a Dagster resource; its fields are the file's, and replace them."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import dagster as dg
import pytest

from analytics_dagster.loading.resolve import WrongValueError, resolve
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.orchestration.resources import (
    Credentials,
    JwtBearerCredentials,
    RefreshTokenCredentials,
    SessionCredentials,
    SeveralCredentials,
    credentials_for,
)
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.reading.door import Door, door

TOKENS = "https://login.example.com/token"
REFRESH = {"access_token_url": TOKENS, "client_id": "${ID}", "refresh_token": "${REFRESH}"}
LOGIN = {"login_url": TOKENS, "login": {"user": "ann", "password": "${PASSWORD}"}}


@pytest.fixture
def api() -> Generator[Door]:
    with door() as found:
        yield found


def file(auth: dict[str, Any], url: str = "https://api.example.com") -> ApiFile:
    rows = {"name": "rows", "write_disposition": "replace", "endpoint": {"paginator": "single_page"}}
    text = {"client": {"base_url": url, "auth": auth}, "resources": [rows]}
    return parse_text(json.dumps(text), "apis/shop.yaml")


@pytest.mark.parametrize(
    ("auth", "found"),
    [
        (
            {"type": "oauth2_refresh_token", **REFRESH},
            RefreshTokenCredentials(client_id="${ID}", refresh_token="${REFRESH}"),
        ),
        ({"type": "jwt_bearer", "private_key": "${KEY}"}, JwtBearerCredentials(private_key="${KEY}")),
        (
            {"type": "session", **LOGIN},
            SessionCredentials(login={"user": "ann", "password": "${PASSWORD}"}),
        ),
        (
            {"all": [{"token": "${T}"}, {"type": "api_key", "name": "X-App", "api_key": "${K}"}]},
            SeveralCredentials(all=[{"token": "${T}"}, {"api_key": "${K}"}]),
        ),
    ],
)
def test_a_file_s_credentials_hold_its_templates(auth: dict[str, Any], found: Credentials) -> None:
    credentials = credentials_for(file(auth))
    assert type(credentials) is type(found)
    assert credentials.auth() == found.auth()


def test_fields_replace_what_the_file_says() -> None:
    given = RefreshTokenCredentials(client_id="other", refresh_token="${OTHER}").auth()
    resolved = resolve(file({"type": "oauth2_refresh_token", **REFRESH}), given, {"OTHER": "new"})
    found: Any = resolved.api.client.auth
    assert (found.client_id, found.refresh_token, found.client_secret) == ("other", "new", None)
    assert found.access_token_url == TOKENS


def test_the_fields_of_several_replace_one_by_one() -> None:
    auth = {"all": [{"token": "${T}"}, {"type": "api_key", "name": "X-App", "api_key": "k"}]}
    resolved = resolve(file(auth), SeveralCredentials(all=[{"token": "t"}, {}]).auth())
    found: Any = resolved.api.client.auth
    assert (found.all[0].token, found.all[1].api_key) == ("t", "k")
    with pytest.raises(WrongValueError, match=r"shop\.yaml: client\.auth\.all has 2 entries, .* have 1"):
        resolve(file(auth), SeveralCredentials(all=[{"token": "t"}]).auth())


@pytest.mark.parametrize("several", [False, True])
def test_an_environment_variable_of_dagster_may_stand_inside(
    api: Door, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    monkeypatch.setenv("ELSEWHERE", "hunter2hunter2")
    auth: dict[str, Any] = {"type": "session", **LOGIN, "login_url": f"{api.url}/token"}
    auth["token_path"] = "access_token"
    login = {"user": "bob", "password": dg.EnvVar("ELSEWHERE")}
    credentials: Any = SessionCredentials(login=login)
    if several:
        auth = {"all": [{"type": "api_key", "name": "X-App", "api_key": "app"}, auth]}
        credentials = SeveralCredentials(all=[{}, {"login": login}])
    defs = build_defs([file(auth, api.url)], {"shop_credentials": credentials})
    result = defs.resolve_job_def("shop").execute_in_process(raise_on_error=False)
    assert result.success
    assert api.at("/token")[0].json == {"user": "bob", "password": "hunter2hunter2"}
    assert api.at("/rows")[0].headers.get("x-app") == ("app" if several else None)
