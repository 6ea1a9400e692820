"""What a file says of authentication, in a whole load: who is asked with what, and nothing of it stays."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from analytics_dagster.loading.resolve import WrongValueError
from analytics_dagster.reading.errors import ForbiddenOriginError, LoadError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, load_into
from analytics_dagster_tests.reading.door import Asked, Door, Reply, door

PASSWORD = "pa/ss+wörd&more"
KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)


@pytest.fixture
def api() -> Generator[Door]:
    with door() as found:
        yield found


def file(api: Door, auth: dict[str, Any] | None, *resources: dict[str, Any], **client: Any) -> ApiFile:
    """A file whose resources are replaced in each load."""
    text = {
        "name": "sandbox",
        "client": {"base_url": api.url, **({"auth": auth} if auth else {}), **client},
        "retry": {"max_retries": 0},
        "resource_defaults": {"write_disposition": "replace", "endpoint": {"paginator": "single_page"}},
        "resources": list(resources) or ["rows"],
    }
    return parse_text(json.dumps(text), "apis/sandbox.yaml")


def session(api: Door, password: str = "${PASSWORD}") -> dict[str, Any]:
    login = {"username": "ann", "password": password}
    return {"type": "session", "login_url": f"{api.url}/token", "login": login, "token_path": "access_token"}


def test_each_endpoint_may_have_its_own(api: Door, duckdb_store: Store) -> None:
    api_file = file(
        api,
        {"token": "of all"},
        {"name": "parents", "endpoint": {"auth": {"type": "api_key", "name": "X-Key", "api_key": "own"}}},
        {
            "name": "children",
            "endpoint": {"path": "parents/{resources.parents.id}", "auth": session(api, "pw")},
        },
        {"name": "others", "endpoint": "others"},
    )
    for resource in ("children", "others"):
        load_into(duckdb_store, api_file, resource)
    seen = {
        asked.path: (asked.headers.get("authorization"), asked.headers.get("x-key")) for asked in api.asked
    }
    assert seen == {
        "/parents": (None, "own"),
        "/token": (None, None),
        "/parents/1": ("Bearer tok-1", None),
        "/others": ("Bearer of all", None),
    }


def test_an_endpoints_own_does_not_go_to_a_foreign_origin(api: Door, duckdb_store: Store) -> None:
    with door() as foreign:
        own = {"path": f"{foreign.url}/rows", "auth": {"type": "api_key", "api_key": "hunter2"}}
        rows = {"name": "rows", "endpoint": own}
        with pytest.raises(ForbiddenOriginError, match="allowed_hosts"):
            load_into(duckdb_store, file(api, None, rows), "rows")
        assert foreign.asked == []
        load_into(duckdb_store, file(api, None, rows, allowed_hosts=[foreign.url]), "rows")
        assert foreign.asked[0].headers["authorization"] == "hunter2"


def test_a_login_goes_to_the_origin_of_its_url_alone(api: Door, duckdb_store: Store) -> None:
    """Also where a foreign login leads elsewhere: the API's own origin gets the token, not the password."""
    with door() as login:
        auth = {**session(login, "hunter2")}
        load_into(duckdb_store, file(api, auth), "rows")
        assert [asked.path for asked in login.asked] == ["/token"]
    assert [asked.path for asked in api.asked] == ["/rows"]
    assert "hunter2" not in str(api.asked)
    assert api.asked[0].headers["authorization"] == "Bearer tok-1"


# Each kind, and the secrets that must not stay: what a file or a variable says, and what the API gives out.
KINDS: dict[str, dict[str, Any]] = {
    "session": {
        "type": "session",
        "login_url": "URL",
        "login": {"user": "ann", "nested": [{"pin": "${PASSWORD}"}], "literal": "plain-secret"},
        "token_path": "access_token",
        "location": "query",
        "name": "sid",
    },
    "oauth2": {
        "type": "oauth2",
        "access_token_url": "URL",
        "client_id": "the-client",
        "client_secret": "plain-secret",
        "access_token_request_data": {"scope": "read", "password": "${PASSWORD}"},
        "client_authentication": "basic",
    },
    "oauth2_refresh_token": {
        "type": "oauth2_refresh_token",
        "access_token_url": "URL",
        "client_id": "the-client",
        "client_secret": "plain-secret",
        "refresh_token": "${PASSWORD}",
    },
    "jwt_bearer": {
        "type": "jwt_bearer",
        "algorithm": "ES256",
        "issuer": "i",
        "access_token_url": "URL",
        "private_key": "${KEY}",
        "access_token_request_data": {"client_secret": "plain-secret", "more": "${PASSWORD}"},
    },
}
KINDS["all"] = {
    "all": [KINDS["session"], {"type": "api_key", "name": "X-App", "api_key": "${KEY_OF_APP} plain-app"}]
}


