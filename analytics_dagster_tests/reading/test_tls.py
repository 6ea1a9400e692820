"""Proxies, a CA of one's own, client certificates: as users of `requests` expect, and never without TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from analytics_dagster.reading.errors import RefusedError, RequestError
from analytics_dagster_tests.reading.door import door
from analytics_dagster_tests.reading.helpers import Lab


class Papers:
    """A CA, and certificates of it for a server and for a client."""

    def __init__(self, place: Path) -> None:
        self.ca = place / "ca.pem"
        self.server = place / "server.pem"
        self.client = place / "client.pem"
        self.client_key = place / "client.key"
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _certificate("ca", ca_key, None, ca_key)
        self.ca.write_bytes(_pem(ca))
        for name in ("server", "client"):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _pem(_certificate(name, key, ca, ca_key))
            (place / f"{name}.key").write_bytes(_pem_key(key))
            (place / f"{name}.pem").write_bytes(certificate + _pem_key(key))
        (place / "client-alone.pem").write_bytes(self.client.read_bytes().split(b"-----BEGIN PRIVATE")[0])
        self.client_alone = place / "client-alone.pem"

    def context(self, *, asks: bool = False) -> ssl.SSLContext:
        """What the server wants; with `asks`, to know the client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def _certificate(name: str, key: Any, issuer: x509.Certificate | None, issuer_key: Any) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=issuer is None,
                crl_sign=issuer is None,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Papers:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return Papers(tmp_path)


def lab(url: str, **client: Any) -> Lab:
    return Lab(url, retry={"max_retries": 1}, **client)


def test_a_ca_of_ones_own_is_trusted_when_the_environment_names_it(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with door(tls=papers.context()) as api:
        with pytest.raises(RefusedError, match=r"(?i)certificate.*REQUESTS_CA_BUNDLE"):
            lab(api.url).session.get(f"{api.url}/rows")
        assert api.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(papers.ca))
        assert lab(api.url).session.get(f"{api.url}/rows").json() == [{"id": 1}]


@pytest.mark.parametrize("given", ["one", "two"])
def test_a_client_certificate_opens_the_door(
    papers: Papers, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(papers.ca))
    cert = str(papers.client) if given == "one" else [str(papers.client_alone), str(papers.client_key)]
    with door(tls=papers.context(asks=True)) as api:
        with pytest.raises(RequestError, match=r"client\.cert|the connection failed"):
            lab(api.url).session.get(f"{api.url}/rows")
        assert lab(api.url, cert=cert).session.get(f"{api.url}/rows").json() == [{"id": 1}]


@pytest.mark.parametrize("missing", ["client.cert", "REQUESTS_CA_BUNDLE"])
def test_a_file_that_is_not_there_is_named_at_once(
    papers: Papers, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem" if missing != "client.cert" else str(papers.ca))
    with (
        door(tls=papers.context()) as api,
        pytest.raises(RefusedError, match=rf"/nowhere\.pem.*{missing}"),
    ):
        lab(api.url, cert="/nowhere.pem").session.get(f"{api.url}/rows")


def test_requests_raises_a_missing_file_as_an_error_of_no_kind(papers: Papers) -> None:
    """psf/requests#7564: when this fails, `except OSError` in the session has nothing to catch any more."""
    with door(tls=papers.context()) as api, pytest.raises(OSError, match="nowhere") as caught:
        requests.get(api.url, cert="/nowhere.pem", verify=str(papers.ca), timeout=10)
    assert not isinstance(caught.value, requests.RequestException)


def _pour(source: socket.socket, target: socket.socket) -> None:
    """All bytes from one socket into another, and then its end."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy() -> Generator[tuple[str, list[str]]]:
    """A proxy for HTTP and HTTPS, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def do_GET(self) -> None:
            asked.append(self.path)
            host, _, path = self.path.removeprefix("http://").partition("/")
            onward = HTTPConnection(host, timeout=10)
            onward.request("GET", f"/{path}", headers=dict(self.headers))
            answer = onward.getresponse()
            body = answer.read()
            onward.close()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as onward:
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                back = threading.Thread(target=_pour, args=(onward, self.connection), daemon=True)
                back.start()
                _pour(self.connection, onward)
                back.join()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with door() as api, proxy() as (url, asked):
        monkeypatch.setenv("HTTP_PROXY", url)
        assert Lab(api.url).pages("/rows", "single_page", "$") == [[{"id": 1}]]
        assert asked == [f"{api.url}/rows"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert Lab(api.url).pages("/rows", "single_page", "$") == [[{"id": 1}]]
        assert len(asked) == 1
        assert len(api.at("/rows")) == 2


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_sees_nothing_of_what_goes_through_it(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(papers.ca))
    with door(tls=papers.context(asks=True)) as api, proxy() as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url)
        through = lab(api.url, cert=str(papers.client))
        assert through.pages("/rows", "single_page", "$") == [[{"id": 1}]]
        through.session.close()
        assert asked == [api.url.removeprefix("https://")]


@pytest.mark.usefixtures("no_proxies")
def test_token_requests_go_through_the_proxy_too_whose_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    auth = {"type": "session", "login_url": "http://api.example.com/token", "login": {"a": "b"}}
    with door() as api:
        monkeypatch.setenv("HTTP_PROXY", f"http://someone:hunter2@{api.url.removeprefix('http://')}")
        with pytest.raises(RefusedError, match="answered without a token"):
            api.read(auth, lab("http://api.example.com"))
        assert api.asked[0].headers["proxy-authorization"].startswith("Basic ")
        monkeypatch.setenv("HTTP_PROXY", "http://someone:hunter2@127.0.0.1:1")
        with pytest.raises(RequestError, match=r"api\.example\.com/token failed") as caught:
            api.read(auth, lab("http://api.example.com"))
        assert "hunter2" not in str(caught.value)
