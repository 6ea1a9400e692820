"""A hostile or broken API, or file, harms nothing: it is an error in bounded time and memory."""

from __future__ import annotations

import pytest

from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.spec import ApiFileError, parse_text
from analytics_dagster_tests.reading.helpers import Lab
from analytics_dagster_tests.security.servers import Answer, Received, serving


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "x-compress", "BR"])
def test_only_encodings_that_were_asked_for_are_unpacked(encoding: str) -> None:
    """A few bytes of brotli unpack to all memory, with a package for it that knows no limit."""

    def packed(_: Received) -> Answer:
        return 200, {"Content-Encoding": encoding}, b"\x00" * 1000

    with serving(packed) as server:
        lab = Lab(server.url)
        with pytest.raises(
            RefusedError, match=f"content encoding `{encoding}`, and gzip or deflate was asked"
        ):
            lab.rows("/rows", "single_page")
        assert [request.headers["accept-encoding"] for request in server.received] == ["gzip, deflate"]


NINE = ", ".join(["*a{0}"] * 9)
LAUGHS = "\n".join(
    ["a: &a0 [ha, ha, ha]", *(f"a{n}: &a{n} [{NINE.format(n - 1)}]" for n in range(1, 12)), "name: api"]
)
MERGES = "\n".join(
    ["a: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [{NINE.format(n - 1)}]}}" for n in range(1, 12)), "name: api"]
)


@pytest.mark.parametrize("size", ["'" + "1" * 100_000 + "'", "1e999999999", "'" + "1" * 400 + " GB'"])
def test_sizes_without_end_are_mistakes_in_the_file(size: str) -> None:
    with pytest.raises(ApiFileError, match=r"client\.max_response_bytes: expected a size"):
        parse_text(
            f"client: {{base_url: 'https://api.example.com', max_response_bytes: {size}}}\n", "api.yaml"
        )


@pytest.mark.parametrize("text", [LAUGHS, MERGES])
def test_aliases_that_multiply_are_refused(text: str) -> None:
    with pytest.raises(ApiFileError, match="more than 100000 values; aliases multiply"):
        parse_text(text, "api.yaml")


@pytest.mark.parametrize(
    "number", ["1" * 100_000, "-" + "1" * 100_000, "0x" + "f" * 100_000, "0o" + "7" * 100_000]
)
@pytest.mark.parametrize(
    "place",
    [
        "version: N",
        "limits: {requests: N}",
        "client: {base_url: 'https://api.example.com', max_response_bytes: N}",
        "retry: {max_retries: N}",
        "rerun: {delays: [N]}",
        "resources: [{name: rows, endpoint: {path: rows, params: {n: N}}}]",
        "resources: [{name: rows, endpoint: {path: rows, paginator: {type: offset, limit: N}}}]",
    ],
)
def test_numbers_without_end_are_mistakes_in_the_file(number: str, place: str) -> None:
    with pytest.raises(ApiFileError) as caught:
        parse_text(place.replace("N", number) + "\n", "api.yaml")
    assert "more than 100 digits" in str(caught.value)
    assert len(str(caught.value)) < 10_000
