"""Requests go where the file allows, answers are read whole and within their limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
import responses

from analytics_dagster.reading.errors import ForbiddenOriginError, RefusedError, TooLargeError
from analytics_dagster.reading.origins import Origins, origin
from analytics_dagster_tests.reading.helpers import SECRET, URL, Lab, raw_server

OTHER = "https://other.example.com/v1/rows"
KEY = {"X-API-Key": SECRET}


def redirect(target: str, status: int = 302) -> None:
    """Mock an API that leads elsewhere."""
    responses.add("GET", URL, status=status, headers={"Location": target})


@responses.activate
def test_a_redirect_within_the_origin_is_followed_with_the_key() -> None:
    redirect("/v2/rows")
    responses.get("https://api.example.com/v2/rows", json=[1])
    lab = Lab()
    assert lab.session.get(URL, headers=KEY).json() == [1]
    assert responses.calls[1].request.headers["X-API-Key"] == SECRET
    assert lab.meter.requests == 2


@pytest.mark.parametrize(
    "target",
    [
        OTHER,
        "//other.example.com/v1/rows",
        "http://api.example.com/v1/rows",
        "https://api.example.com:8443/v1/rows",
        "https://api.example.com@other.example.com/",
        "https://api.example.com.evil.org/",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@responses.activate
def test_a_redirect_to_another_origin_sends_nothing_there(target: str, status: int) -> None:
    redirect(f"{target}?api_key={SECRET}", status)
    with pytest.raises(ForbiddenOriginError) as caught:
        Lab().session.get(URL, headers=KEY, params={"api_key": SECRET})
    assert len(responses.calls) == 1
    assert "allowed_hosts" in str(caught.value)
    assert "s3cr" not in str(caught.value)


@responses.activate
def test_a_next_link_to_another_origin_sends_nothing_there() -> None:
    responses.get(URL, json={"data": [1], "next": OTHER})
    with pytest.raises(ForbiddenOriginError, match=r"leads to https://other\.example\.com/v1/rows"):
        Lab().rows("/v1/rows", "json_link", headers=KEY)
    assert len(responses.calls) == 1


@responses.activate
def test_a_step_up_to_https_is_explained() -> None:
    responses.get("http://api.example.com/", status=301, headers={"Location": "https://api.example.com/"})
    with pytest.raises(ForbiddenOriginError, match=r"write `https://api\.example\.com` in client\.base_url"):
        Lab("http://api.example.com").session.get("http://api.example.com/")


@responses.activate
def test_an_allowed_host_gets_next_links_signed_and_redirects_unsigned() -> None:
    responses.get(URL, json={"data": [1], "next": OTHER})
    responses.get(OTHER, json={"data": [2]})
    lab = Lab(allowed_hosts=["other.example.com"])
    assert lab.rows("/v1/rows", "json_link", headers=KEY) == [1, 2]
    assert responses.calls[1].request.headers["X-API-Key"] == SECRET

    responses.reset()
    redirect(OTHER)
    responses.get(OTHER, status=401)
    with pytest.raises(RefusedError, match="write the new address in base_url"):
        lab.session.get(URL, headers={**KEY, "Authorization": "Bearer x", "X-Other": "y"})
    assert not {"X-API-Key", "Authorization", "X-Other"} & set(responses.calls[1].request.headers)


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("cdn.example.com", "https://cdn.example.com/x", True),
        ("CDN.example.com", "https://cdn.EXAMPLE.com:8443/x", True),
        ("cdn.example.com", "http://cdn.example.com/x", False),
        ("cdn.example.com", "https://a.cdn.example.com/x", False),
        ("cdn.example.com:8443", "https://cdn.example.com:8443/x", True),
        ("cdn.example.com:8443", "https://cdn.example.com/x", False),
        ("cdn.example.com:443", "https://cdn.example.com/x", True),
        ("https://cdn.example.com", "https://cdn.example.com:443/x", True),
        ("https://cdn.example.com/", "https://cdn.example.com/x", True),
        ("https://cdn.example.com", "https://cdn.example.com:8443/x", False),
        ("http://cdn.example.com:80", "http://cdn.example.com/x", True),
        ("[::1]:8080", "https://[::1]:8080/x", True),
        ("http://[::1]", "http://[::1]/x", True),
    ],
)
def test_allowed_hosts_take_hosts_ports_and_origins(entry: str, url: str, *, allowed: bool) -> None:
    origins = Origins("https://api.example.com", [entry])
    origins.check("https://API.example.com:443/x")
    if allowed:
        origins.check(url)
    else:
        with pytest.raises(ForbiddenOriginError):
            origins.check(url)


def test_an_http_api_may_allow_a_host_by_name() -> None:
    Origins("http://api.local:8000", ["cdn.local"]).check("http://cdn.local:9000/x")
    assert origin("http://[::1]:8000/x") == "http://[::1]:8000"


def http(body: bytes, *headers: str) -> bytes:
    """An answer as it travels."""
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("status", ["200 OK", "302 Found\r\nLocation: /x", "500 Oops"])
def test_an_endless_body_is_cut_off(status: str) -> None:
    body = b"[" + b" " * 3_000_000
    answer = http(body).replace(b"200 OK", status.encode()).replace(str(len(body)).encode(), b"9" * 12)
    with raw_server([answer]) as url:
        lab = Lab(url, max_response_bytes="1MB")
        with pytest.raises(
            TooLargeError, match=r"GET http.* larger than client.max_response_bytes \(1,000,000"
        ) as caught:
            lab.session.get(url)
    assert caught.value.permanent
    assert lab.meter.retries == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compression_bomb_stays_small(encoding: str) -> None:
    plain = b"[" + b"0" * 200_000_000
    bomb = gzip.compress(plain, 1) if encoding == "gzip" else zlib.compress(plain, 1)
    del plain
    with raw_server([http(bomb, f"Content-Encoding: {encoding}")]) as url:
        lab = Lab(url, max_response_bytes="1MB")
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError):
                lab.session.get(url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 30_000_000


@responses.activate
def test_bytes_are_counted_as_they_are_read() -> None:
    responses.get(URL, body=b"[1,2,3]")
    lab = Lab()
    lab.session.get(URL)
    assert lab.meter.bytes == 7


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"name": "Zoë"}'.encode(), "text/plain"),
        ('{"name": "Zoë"}'.encode(), "application/json; charset=nonsense"),
        (b'\xef\xbb\xbf{"name": "Zo\xc3\xab"}', "application/json; charset=utf-8"),
        ('{"name": "Zoë"}'.encode("latin-1"), 'application/json; charset="ISO-8859-1"'),
        ('{"name": "Zoë"}'.encode("utf-16"), "application/json"),
    ],
)
@responses.activate
def test_texts_are_read_in_their_encoding(body: bytes, content_type: str) -> None:
    responses.get(URL, body=body, content_type=content_type)
    assert Lab().session.get(URL).json() == {"name": "Zoë"}


@responses.activate
def test_a_netrc_file_signs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine api.example.com login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    redirect("/v2/rows")
    responses.get("https://api.example.com/v2/rows", json=[1])
    Lab().session.get(URL, headers={"Authorization": "Token of the file"})
    sent: list[Any] = [call.request.headers["Authorization"] for call in responses.calls]
    assert sent == ["Token of the file"] * 2


@responses.activate
def test_a_204_is_a_page_without_rows() -> None:
    responses.get(URL, status=204)
    assert Lab().pages("/v1/rows", "single_page") == [[]]
    assert len(responses.calls) == 1


def test_a_proxy_that_the_environment_names_is_used_unless_it_says_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server([http(b'"by way of the proxy"')]) as proxy, raw_server([http(b'"directly"')]) as url:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        lab = Lab("http://api.example.com")
        assert lab.session.get("http://api.example.com/rows").json() == "by way of the proxy"
        assert Lab(url).session.get(url).json() == "directly"


def test_the_environment_is_looked_at_once_for_each_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(
        "requests.sessions.get_environ_proxies",
        lambda url, **_: looked_up.append(url) or {"https": "http://proxy.example.com"},
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/our.pem")
    session = Lab().session
    for path in ("rows", "rows?page=2", "others"):
        for origin_ in ("https://api.example.com", "https://other.example.com"):
            settings = session.merge_environment_settings(f"{origin_}/{path}", {}, None, None, None)
            assert settings == {
                "verify": "/etc/our.pem",
                "proxies": {"https": "http://proxy.example.com"},
                "stream": False,
                "cert": None,
            }
    assert looked_up == ["https://api.example.com/rows", "https://other.example.com/rows"]
    own = session.merge_environment_settings("https://api.example.com/", {}, None, "/my.pem", None)
    assert own["verify"] == "/my.pem"
