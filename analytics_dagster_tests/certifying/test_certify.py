"""Each known flaw of an API is found by the check that is there for it, and a right API passes them all."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from analytics_dagster.certifying import access, certify, loads, paging, rows, windows
from analytics_dagster.certifying.verdicts import Check, Verdict
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.certifying.flawed import KEY, Flawed
from analytics_dagster_tests.cli_runner import Cli, fresh_cli, write_api
from analytics_dagster_tests.reading.helpers import Answer, Asked, served, served_whole

HEAD = """\
name: acme
client:
  base_url: {url}
  auth: {{type: api_key, name: api_key, api_key: "${{ACME_KEY}}", location: query}}
retry: {{max_retries: 1, backoff_factor: 0}}
resources:
"""
BY_OFFSET = "{type: offset, limit: 50}"
BY_TOKEN = "{type: cursor, cursor_path: next}"
WINDOWS = """\
  - name: events
    primary_key: id
    write_disposition: merge
    columns: {amount: {data_type: bigint}}
    endpoint:
      path: events
      data_selector: data
      params: {}
      paginator: {type: offset, limit: 50}
      incremental: {cursor_path: created_at, start_param: after, end_param: before}
    partitions: {every: day, start: 2024-03-30, timezone: Europe/Berlin}
"""
SINCE = """\
  - name: events
    primary_key: id
    write_disposition: merge
    endpoint:
      path: events
      data_selector: data
      paginator: {type: offset, limit: 50}
      incremental: {cursor_path: created_at, start_param: after, initial_value: "2024-03-29T00:00:00Z"}
"""
CHILDREN = """\
  - name: events
    primary_key: id
    write_disposition: replace
    endpoint:
      path: "events?parent={resources.parents.parent}"
      data_selector: data
      paginator: {type: offset, limit: 50}
  - name: parents
    selected: false
    write_disposition: replace
    endpoint:
      path: parents
      data_selector: data
      params: {offset: 0, limit: 2}
      paginator: {type: single_page, total_path: null}
