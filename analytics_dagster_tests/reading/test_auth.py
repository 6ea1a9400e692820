"""OAuth 2: one token for many pages, renewed in time, once after a refusal, and never shown."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest
import responses
from dlt.sources.rest_api import rest_api_source

from analytics_dagster.reading.auth import build_auth
from analytics_dagster.reading.auth.fetching import Token, how_to_fetch
from analytics_dagster.reading.errors import RefusedError, RequestError
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster.spec import OAuth2Auth
from analytics_dagster_tests.reading.helpers import URL, Lab

TOKEN_URL = "https://login.example.com/token"
CLIENT_SECRET = "pa/ss wörd"


def oauth2(lab: Lab, url: str = TOKEN_URL, **options: Any) -> OAuth2Auth:
    """A file's `oauth2_client_credentials`."""
    fields = {"access_token_url": url, "client_id": "me", "client_secret": CLIENT_SECRET, **options}
    lab.redact.hide(CLIENT_SECRET)
    return OAuth2Auth.model_validate({"type": "oauth2_client_credentials", **fields})


def fetch(lab: Lab, url: str = TOKEN_URL, **options: Any) -> Token:
    """A token for a file's `oauth2_client_credentials`."""
    return how_to_fetch(oauth2(lab, url, **options), lambda _: lab.session, lab.redact)(None)


def credentials(lab: Lab, url: str = TOKEN_URL, **options: Any) -> Any:
    """The auth object of a file's `oauth2_client_credentials`."""
    return build_auth(oauth2(lab, url, **options), lambda _: lab.session, lab.redact)


def token_endpoint(token: str | Callable[[], str] = "tok-1", status: int = 200, **fields: Any) -> None:
    """Mock a token endpoint."""

    def answer(_: Any) -> tuple[int, dict[str, str], str]:
        text = token if isinstance(token, str) else token()
        more = "".join(f', "{name}": {value}' for name, value in fields.items())
        return status, {}, f'{{"access_token": "{text}"{more}}}'

    responses.add_callback("POST", TOKEN_URL, callback=answer, content_type="application/json")


def lab_with_tokens() -> tuple[Lab, Any]:
    """A session for the API, and its auth, whose token requests go over a session of their own."""
    return Lab(), credentials(Lab(TOKEN_URL))


def token_requests() -> list[Any]:
    """The token requests that were sent."""
    return [call.request for call in responses.calls if call.request.url == TOKEN_URL]


@pytest.mark.parametrize("status", [200, 201])
@responses.activate
def test_one_token_serves_many_pages(status: int) -> None:
    token_endpoint(status=status, expires_in=3600)
    responses.get(URL, json=[1])
    lab, auth = lab_with_tokens()
    for _ in range(5):
        lab.session.get(URL, auth=auth)
    assert len(token_requests()) == 1
    assert responses.calls[-1].request.headers["Authorization"] == "Bearer tok-1"


@responses.activate
def test_the_secret_goes_into_the_body_or_into_basic() -> None:
    token_endpoint()
    lab = Lab(TOKEN_URL)
    fetch(lab, access_token_request_data={"scope": "read"})
    fetch(lab, client_authentication="basic")
    in_body, in_header = token_requests()
    assert parse_qs(in_body.body) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": [CLIENT_SECRET],
        "scope": ["read"],
    }
    assert "Authorization" not in in_body.headers
    assert parse_qs(in_header.body) == {"grant_type": ["client_credentials"]}
    kind, _, encoded = in_header.headers["Authorization"].partition(" ")
    # RFC 6749, section 2.3.1: form-encoded first.
    assert (kind, base64.b64decode(encoded)) == ("Basic", b"me:pa%2Fss+w%C3%B6rd")
    assert encoded not in lab.redact(f"header: {encoded}")


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"expires_in": 3600}, 3570),
        ({"expires_in": 10}, 9),
        ({"expires_in": '"100"'}, 90),
        ({"expires_in": "null"}, 470),
        ({}, 470),
    ],
)
@responses.activate
def test_a_token_is_kept_until_shortly_before_it_expires(fields: dict[str, Any], kept: int) -> None:
    token_endpoint(**fields)
    token = fetch(Lab(TOKEN_URL), default_token_expiration=500)
    assert kept - 2 < token.expires - time.time() <= kept


@responses.activate
def test_an_expired_token_is_renewed_before_the_request() -> None:
    names = iter(["tok-1", "tok-2"])
    token_endpoint(lambda: next(names), expires_in=0)
    responses.get(URL, json=[1])
    lab, auth = lab_with_tokens()
    for _ in range(2):
        lab.session.get(URL, auth=auth)
    assert responses.calls[-1].request.headers["Authorization"] == "Bearer tok-2"