@pytest.mark.parametrize("happens", ["nothing", "refused", "token refused", "cut"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_left_anywhere(
    own_place: Path,
    api: Door,
    duckdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    happens: str,
) -> None:
    for logger in ("analytics_dagster", "dlt", "urllib3", "requests", "filelock"):
        caplog.set_level(logging.DEBUG, logger)
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("KEY", KEY.replace("\n", "\\n"))
    monkeypatch.setenv("KEY_OF_APP", "hunter2hunter2")
    answer = {"access_token": "fetched-access", "refresh_token": "fetched-refresh"}

    def grant(asked: Asked) -> Reply:
        match happens:
            case "refused":
                return 400, {"you sent": asked.body, "with": asked.headers}
            case "cut":
                return 200, json.dumps(answer).encode()[:-5]
            case _:
                return 200, answer

    api.grant = grant
    api.lets_in = lambda _: happens != "token refused"
    told = ""
    api_file = file(api, json.loads(json.dumps(KINDS[kind]).replace("URL", f"{api.url}/token")))
    if happens == "nothing":
        load_into(duckdb_store, api_file, "rows")
    else:
        with pytest.raises(LoadError) as failure:
            load_into(duckdb_store, api_file, "rows")
        told = str(failure.value)
        assert failure.value.__cause__ is None
    secrets = [PASSWORD, "plain-secret", "fetched-access", "fetched-refresh", "hunter2hunter2", "plain-app"]
    secrets += KEY.splitlines()[1:-1]
    secrets += [asked.form["assertion"] for asked in api.at("/token") if "assertion" in asked.form]
    left = [told, caplog.text, *capfd.readouterr()]
    files = [path for path in own_place.rglob("*") if path.is_file() and path.parent.name != "tokens"]
    left += [path.read_bytes().decode("latin-1") for path in files]
    if happens == "nothing":
        for table in ("rows", "_dlt_version", "_dlt_pipeline_state", "_dlt_loads"):
            left.append(str(duckdb_store.fetch(f"SELECT * FROM {{}}.{table}")))
    for secret in secrets:
        forms = [secret, quote(secret), quote(secret, safe=""), base64.b64encode(secret.encode()).decode()]
        assert not [form for form in forms if any(form in text for text in left)]
    assert bool(told) == (happens != "nothing")


def test_the_key_that_a_variable_holds_is_checked_and_not_shown(
    api: Door, duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = {"type": "jwt_bearer", "private_key": "${KEY}", "access_token_url": f"{api.url}/token"}
    for value, message in (("/keys/ga4.json", "expected a private key"), (KEY, "issuer is missing")):
        monkeypatch.setenv("KEY", value)
        with pytest.raises(WrongValueError, match=rf"client\.auth.*{message}.*\$\{{KEY\}}") as caught:
            load_into(duckdb_store, file(api, auth), "rows")
        assert value.splitlines()[-1] not in str(caught.value)


def test_a_word_such_as_a_scope_is_no_secret(api: Door, duckdb_store: Store) -> None:
    auth = {**KINDS["oauth2"], "access_token_url": f"{api.url}/token", "scopes": ["refused"]}
    auth["access_token_request_data"] = {"scope": "Check", "remember": True, "times": 1}
    api.grant = lambda _: (400, {"error": "unknown scope"})
    with pytest.raises(LoadError, match=r"was refused: 400(.|\n)*unknown scope(.|\n)*Check access_token_url"):
        load_into(duckdb_store, file(api, auth), "rows")