"""
TOKENS = WINDOWS.replace("params: {}", "params: {limit: 50}").replace(BY_OFFSET, BY_TOKEN)


def text(url: str, resource: str) -> str:
    return HEAD.format(url=url) + resource


def certified(
    flaw: str, resource: str, checks: Sequence[Check], monkeypatch: pytest.MonkeyPatch
) -> list[Verdict]:
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.setattr(certify, "CHECKS", checks)
    with served(Flawed(flaw)) as url:
        file = parse_text(text(url, resource), "acme.yaml")
        return list(certify.certify(file, ["events"], 400))


def outcome(verdicts: list[Verdict], check: Check) -> str:
    return next(one.outcome for one in verdicts if one.check == check.title)


@pytest.mark.parametrize(
    "resource", [WINDOWS, TOKENS, SINCE, CHILDREN], ids=["windows", "tokens", "since", "children"]
)
def test_a_right_api_passes(resource: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = certified("", resource, tuple(certify.CHECKS), monkeypatch)
    assert [one for one in verdicts if one.outcome in {"failed", "not reached"}] == []
    passed = {one.check for one in verdicts if one.outcome == "passed"}
    for check in {
        WINDOWS: (
            windows.windows_add_up,
            windows.clocks_change,
            windows.bounds_mean_what_they_say,
            windows.empty_window,
            paging.past_the_end,
            paging.total_is_right,
            loads.numbers_arrive,
            loads.reload_is_idempotent,
        ),
        TOKENS: (paging.other_page_size, paging.order_is_stable),
        SINCE: (windows.goes_on, windows.far_future, windows.windows_add_up),
        CHILDREN: (paging.children_of_each, rows.keys_are_unique),
    }[resource]:
        assert check.title in passed


def test_a_part_of_a_long_history_is_one_that_has_rows_though_none_came_lately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = SINCE.replace("limit: 50", "limit: 5")
    verdicts = certified("", long, (rows.read, rows.has_rows, rows.keys_are_unique), monkeypatch)
    assert outcome(verdicts, rows.has_rows) == outcome(verdicts, rows.keys_are_unique) == "passed"
    read = next(one for one in verdicts if one.check == rows.read.title)
    assert "more than the budget" not in read.text


@pytest.mark.parametrize(
    ("flaw", "check"),
    [
        ("any credentials", access.wrong_credentials),
        ("two rows of one key", rows.keys_are_unique),
        ("a key is null", rows.keys_are_there),
        ("the cursor is missing", rows.cursor_is_there),
        ("doubles", rows.numbers_are_exact),
        ("JavaScript", rows.numbers_are_exact),
        ("large doubles", rows.numbers_are_exact),
        ("no end bound", windows.rows_are_inside),
        ("days only", windows.rows_are_inside),
        ("another clock", windows.rows_are_inside),
        ("rows of another year", windows.rows_are_inside),
        ("a day later", windows.rows_are_inside),
        ("whole seconds", windows.windows_add_up),
        ("60 rows a window", windows.windows_add_up),
        ("the start is exclusive", windows.windows_add_up),
        ("the start is exclusive", windows.bounds_mean_what_they_say),
        ("404 for no rows", windows.empty_window),
        ("a future start is none", windows.far_future),
        ("an hour lost as clocks change", windows.clocks_change),
        ("another order", paging.order_is_stable),
        ("values of the moment", paging.readings_agree),
        ("no end", paging.past_the_end),
        ("a wrong total", rows.read),
        ("refused for its rate", loads.no_429),
    ],
)
def test_a_flaw_is_found(flaw: str, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = certified(flaw, WINDOWS, list(dict.fromkeys((rows.read, check))), monkeypatch)
    assert outcome(verdicts, check) == "failed"


@pytest.mark.parametrize(
    ("flaw", "resource", "check"),
    [
        ("ties lost at pages", TOKENS, paging.other_page_size),
        ("a token always", TOKENS, rows.read),
        ("days only, for a start", SINCE, windows.goes_on),
        ("children of all", CHILDREN, paging.children_of_each),
        ("", TOKENS.replace("data_selector: data", "data_selector: errors"), rows.has_rows),
        (
            "",
            WINDOWS.replace("end_param: before}", "end_param: before, end: inclusive}"),
            windows.bounds_mean_what_they_say,
        ),
    ],
)
def test_a_flaw_of_pages_files_and_parents_is_found(
    flaw: str, resource: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(certified(flaw, resource, (check,), monkeypatch), check) == "failed"


def test_a_load_without_rows_has_no_types(monkeypatch: pytest.MonkeyPatch) -> None:
    [verdict] = certified("a day later", WINDOWS, (loads.types_hold,), monkeypatch)
    assert (verdict.outcome, verdict.text) == ("not applicable", "the load stored no row")


@pytest.mark.parametrize(
    ("flaw", "check"),
    [
        ("another type", loads.types_hold),
        ("values of the moment", loads.reload_is_idempotent),
        ("the key is in a row", loads.secrets_stay),
    ],
)
def test_a_flaw_that_a_load_shows_is_found(flaw: str, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = certified(flaw, WINDOWS, (check,), monkeypatch)
    assert outcome(verdicts, check) == "failed"
    assert KEY not in verdicts[0].text


def test_rows_without_a_key_are_shown_by_their_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    keyless = WINDOWS.replace("    primary_key: id\n", "").replace("merge", "append")
    long = f"{keyless}    records: {{fields: {{a: {{const: {'long' * 500}}}}}}}\n"
    [verdict] = certified("60 rows a window", long, (windows.windows_add_up,), monkeypatch)
    assert verdict.outcome == "failed"
    assert "…, {" in verdict.text
    assert "long" * 60 not in verdict.text


def test_a_load_that_stores_nothing_breaks_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (loads.types_hold, loads.numbers_arrive)
    verdicts = certified("rows of another year", WINDOWS, checks, monkeypatch)
    assert {(one.outcome, one.text) for one in verdicts} == {("not applicable", "the load stored no row")}


def test_a_list_that_is_open_to_all_says_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    others = SINCE.replace("events", "closed", 1).replace("data\n", "data\n      params: {closed: 1}\n")
    [verdict] = certified("one open list", WINDOWS + others, (access.wrong_credentials,), monkeypatch)
    assert (verdict.outcome, verdict.text) == (
        "passed",
        "refused with 401 for `closed`; `events` is open to all",
    )
    [verdict] = certified("any credentials", WINDOWS + others, (access.wrong_credentials,), monkeypatch)
    assert verdict.outcome == "failed"


def test_a_cap_of_pages_is_told_and_costs_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    [verdict] = certified("20 rows a page", WINDOWS, (paging.other_page_size,), monkeypatch)
    assert verdict.outcome == "passed"
    assert "pages have 20 at most, though 50 are asked for" in verdict.text


def test_a_page_that_holds_all_rows_shows_no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = WINDOWS.replace("limit: 50", "limit: 1000")
    [verdict] = certified("no total", wide, (paging.other_page_size,), monkeypatch)
    assert verdict.outcome == "passed"
    assert "at most" not in verdict.text


def test_large_measurements_are_no_rounded_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    [verdict] = certified("measurements", WINDOWS, (rows.numbers_are_exact,), monkeypatch)
    assert verdict.outcome == "not applicable"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    monkeypatch.setenv("ACME_KEY", KEY)
    yield from fresh_cli(capsys, monkeypatch)


def test_the_command_reports_keeps_to_the_budget_and_writes_nothing(cli: Cli) -> None:
    api = Flawed("any credentials")
    with served(api) as url:
        write_api(text(url, WINDOWS))
        done = cli("certify", "acme", "--requests", "20", "--json", "report.json")
    assert done.code == 1
    assert "✗ wrong credentials are refused" in done.out
    assert "? a load, loaded again, is what the API has: not reached within the budget" in done.out
    assert len(api.asked) == 20
    assert '"outcome": "failed"' in Path("report.json").read_text()
    assert KEY not in done.out + done.err + Path("report.json").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["apis", "report.json"]


@pytest.mark.parametrize(("actions", "found"), [("when: error, action: fail", "passed"), ("", "failed")])
def test_a_wrong_key_may_be_refused_as_the_file_says(
    actions: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = WINDOWS.replace(
        "params: {}", f"response_actions: [{{{actions}}}]" if actions else "params: {}"
    )
    check = access.wrong_credentials
    assert outcome(certified("200 for a wrong key", resource, (check,), monkeypatch), check) == found


def test_a_name_without_a_password_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.headers["Authorization"] != f"Basic {b64encode(f'{KEY}:'.encode()).decode()}":
            return {"error": "unknown key"}, {":status": "401"}
        return {"data": [{"id": 1, "created_at": "2024-03-30T12:00:00Z"}], "total": 1}, {}

    basic = 'type: http_basic, username: "${ACME_KEY}", password: ""'
    before = 'type: api_key, name: api_key, api_key: "${ACME_KEY}", location: query'
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.setattr(certify, "CHECKS", (access.templates_only, access.wrong_credentials))
    with served_whole(answer) as url:
        file = parse_text(text(url, WINDOWS).replace(before, basic), "acme.yaml")
        verdicts = list(certify.certify(file, ["events"], 400))
    assert [one.outcome for one in verdicts] == ["passed", "passed"]


def test_a_secret_that_is_no_template_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "CHECKS", (access.templates_only,))
    file = parse_text(text("https://api.example.com", WINDOWS).replace("${ACME_KEY}", KEY), "acme.yaml")
    [verdict] = certify.certify(file, ["events"], 400)
    assert verdict.outcome == "failed"
    assert KEY not in verdict.text


def test_the_id_of_a_client_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "CHECKS", (access.templates_only,))
    monkeypatch.setenv("ACME_KEY", KEY)
    before = 'type: api_key, name: api_key, api_key: "${ACME_KEY}", location: query'
    oauth2 = (
        'type: oauth2, access_token_url: "https://x.example/", client_id: acme, client_secret: "${ACME_KEY}"'
    )
    file = parse_text(text("https://api.example.com", WINDOWS).replace(before, oauth2), "acme.yaml")
    [verdict] = certify.certify(file, ["events"], 400)
    assert verdict.outcome == "passed", verdict.text


def test_of_a_login_the_name_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.setattr(certify, "CHECKS", (access.templates_only,))
    fields = "{strategy: local, identifier: me, email: me@example.com, password: PASSWORD}"
    login = f'login_url: "https://x.example/login", login: {fields}'
    before = 'type: api_key, name: api_key, api_key: "${ACME_KEY}", location: query'
    for password, outcome in (('"${ACME_KEY}"', "passed"), ("hunter2", "failed")):
        session = f"type: session, {login.replace('PASSWORD', password)}"
        file = parse_text(text("https://api.example.com", WINDOWS).replace(before, session), "acme.yaml")
        [verdict] = certify.certify(file, ["events"], 400)
        assert verdict.outcome == outcome, verdict.text