def test_a_revoked_token_is_renewed_once(sandbox: RunningSandbox) -> None:
    lab = Lab(sandbox.url)
    tokens = Lab(f"{sandbox.url}/oauth/token")
    auth = credentials(
        tokens, f"{sandbox.url}/oauth/token", client_id="sandbox-client", client_secret="sandbox-secret"
    )
    for _ in range(2):
        rows = lab.rows("/oauth/v1/links/users", "json_link", auth=auth)
        assert len(rows) == 500
        sandbox.tokens.revoke_all()
    assert len(sandbox.requests.list("/oauth/token")) == 2
    assert lab.meter.retries == 0


@responses.activate
def test_a_request_that_stays_refused_renews_once_and_fails() -> None:
    names = iter(f"tok-{n}" for n in range(9))
    token_endpoint(lambda: next(names))
    responses.get(URL, status=401)
    lab, auth = lab_with_tokens()
    with pytest.raises(RefusedError, match="Check the credentials"):
        lab.session.get(URL, auth=auth)
    assert len(token_requests()) == 2


@responses.activate
def test_faults_between_refusals_do_not_make_renewing_a_loop() -> None:
    names = iter(f"tok-{n}" for n in range(9))
    token_endpoint(lambda: next(names))
    for status in (401, 503, 401):
        responses.get(URL, status=status)
    lab, auth = lab_with_tokens()
    with pytest.raises(RefusedError):
        lab.session.get(URL, auth=auth)
    assert len(token_requests()) == 2


def test_threads_share_one_renewal(sandbox: RunningSandbox) -> None:
    lab = Lab(sandbox.url, limits={"concurrency": 8})
    url = f"{sandbox.url}/oauth/token"
    auth = credentials(Lab(url), url, client_id="sandbox-client", client_secret="sandbox-secret")
    together = threading.Barrier(8)

    def read() -> int:
        together.wait()
        return lab.session.get(f"{sandbox.url}/oauth/v1/users", auth=auth).status_code

    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            assert [done.result() for done in [pool.submit(read) for _ in range(8)]] == [200] * 8
        sandbox.tokens.revoke_all()
    assert len(sandbox.requests.list("/oauth/token")) == 2


@responses.activate
def test_an_api_key_that_is_refused_is_not_sent_again() -> None:
    responses.get(URL, status=401)
    with pytest.raises(RefusedError):
        Lab().session.get(URL, headers={"X-API-Key": "k"})
    assert len(responses.calls) == 1


def test_a_token_endpoint_that_is_down_for_a_while_is_tried_again(sandbox: RunningSandbox) -> None:
    url = f"{sandbox.url}/oauth/token"
    sandbox.faults.add(Fault(kind="status", first=2, match="/oauth/token"))
    lab = Lab(url)
    fetch(lab, url, client_id="sandbox-client", client_secret="sandbox-secret")
    assert lab.meter.retries == 2
    sandbox.faults.add(Fault(kind="status", first=9, match="/oauth/token"))
    with pytest.raises(RequestError, match=r"POST http://.*/oauth/token failed: 503"):
        fetch(lab, url)


@responses.activate
def test_a_token_endpoint_that_refuses_is_named_without_the_secret() -> None:
    responses.post(TOKEN_URL, status=400, json={"error": "invalid_client", "given": CLIENT_SECRET})
    lab, auth = lab_with_tokens()
    with pytest.raises(RefusedError) as caught:
        lab.session.get(URL, auth=auth)
    text = str(caught.value)
    assert text.startswith(f"There is no token for the API: POST {TOKEN_URL} was refused: 400 Bad Request.")
    assert "invalid_client" in text
    assert "Check access_token_url, client_id, client_secret, client_authentication" in text
    assert "pa/ss" not in text
    assert caught.value.permanent


@pytest.mark.parametrize("body", ["[]", "{}", '{"token": "x"}', '{"access_token": null}'])
@responses.activate
def test_an_answer_without_a_token_is_told(body: str) -> None:
    responses.post(TOKEN_URL, body=body)
    with pytest.raises(RefusedError, match="answered without a token at `access_token`"):
        fetch(Lab(TOKEN_URL))


@responses.activate
def test_a_token_is_hidden_like_a_secret() -> None:
    token_endpoint()
    lab = Lab(TOKEN_URL)
    fetch(lab)
    assert lab.redact("Bearer tok-1") == "Bearer ***"


@responses.activate
def test_dlt_takes_no_other_credentials_than_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIENT_ID", "CLIENT_SECRET", "ACCESS_TOKEN_URL", "ACCESS_TOKEN", "TOKEN"):
        monkeypatch.setenv(name, "of another program")
    token_endpoint()
    responses.get(URL, json=[{"id": 1}])
    lab, auth = lab_with_tokens()
    source = rest_api_source(
        {
            "client": {"base_url": lab.base_url, "auth": auth, "session": lab.session},
            "resources": [{"name": "rows", "endpoint": {"path": "/v1/rows", "paginator": "single_page"}}],
        }
    )
    assert list(source.resources["rows"]) == [{"id": 1}]
    assert parse_qs(token_requests()[0].body)["client_secret"] == [CLIENT_SECRET]
