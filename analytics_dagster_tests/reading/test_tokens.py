"""Tokens in all the ways that APIs give them out, over a real socket: asked for as said, and sent as said."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from analytics_dagster.reading.errors import CredentialsError, ForbiddenOriginError, LoadError, RefusedError
from analytics_dagster_tests.reading.door import Asked, Door, Reply, door, signer
from analytics_dagster_tests.reading.helpers import Lab, raw_server

PASSWORD = "pa/ss wörd&more"


@pytest.fixture
def api() -> Generator[Door]:
    with door() as found:
        yield found


def oauth2(api: Door, **more: Any) -> dict[str, Any]:
    fields = {"access_token_url": f"{api.url}/token", "client_id": "me", "client_secret": PASSWORD}
    return {"type": "oauth2", **fields, **more}


def session(api: Door, **more: Any) -> dict[str, Any]:
    fields = {"login_url": f"{api.url}/token", "login": {"username": "ann", "password": PASSWORD}}
    return {"type": "session", **fields, **more}


def pem(key: Any) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


# Static kinds.


def test_a_key_may_have_a_word_before_it(api: Door) -> None:
    api.read({"type": "api_key", "api_key": "Token abc"})
    assert api.asked[0].headers["authorization"] == "Token abc"


def test_several_kinds_go_along_at_once(api: Door) -> None:
    api.read(
        {
            "all": [
                oauth2(api),
                {"type": "api_key", "name": "X-App", "api_key": "app"},
                {"type": "api_key", "name": "key", "api_key": "a&b", "location": "query"},
                session(api, location="query", name="sid", token_path="access_token"),
            ]
        }
    )
    asked = api.at("/rows")[0]
    assert (asked.headers["authorization"], asked.headers["x-app"]) == ("Bearer tok-1", "app")
    assert asked.query == {"key": "a&b", "sid": "tok-1"}
    assert not {"authorization", "x-app"} & set(api.at("/token")[0].headers)


def test_of_several_tokens_each_is_renewed(api: Door) -> None:
    numbers = count(1)
    api.grant = lambda _: (200, {"access_token": f"tok-{next(numbers)}"})
    api.lets_in = lambda asked: (
        asked.headers["authorization"] == "Bearer tok-3"
        and asked.query
        == {
            "a": "b",
            "sid": "tok-4",
        }
    )
    both = [oauth2(api), session(api, location="query", name="sid", token_path="access_token")]
    assert api.read({"all": both}, path="/rows?a=b") == [{"id": 1}]


# How a token is asked for.


@pytest.mark.parametrize("place", ["body", "basic"])
@pytest.mark.parametrize("written", ["form", "json"])
def test_a_token_request_is_written_as_the_api_wants_it(api: Door, place: str, written: str) -> None:
    api.grant = lambda _: (201, {"data": {"access_token": "deep", "expires_in": 60}})
    api.read(
        oauth2(
            api,
            client_authentication=place,
            access_token_request_format=written,
            access_token_request_data={"audience": "https://api"},
            scopes=["a", "b"],
            access_token_path="data.access_token",
        )
    )
    asked = api.at("/token")[0]
    fields = {"grant_type": "client_credentials", "audience": "https://api", "scope": "a b"}
    if place == "body":
        fields |= {"client_id": "me", "client_secret": PASSWORD}
    assert (asked.form if written == "form" else asked.json) == fields
    assert asked.headers["accept"] == "application/json"
    basic = "Basic " + base64.b64encode(b"me:pa%2Fss+w%C3%B6rd%26more").decode()
    assert asked.headers.get("authorization") == (basic if place == "basic" else None)
    assert api.at("/rows")[0].headers["authorization"] == "Bearer deep"


def test_a_token_request_that_is_led_elsewhere_sends_nothing_there(api: Door) -> None:
    led = f"HTTP/1.1 307 Elsewhere\r\nLocation: {api.url}/token\r\nContent-Length: 0\r\n\r\n"
    with raw_server([led.encode()]) as login:
        with pytest.raises(ForbiddenOriginError, match="allowed_hosts"):
            api.read(oauth2(api, access_token_url=f"{login}/token"))
        assert api.asked == []


@pytest.mark.parametrize(
    ("how", "header"),
    [
        ({}, ("authorization", "Bearer tok-1")),
        ({"prefix": "Zoho-oauthtoken"}, ("authorization", "Zoho-oauthtoken tok-1")),
        ({"prefix": "auth="}, ("authorization", "auth=tok-1")),
        ({"prefix": ""}, ("authorization", "tok-1")),
        ({"name": "X-Access-Token"}, ("x-access-token", "tok-1")),
        ({"name": "X-Access-Token", "prefix": "Key "}, ("x-access-token", "Key tok-1")),
    ],
)
def test_a_token_goes_into_the_header_that_the_api_wants(
    api: Door, how: dict[str, str], header: tuple[str, str]
) -> None:
    api.read(oauth2(api, **how))
    name, value = header
    assert api.at("/rows")[0].headers[name] == value


def test_a_token_in_the_query_replaces_the_one_of_a_next_link(api: Door) -> None:
    api.grant = lambda _: (200, {"token": "new&1"})
    api.read(session(api, location="query", name="sid"), path="/rows?page=2&sid=old&x=a%20b")
    assert api.at("/rows")[0].written_query == "page=2&x=a%20b&sid=new%261"


def test_a_key_in_the_query_is_sent_once_though_a_next_link_carries_it(api: Door) -> None:
    auth = {"type": "api_key", "name": "access_token", "api_key": "a b", "location": "query"}
    for link in ("/rows?after=2&access_token=a%20b", "/rows?access_token=a+b&after=2", "/rows?after=2"):
        api.read(auth, path=link)
    assert {asked.written_query for asked in api.asked} == {"after=2&access_token=a+b"}


# Service accounts.


def account(api: Door, **more: Any) -> dict[str, Any]:
    fields = {"type": "jwt_bearer", "private_key": pem(RSA), "issuer": "robot@example.com"}
    return {**fields, "access_token_url": f"{api.url}/token", **more}


def test_an_assertion_is_changed_for_a_token(api: Door) -> None:
    api.read(
        account(
            api,
            subject="ann",
            scopes=["read", "write"],
            key_id="k1",
            claims={"box_sub_type": "user", "jti": None},
            access_token_request_data={"client_id": "app"},
        )
    )
    form = api.at("/token")[0].form
    assertion = form.pop("assertion")
    assert form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id": "app"}
    claims = jwt.decode(assertion, RSA.public_key(), ["RS256"], audience=f"{api.url}/token")
    issued, ends = claims.pop("iat"), claims.pop("exp")
    assert claims == {
        "iss": "robot@example.com",
        "sub": "ann",
        "aud": f"{api.url}/token",
        "scope": "read write",
        "box_sub_type": "user",
    }
    assert ends - issued == 3600
    assert time.time() - 60 < issued <= time.time()
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"
    assert api.at("/rows")[0].headers["authorization"] == "Bearer tok-1"


def test_without_a_token_endpoint_the_assertion_is_the_token(api: Door) -> None:
    lab = Lab(api.url)
    how = {"algorithm": "ES256", "private_key": pem(EC), "audience": "reports-v1", "lifetime": "20m"}
    auth = signer({"type": "jwt_bearer", "issuer": "i", **how}, lab)
    for _ in range(2):
        lab.session.get(f"{api.url}/rows", auth=auth)
    first, second = (asked.headers["authorization"] for asked in api.asked)
    assert first == second
    assertion = first.removeprefix("Bearer ")
    claims = jwt.decode(assertion, EC.public_key(), ["ES256"], audience="reports-v1", issuer="i")
    assert claims["exp"] - claims["iat"] == 1200
    assert len(claims["jti"]) == 32
    assert assertion not in lab.redact(f"sent {assertion}")


def escaped(text: str) -> str:
    return text.replace("\n", "\\n")


@pytest.mark.parametrize(
    "written",
    [pem(RSA), escaped(pem(RSA)), pem(RSA).replace("\n", " "), "Bag Attributes\n" + pem(RSA) + "\n\n"],
)
def test_a_key_may_have_lost_its_lines_on_its_way(api: Door, written: str) -> None:
    api.read(account(api, private_key=written))
    jwt.decode(
        api.at("/token")[0].form["assertion"], RSA.public_key(), ["RS256"], audience=f"{api.url}/token"
    )


@pytest.mark.parametrize("line_end", ["\\n", "\n"])
def test_googles_key_says_the_rest(api: Door, line_end: str) -> None:
    """The content of the JSON file that Google gives out; `.env` files may turn its \\n into line ends."""
    key = (
        '{"type": "service_account", "private_key_id": "k9", "client_email": "ga4@x.iam.example.com", '
        f'"private_key": "{pem(RSA).replace(chr(10), line_end)}", "token_uri": "{api.url}/token"}}'
    )
    lab = Lab(api.url)
    api.read({"type": "jwt_bearer", "private_key": key, "scopes": "analytics.readonly"}, lab)
    assert not any(line in lab.redact(key + pem(RSA)) for line in pem(RSA).splitlines()[1:-1])
    assertion = api.at("/token")[0].form["assertion"]
    claims = jwt.decode(assertion, RSA.public_key(), ["RS256"], audience=f"{api.url}/token")
    assert (claims["iss"], claims["scope"]) == ("ga4@x.iam.example.com", "analytics.readonly")
    assert jwt.get_unverified_header(assertion)["kid"] == "k9"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", pem(EC)),
        ("ES256", pem(RSA)),
        ("RS256", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHRoaW5n\n-----END PRIVATE KEY-----"),
    ],
)
def test_a_key_that_does_not_fit_is_told_and_not_shown(api: Door, algorithm: str, key: str) -> None:
    with pytest.raises(CredentialsError, match=f"private_key cannot sign with {algorithm}") as caught:
        api.read(account(api, private_key=key, algorithm=algorithm))
    assert key.split("\n")[1] not in str(caught.value)
    assert caught.value.permanent
    assert api.asked == []


def test_a_refused_assertion_says_what_to_check(api: Door) -> None:
    api.grant = lambda asked: (400, {"error": "invalid_grant", "sent": asked.form["assertion"]})
    with pytest.raises(RefusedError, match=r"invalid_grant[^}]*\*\*\*(.|\n)*private_key.*clock") as caught:
        api.read(account(api))
    assert api.asked[0].form["assertion"] not in str(caught.value)


# Logins.


@pytest.mark.parametrize("written", ["json", "form"])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_login_gives_a_token(api: Door, written: str, status: int) -> None:
    api.grant = lambda _: (status, {"data": {"id": "sess-1"}})
    how = {"login_format": written, "token_path": "data.id", "name": "X-Metabase-Session"}
    lab = Lab(api.url)
    auth = signer(session(api, **how), lab)
    for _ in range(3):
        lab.session.get(f"{api.url}/rows", auth=auth)
    [asked] = api.at("/token")
    assert (asked.form if written == "form" else asked.json) == {"username": "ann", "password": PASSWORD}
    assert asked.method == "POST"
    assert {asked.headers["x-metabase-session"] for asked in api.at("/rows")} == {"sess-1"}
    assert lab.redact("sess-1") == "***"


def test_a_login_is_done_again_when_its_time_is_over(api: Door) -> None:
    numbers = count(1)
    api.grant = lambda _: (200, {"token": f"tok-{next(numbers)}"})
    lab = Lab(api.url)
    auth = signer(session(api, lifetime="10ms"), lab)
    lab.session.get(f"{api.url}/rows", auth=auth)
    time.sleep(0.01)
    lab.session.get(f"{api.url}/rows", auth=auth)
    assert [asked.headers["authorization"] for asked in api.at("/rows")] == ["Bearer tok-1", "Bearer tok-2"]


@pytest.mark.parametrize("location", ["header", "query"])
def test_a_session_that_ended_is_renewed_once_for_all_threads(api: Door, location: str) -> None:
    numbers, good = count(1), ["tok-1"]

    def grant(_: Asked) -> Reply:
        good[0] = f"tok-{next(numbers)}"
        return 200, {"token": good[0]}

    api.grant = grant
    api.lets_in = lambda asked: (
        good[0] in (asked.headers.get("authorization", "").removeprefix("Bearer "), asked.query.get("sid"))
    )
    lab = Lab(api.url, limits={"concurrency": 8})
    name = {"name": "sid"} if location == "query" else {}
    auth = signer(session(api, location=location, **name), lab)
    together = threading.Barrier(8)

    def read() -> int:
        together.wait()
        return lab.session.get(f"{api.url}/rows", auth=auth).status_code

    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            assert [done.result() for done in [pool.submit(read) for _ in range(8)]] == [200] * 8
        good[0] = "gone"
    assert len(api.at("/token")) == 2


def test_a_wrong_password_is_tried_once_and_not_shown(api: Door) -> None:
    api.grant = lambda asked: (401, {"error": "wrong password", "you sent": asked.json})
    lab = Lab(api.url)
    lab.redact.hide(PASSWORD)
    with pytest.raises(RefusedError, match="Check login_url, login, login_format") as caught:
        api.read(session(api), lab)
    assert "pa/ss" not in str(caught.value)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [b'{"token": "sess-secr', b"sess-secret", {"tokn": "sess-secret"}, {"token": {"x": "sess-secret"}}],
)
def test_an_answer_without_a_token_is_not_shown(api: Door, answer: Any) -> None:
    api.grant = lambda _: (200, answer)
    with pytest.raises(LoadError) as caught:
        api.read(session(api))
    assert "sess-secr" not in str(caught.value)
    assert f"{api.url}/token" in str(caught.value)
