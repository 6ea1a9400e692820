"""`check` and `preview`: what works, what does not, and what would be loaded, with nothing written."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses

from analytics_dagster.sandbox import RunningSandbox
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, write_api
from analytics_dagster_tests.reading.helpers import Answer, Asked, raw_server, served, served_whole

RESOURCE = """\
client:
  base_url: {url}
  auth: {{type: api_key, name: X-API-Key, api_key: {key}, location: header}}
resources:
  - name: things
    primary_key: {primary_key}
    write_disposition: merge
    endpoint:
      path: {path}
      data_selector: {selector}
      paginator: {{type: offset, limit: 10}}
      incremental: {{cursor_path: {cursor}, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: 2024-01-01}}
"""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)
    left = [path for path in Path().iterdir() if path.name != "apis"]
    assert left == [], "check and preview write nothing"


def write_things(sandbox: RunningSandbox, **said: str) -> None:
    usual = {
        "url": sandbox.url,
        "key": sandbox.settings.api_key,
        "path": "/v1/events",
        "primary_key": "id",
        "selector": "data",
        "cursor": "created_at",
    }
    write_api(RESOURCE.format(**{**usual, **said}))


def test_check_asks_for_two_pages_and_says_what_works(cli: Cli, sandbox: RunningSandbox) -> None:
    write_things(sandbox)
    done = cli("check", "acme")
    assert (done.code, done.err) == (0, "")
    assert [line.strip() for line in done.out.splitlines()[1:]] == [
        "things",
        "✓ GET /v1/events answers, credentials accepted",
        "✓ data_selector `data` matches",
        "✓ 10 rows on the first page of the day 2024-01-01",  # yesterday has none
        "✓ primary key `id` is in every row, and unique",
        "✓ cursor `created_at` can be read",
        "✓ 10 other rows on the second page",
        "✓ total `total` is 97",
        "✓ the API filters by `created_at`: a later bound leaves older rows out",
    ]
    assert len(sandbox.requests.list("/v1/events")) == 4


@pytest.mark.parametrize(
    ("said", "works", "does_not"),
    [
        ({"path": "/v1/evnts"}, "", "there is no resource 'evnts'"),
        ({"key": "a-wrong-key"}, "", "401 Unauthorized"),
        ({"selector": "dta"}, "answers, credentials accepted", "✗ data_selector `dta` matches nothing"),
        ({"primary_key": "uid"}, "✓ cursor", "✗ primary key `uid` is missing or null in 10 of 10 rows"),
        ({"cursor": "made_at"}, "✓ primary key", "✗ The cursor `made_at` is not in a row"),
        ({"cursor": "name"}, "✓ primary key", "The cursor `name` of a row cannot be read"),
    ],
)
def test_check_says_what_does_not_work_and_what_still_does(
    cli: Cli, sandbox: RunningSandbox, said: dict[str, str], works: str, does_not: str
) -> None:
    write_things(sandbox, **said)
    done = cli("check", "acme")
    assert done.code == 1
    assert done.err == "1 of 1 resources do not work: things\n"
    assert works in done.out
    assert does_not in done.out
    assert "a-wrong-key" not in done.out


def test_check_names_fields_that_the_api_has(cli: Cli, sandbox: RunningSandbox) -> None:
    write_things(sandbox, primary_key="zzz", cursor="created_at, format: date")
    assert re.search(
        r"`zzz` is missing .* the first row has (?!.*_cursor).*created_at", cli("check", "acme").out
    )


def test_check_of_the_sample_api_needs_nothing_set_up(cli: Cli) -> None:
    for name in ("sandbox", "sandbox_oauth2"):
        done = cli("check", name)
        assert done.code == 0
        assert "✗" not in done.out


def test_check_asks_for_the_children_of_one_parent_only(cli: Cli, sandbox: RunningSandbox) -> None:
    write_api(f"""\
client:
  base_url: {sandbox.url}/v1
  auth: {{type: http_basic, username: sandbox-user, password: sandbox-password}}
resource_defaults: {{primary_key: id, write_disposition: replace, endpoint: {{data_selector: data}}}}
resources:
  - name: users
    endpoint: {{path: users, paginator: {{type: offset, limit: 10}}}}
  - name: sessions
    endpoint:
      path: "sessions?created_after={{resources.users.created_at}}"
      paginator: {{type: offset, limit: 10}}
  - name: sites
    primary_key: [_for_each_since, id]
    for_each: {{since: ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]}}
    include_from_parent: [for_each.since]
    endpoint:
      path: orders
      params: {{created_after: "{{for_each.since}}"}}
      paginator: {{type: offset, limit: 10}}
