"""The API's own server gets the credentials: it shows its certificate, and nobody else gets any of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.load import load
from analytics_dagster.reading.errors import ForbiddenOriginError, RefusedError
from analytics_dagster.spec import ApiFileError, parse_text
from analytics_dagster_tests.loading.conftest import own_place
from analytics_dagster_tests.reading.helpers import Lab
from analytics_dagster_tests.security.servers import Answer, Received, serving

__all__ = ["own_place"]
SECRET = "s3cret-of-the-api"
AUTHS = {
    "header": "{type: api_key, name: X-Key, api_key: s3cret-of-the-api, location: header}",
    "query": "{type: api_key, name: key, api_key: s3cret-of-the-api, location: query}",
    "bearer": "{type: bearer, token: s3cret-of-the-api}",
}
FILE = """\
name: api
client:
  base_url: URL
  headers: {X-Other: s3cret-of-the-api}
  auth: AUTH
  allowed_hosts: [ALLOWED]
retry: {max_retries: 0}
resources:
- name: rows
  write_disposition: replace
  endpoint: {path: rows, data_selector: data, paginator: PAGINATOR}
- name: parts
  write_disposition: replace
  endpoint: {path: "{resources.rows.link}", data_selector: data, paginator: single_page}
"""


def certificate(place: Path, name: str) -> str:
    """A file with a new key and a certificate for it that nobody else signed."""
    key, signed = place / f"{name}.key", place / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={name}"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", signed],
        check=True,
        capture_output=True,
    )
    both = place / f"{name}.pem"
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return str(both)


def rows(_: Received) -> Answer:
    return 200, {}, {"data": [{"id": 1}]}


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No certificates but those that requests brings along."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


# What other programs, and other versions of requests, take for "do not verify".
@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "", "SSL_CERT_FILE": "", "SSL_CERT_DIR": ""},
        {"PYTHONHTTPSVERIFY": "0", "SSL_VERIFY": "false", "REQUESTS_VERIFY": "false", "VERIFY": "false"},
        {"RUNTIME__VERIFY": "false", "RUNTIME__REQUEST_VERIFY": "false", "SOURCES__VERIFY": "false"},
    ],
)
def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with serving(rows, certificate(tmp_path, "IP:127.0.0.1")) as server:
        lab = Lab(server.url)
        with pytest.raises(RefusedError, match=r"certificate is not trusted.*REQUESTS_CA_BUNDLE"):
            lab.rows("/rows", "single_page", headers={"X-Key": SECRET})
        assert server.received == []
    assert lab.waits == []


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_may_be_trusted_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with serving(rows, trusted := certificate(tmp_path, "IP:127.0.0.1")) as server:
        monkeypatch.setenv(name, trusted)
        assert Lab(server.url).rows("/rows", "single_page") == [{"id": 1}]
        monkeypatch.setenv(name, str(tmp_path / "none.pem"))
        with pytest.raises(RefusedError, match=r"none\.pem"):
            Lab(server.url).rows("/rows", "single_page")
    with serving(rows, other := certificate(tmp_path, "DNS:other.example.com")) as server:
        monkeypatch.setenv(name, other)
        with pytest.raises(RefusedError, match=r"127\.0\.0\.1"):
            Lab(server.url).rows("/rows", "single_page")
        assert server.received == []


@pytest.mark.parametrize(
    "where", ["client: {verify: false, ", "client: {session: {verify: false}, ", "verify: false\nclient: {"]
)
def test_a_file_cannot_switch_verification_off(where: str) -> None:
    text = f"""\
name: api
{where}base_url: "https://127.0.0.1"}}
resources:
- {{name: rows, write_disposition: replace, endpoint: {{path: rows}}}}
"""
    with pytest.raises(ApiFileError, match=r"verify: unknown key|it takes a Python object"):
        parse_text(text, "api.yaml")


LEADS: dict[str, tuple[str, str]] = {
    "redirect": ("rows", "single_page"),
    "link in the body": ("rows", "json_link"),
    "link in a header": ("rows", "header_link"),
    "link in a row": ("parts", "single_page"),
}


@pytest.mark.usefixtures("own_place")
@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("way", LEADS)
def test_a_second_server_receives_nothing(auth: str, way: str) -> None:
    def leading(_: Received) -> Answer:
        if way == "redirect":
            return 307, {"Location": f"{other.url}/rows?{SECRET}"}, {}
        link = f"{other.url}/rows?page=2"
        headers = {"Link": f'<{link}>; rel="next"'} if way == "link in a header" else {}
        return 200, headers, {"data": [{"id": 1, "link": link}], "next": link}

    with serving(rows) as other, serving(leading) as own:
        with pytest.raises(ForbiddenOriginError, match="allowed_hosts") as caught:
            load_with(own.url, auth, *LEADS[way])
        assert other.received == []
        assert len(own.received) == 1
        assert SECRET in str(own.received)
    assert SECRET not in str(caught.value)


@pytest.mark.usefixtures("own_place")
@pytest.mark.parametrize("auth", AUTHS)
def test_a_second_server_that_is_allowed_is_led_to_without_credentials(auth: str) -> None:
    def leading(_: Received) -> Answer:
        return 307, {"Location": f"{other.url}/rows"}, {}

    with serving(rows) as other, serving(leading) as own:
        load_with(own.url, auth, "rows", "single_page", allowed=f'"{other.url}"')
        assert SECRET in str(own.received)
        assert len(other.received) == 1
        assert SECRET not in str(other.received)


def load_with(url: str, auth: str, resource: str, paginator: str, allowed: str = "") -> Any:
    text = FILE.replace("URL", url).replace("AUTH", AUTHS[auth]).replace("PAGINATOR", paginator)
    file = parse_text(text.replace("ALLOWED", allowed), "api.yaml")
    return load(file, resource, destination=Destination("duckdb", str(Path("rows.duckdb").absolute())))
