"""A secret is hidden in every form in which it travels."""

from __future__ import annotations

import base64
import html
import json
import threading
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests.utils import requote_uri

from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.redaction import Redactor

SECRETS = [
    "plain-key-1",
    'a\\é\\\n\\"b',
    "s3cr/t key+1",
    'quo"te\\back',
    "ümläut€",
    "a&b=c%20d",
    "sk_live:abc==",
    "🔑🔑🔑",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_form_of_a_secret_is_shown(secret: str) -> None:
    redact = Redactor([secret])
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        quote_plus(secret),
        requote_uri(secret),
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(secret.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(secret.encode()).decode(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "".join(f"\\u{ord(c):04x}" if c in "&<>'+=" else c for c in secret),  # JSON made for HTML
        html.escape(secret),
        html.escape(json.dumps(secret)[1:-1]),
        quote(quote(secret, safe=""), safe=""),
        quote(base64.b64encode(secret.encode()).decode(), safe=""),
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
    ]
    for form in forms:
        assert redact(f"before {form} after {form}") == "before *** after ***"


@given(st.text(min_size=3), st.text(), st.text())
@example("+++", "+", "+")
@example("\\" * 40, "\\" * 39, "\\" * 500)
@example("- \\" * 10, "- \\" * 9, " \\" * 500)
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    hidden = Redactor([secret])(before + secret + after)
    assert secret not in hidden.replace("***", "\0") or secret in "***"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Redactor(["abc", "abc-def", "me:abc"])("abc-def me:abc abc") == "*** *** ***"


def test_a_secret_with_a_line_break_is_hidden_without_it() -> None:
    assert Redactor(["top-secret\n"])("value 'top-secret' or 'top-secret\\n'") == "value '***' or '***'"


@pytest.mark.parametrize(
    "seen", ["one two three", "one\r\ntwo\nthree", "one\\ntwo\\nthree", "one%0Atwo%0athree"]
)
def test_a_secret_of_several_lines_is_hidden_however_they_are_joined(seen: str) -> None:
    assert Redactor(["one\r\ntwo\nthree"])(seen) == "***"


def test_hiding_takes_no_longer_than_reading_the_text_a_few_times() -> None:
    redact = Redactor([" \\ \\ \n\n\n=+/key", "\\" * 30 + "key", "\t" * 30 + "key", "%" * 30 + "key"])
    for hostile in (" ", "\\", "\n\\", "%", "+"):  # what many forms of the secret could begin with
        assert redact(hostile * 100_000) == hostile * 100_000


def test_what_is_too_short_to_be_a_secret_does_not_black_out_texts() -> None:
    assert Redactor(["", "a", "ab"])("abacus") == "abacus"


def test_threads_may_add_secrets_and_count() -> None:
    redact, meter = Redactor(), Meter()

    def work(me: int) -> None:
        for n in range(20):
            redact.hide(f"secret-{me}-{n}")
        for _ in range(1000):
            meter.add(requests=1, rows=2, size=3)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redact(" ".join(f"secret-{me}-{n}" for me in range(4) for n in range(20))) == " ".join(
        ["***"] * 80
    )
    assert (meter.requests, meter.rows, meter.bytes) == (4000, 8000, 12000)