""")
    done = cli("check", "acme", "--resource", "sessions")
    assert "10 rows on the first page, asked for the first row of `users`" in done.out
    assert done.code == 0
    assert len(sandbox.requests.list("/v1/sessions")) == 2
    done = cli("check", "acme", "--resource", "sites")
    assert "primary key `_for_each_since` is `for_each.since`, which the rows are asked for with" in done.out
    assert (done.code, len(sandbox.requests.list("/v1/orders"))) == (0, 2)


@pytest.mark.parametrize(
    ("sizes", "where", "others"),
    [
        ([3], "✓ 3 rows on the first page, asked for the first row of `groups`", False),
        ([0, 0, 3, 3], "✓ 3 rows on the first page, asked for row 3 of `groups`", False),
        ([0, 13], "✓ 10 rows on the first page, asked for row 2 of `groups`", True),
        ([0, 0], "– 0 rows on the first page, asked for each of the first 2 rows of `groups`", False),
        ([0] * 10 + [3], "– 0 rows on the first page, asked for each of the first 10 rows of", False),
    ],
)
def test_check_looks_for_a_parent_with_children(cli: Cli, sizes: list[int], where: str, others: bool) -> None:
    asked: list[dict[str, str]] = []

    def answer(request: Asked) -> Answer:
        if request.path == "/groups":
            return [{"id": number} for number in range(len(sizes))], {}
        asked.append(request.query)
        rows = [{"id": number} for number in range(sizes[int(request.path.rpartition("/")[2])])]
        start = int(request.query["offset"])
        return {"data": rows[start : start + 10], "total": len(rows)}, {}

    with served_whole(answer) as url:
        write_api(f"""\
client: {{base_url: "{url}"}}
resource_defaults: {{write_disposition: replace}}
resources:
  - {{name: groups, endpoint: {{data_selector: $, paginator: single_page}}}}
  - name: members
    include_from_parent: [id]
    endpoint:
      path: "members/{{resources.groups.id}}"
      data_selector: data
      paginator: {{type: offset, limit: 10}}
""")
        done = cli("check", "acme", "-r", "members")
    assert (done.code, done.err) == (0, "")
    assert where in done.out
    assert ("other rows on the second page" in done.out) is others
    assert len(asked) <= 12


def test_check_asks_the_parent_that_has_children_whether_the_api_filters(cli: Cli) -> None:
    rows = [{"id": day, "at": f"2024-01-0{day}"} for day in (1, 2, 3)]

    def answer(request: Asked) -> Answer:
        if request.path == "/groups":
            return [{"id": 1}, {"id": 2}], {}
        return rows if request.path == "/members/2" else [], {}

    with served_whole(answer) as url:
        write_api(f"""\
client: {{base_url: "{url}"}}
resource_defaults: {{write_disposition: replace, endpoint: {{data_selector: $, paginator: single_page}}}}
resources:
  - groups
  - name: members
    write_disposition: merge
    primary_key: id
    include_from_parent: [id]
    endpoint:
      path: "members/{{resources.groups.id}}"
      incremental: {{cursor_path: at, format: date, start_param: since, initial_value: 2024-01-01}}
""")
        done = cli("check", "acme", "-r", "members")
    assert "3 rows on the first page, asked for row 2 of `groups`" in done.out
    assert "✗ asked for rows from 2024-01-03T00:00:00Z on, 2 of 3 are older" in done.out


def test_check_misses_no_total_where_the_api_says_whether_more_comes(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources:
  - name: things
    write_disposition: replace
    endpoint: {data_selector: data, paginator: {type: page_number, has_more_path: more}}
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": [{"id": 1}], "more": True})
        api.get("https://api.example.com/things", json={"data": [{"id": 2}], "more": True})
        done = cli("check", "acme")
    assert done.code == 0
    assert "✓ 1 other rows on the second page" in done.out
    assert "total" not in done.out


@pytest.mark.parametrize(
    ("paginator", "answer", "warning"),
    [
        ("auto", {"total": 2}, "– the answer names no next page"),
        ("auto", {"next": "https://api.example.com/things?page=2"}, ""),
        ("single_page", {"next": "https://api.example.com/things?page=2"}, ""),
        (
            "{type: json_link, next_url_path: nxt}",
            {"next": "/things?page=2"},
            "– the answer names no next page",
        ),
        ("{type: json_link, next_url_path: next}", {"next": "/things?page=2"}, ""),
        (
            "{type: cursor, cursor_path: more, cursor_param: c}",
            {"next": "x"},
            "– the answer names no next page",
        ),
    ],
)
def test_check_says_where_pages_may_be_missed(cli: Cli, paginator: str, answer: Any, warning: str) -> None:
    write_api(f"""\
client: {{base_url: "https://api.example.com", paginator: {paginator}}}
resources: [{{name: things, write_disposition: replace}}]
""")
    with responses.RequestsMock(assert_all_requests_are_fired=False) as api:
        api.get("https://api.example.com/things", json={"data": [{"id": 1}, {"id": 2}]} | answer)
        api.get("https://api.example.com/things", json={"data": [{"id": 3}]})
        done = cli("check", "acme")
    assert done.code == 0
    assert (warning or "✓") in done.out
    assert bool(warning) == ("next page" in done.out)


def test_check_finds_out_that_no_other_page_comes(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources:
  - name: things
    write_disposition: replace
    endpoint: {data_selector: data, paginator: {type: offset, limit: 2, offset_param: skip}}
""")
    with responses.RequestsMock() as api:  # which does not know `skip`
        api.get("https://api.example.com/things", json={"data": [{"id": 1}, {"id": 2}]})
        done = cli("check", "acme")
    assert done.code == 1
    assert "✓ 2 rows on the first page" in done.out
    assert "✗ " in done.out
    assert "Check the parameters' names" in done.out


def test_check_says_that_a_key_is_none(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources: [{name: things, primary_key: [kind, day], write_disposition: merge}]
""")
    row = {"kind": 1, "day": "2024-01-01"}
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json=[{**row, "site": site} for site in ("a", "b", "c")])
        done = cli("check", "acme")
    assert done.code == 1
    assert "✗ primary key `kind, day` is that of an earlier row in 2 of 3 rows" in done.out


@pytest.mark.parametrize(
    ("cursor", "keeps", "said"),
    [
        ("", True, "✓ the API filters by `at`: a later bound leaves older rows out"),
        ("", False, "on, 2 of 3 are older: the API does not filter by `at`"),
        (
            "start: inclusive",
            True,
            "✗ asked for rows from 2024-02-07T00:00:00Z on, those of that very instant",
        ),
        ("start: exclusive", True, "✓ the API filters by `at`: a later bound leaves older rows out"),
        ("format: epoch_ms", True, "is 1970-01-20, as format: epoch_ms reads it"),
        ("end_param: until", False, "1 of 3 rows are outside 2024-01-01"),
    ],
)
def test_check_sees_whether_the_api_keeps_to_bounds(cli: Cli, cursor: str, keeps: bool, said: str) -> None:
    has_windows = "end_param" in cursor
    first = cursor if has_windows else f'initial_value: "2024-01-01T00:00:00Z", {cursor}'
    write_api(f"""\
client: {{base_url: "https://api.example.com"}}
resources:
  - name: things
    primary_key: id
    write_disposition: merge
    endpoint:
      data_selector: data
      paginator: single_page
      incremental: {{cursor_path: at, start_param: since, {first}}}
    {"partitions: {every: month, start: 2024-01-01}" * has_windows}
""")
    times: list[Any] = ["2024-01-05T00:00:00Z", "2024-01-06T00:00:00Z", "2024-02-07T00:00:00Z"]
    if "clusive" in cursor:  # which the API compares as texts
        times = [f"{at[:-1]}.000Z" for at in times]
    if "epoch_ms" in cursor:
        times = [1_704_412_800, 1_704_499_200]

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        since = request.params["since"]
        rows = [{"id": at, "at": at} for at in times if not keeps or isinstance(at, int) or at >= since]
        is_late = has_windows and not since.startswith("2024-01")
        return 200, {}, json.dumps({"data": [] if is_late else rows})

    with responses.RequestsMock() as api:
        api.add_callback("GET", "https://api.example.com/things", answer)
        done = cli("check", "acme")
    assert said in done.out
    assert done.code == ("✓" not in said)


@pytest.mark.parametrize("command", ["check", "certify"])
@pytest.mark.parametrize("how", [(", step: 168h", ""), ("", "{status_code: 400, action: halve}")])
def test_no_more_is_asked_for_than_the_api_takes(cli: Cli, command: str, how: tuple[str, str]) -> None:
    def answer(query: dict[str, str]) -> Answer:
        since, until = (datetime.fromisoformat(query[name]) for name in ("since", "until"))
        if until - since > timedelta(days=7):
            return {"error": "a week at most"}, {":status": "400"}
        now, noon = datetime.now(UTC), since.replace(hour=12, minute=0, second=0, microsecond=0)
        times = [noon + timedelta(days=day) for day in range(9)]
        return {
            "data": [{"id": str(t), "t": t.isoformat()} for t in times if since <= t < min(until, now)]
        }, {}

    with served(answer) as url:
        write_api(f"""\
            client: {{base_url: {url}}}
            resources:
              - name: things
                primary_key: id
                write_disposition: merge
                partitions: {{every: month, start: 2024-01-01}}
                endpoint:
                  path: things
                  data_selector: data
                  paginator: single_page
                  incremental: {{cursor_path: t, start_param: since, end_param: until{how[0]}}}
                  response_actions: [{how[1]}]
        """)
        done = cli(command, "acme")
    assert "✗" not in done.out.replace("✗ wrong credentials", "")
    assert "rows on" in done.out


@pytest.mark.parametrize(("end", "said"), [(", end_param: rcend", True), ("", False)])
def test_check_names_swapped_bounds_where_windows_are_empty(cli: Cli, end: str, *, said: bool) -> None:
    write_api(f"""\
client: {{base_url: "https://api.example.com"}}
resources:
  - name: things
    primary_key: id
    write_disposition: merge
    endpoint:
      data_selector: data
      incremental: {{cursor_path: at, initial_value: 2024-01-01, start_param: rcstart{end}}}
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": []})
        done = cli("check", "acme")
    assert "– 0 rows on the first page" in done.out
    assert ("may begin at the later bound" in done.out) == said


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            "hash: {fields: [emial, id]}",
            "– hash names `emial`, which none of these rows has; did you mean `email`?",
        ),
        (
            'drop: [phnoe, "visits[*].ip"]',
            "– drop names `phnoe`, which none of these rows has; did you mean `phone`?",
        ),
        ('hash: {fields: [email, "visits[*].ip"]}, drop: [phone]', None),
    ],
)
def test_check_names_what_would_not_be_hidden(cli: Cli, records: str, said: str | None) -> None:
    write_api(f"""\
client: {{base_url: "https://api.example.com"}}
resources: [{{name: things, write_disposition: replace, records: {{{records}}}}}]
""")
    row = {"id": 1, "email": "ann@example.com", "phone": "1", "visits": [{"ip": "::1"}]}
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": [row, {**row, "id": 2}]})
        done = cli("check", "acme")
    found = [line.strip() for line in done.out.splitlines() if " names `" in line]
    assert found == ([said] if said else [])


def test_check_says_that_rows_do_not_fit_what_hides_them(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources: [{name: things, write_disposition: replace, records: {hash: {fields: [email]}, drop: [phone]}}]
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": ["ann", "bob"]})
        done = cli("check", "acme")
    assert "does not fit `records`" in done.out
    assert done.code == 1


def test_check_finds_out_that_the_first_page_is_not_all(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources: [{name: things, write_disposition: replace}]
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": [{"id": 1}, {"id": 2}], "total": 240})
        done = cli("check", "acme")
    assert done.code == 1
    assert "✗ The pages of https://api.example.com/things are not whole: the API states 240 rows" in done.out


def test_check_counts_the_rows_of_a_page_that_is_not_whole(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources: [{name: things, write_disposition: replace, endpoint: {paginator: {type: cursor}}}]
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json={"data": [{"id": 1}, {"id": 2}], "total": 240})
        done = cli("check", "acme")
    assert "✓ 2 rows on the first page" in done.out
    assert "sent 2; the paginator finds no next page" in done.out


@pytest.mark.parametrize("command", [("check", "acme"), ("preview", "acme", "things")])
def test_a_wait_is_said_while_it_lasts(cli: Cli, command: tuple[str, ...]) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
retry: {backoff_factor: 0}
resources: [{name: things, write_disposition: replace}]
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", status=503)
        api.get("https://api.example.com/things", json=[{"id": 1}])
        done = cli(*command)
    assert done.code == 0, done.err
    assert "503 Service Unavailable; trying again in 0.0 s (1 of 3)" in done.err


@pytest.mark.parametrize(
    ("how", "code", "finding"),
    [
        ("include", 0, "– cursor `changed_at` is missing or null in 10 of 10 rows, which are loaded all the"),
        ("exclude", 1, "✗ cursor `changed_at` is missing or null in 10 of 10 rows, which are left out"),
    ],
)
def test_check_tells_of_rows_without_their_cursor(
    cli: Cli, sandbox: RunningSandbox, how: str, code: int, finding: str
) -> None:
    write_things(sandbox, cursor=f"changed_at, on_cursor_value_missing: {how}")
    done = cli("check", "acme")
    assert (done.code, "can be read" in done.out) == (code, False)
    assert finding in done.out


def test_check_says_that_no_paginator_is_given(cli: Cli) -> None:
    write_api("""\
client: {base_url: "https://api.example.com"}
resources: [{name: things, write_disposition: replace}]
""")
    with responses.RequestsMock() as api:
        api.get("https://api.example.com/things", json=[{"id": 1}, {"id": 2}])
        assert "– no paginator is given, and the answer names no next page" in cli("check", "acme").out


def test_preview_shows_rows_columns_and_types(cli: Cli, sandbox: RunningSandbox) -> None:
    write_things(sandbox)
    done = cli("preview", "acme", "things", "--partition", "2024-01-05", "--rows", "2")
    assert (done.code, done.err) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    assert lines["column"] == ["type", "row", "1", "row", "2"]
    assert lines["id"][:2] == ["text", "key"]
    assert lines["id"][2].startswith("evt_")
    assert lines["created_at"][:2] == ["timestamp", "2024-01-05T00:00:00.000Z"]
    assert lines["properties__screen_width"][0] == "bigint"
    assert len(sandbox.requests.list("/v1/events")) == 1


def test_preview_without_a_window_looks_for_one_with_rows(cli: Cli, sandbox: RunningSandbox) -> None:
    write_things(sandbox)
    assert "acme/things of 2024-01-01" in cli("preview", "acme", "things").out
    write_things(sandbox, path="/v1/events?updated_before=2000-01-01T00:00:00Z")
    done = cli("preview", "acme", "things")
    assert done.code == 1
    assert "`things` has no rows in its last and first windows; name others with --from and --to" in done.err


def test_check_and_preview_see_rows_as_records_makes_them(cli: Cli, sandbox: RunningSandbox) -> None:
    records = "{fields: {uid: id, made: created_at}, drop: [id, created_at], hash: [uid]}"
    write_things(sandbox, primary_key=f"uid\n    records: {records}", cursor="made")
    checked = cli("check", "acme")
    assert (checked.code, checked.err) == (0, "")
    assert "✓ primary key `uid` is in every row" in checked.out
    assert "✓ cursor `made` can be read" in checked.out
    shown = cli("preview", "acme", "things")
    assert shown.code == 0
    assert "made" in shown.out
    assert "created_at" not in shown.out


EXPORT = """\
client: {{base_url: "{url}"}}
resources:
  - name: things
    primary_key: id
    write_disposition: merge
    endpoint: {{response: {{format: {format}}}}}
"""


@pytest.mark.parametrize("packed", [False, True])
def test_only_the_beginning_of_an_export_is_read(cli: Cli, *, packed: bool) -> None:
    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        pack = zlib.compressobj(0, zlib.DEFLATED, 31)  # as gzip, of any length
        for number in itertools.count():
            lines = b"".join(b'{"id": %d}\n' % (100 * number + place) for place in range(100))
            yield pack.compress(lines) if packed else lines

    with raw_server([endless]) as url:
        write_api(EXPORT.format(url=url, format="[gzip, jsonl]" if packed else "jsonl"))
        checked = cli("check", "acme")
        seen = cli("preview", "acme", "things", "--rows", "2")
    assert (checked.code, checked.err) == (0, "")
    lines = [line.strip() for line in checked.out.splitlines()[2:]]
    assert re.fullmatch(r"✓ \d\d,\d{3} rows at the beginning", lines.pop(1))
    assert lines == ["✓ GET things answers", "✓ primary key `id` is in every row, and unique"]
    assert (seen.code, seen.err) == (0, "")
    assert "bigint" in seen.out
