"""Children of children, and lists of values in place of a parent: all rows of all of them, each once."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from analytics_dagster.loading.arrival import count_arrived
from analytics_dagster.loading.load import prepare_load
from analytics_dagster.loading.verify import verify
from analytics_dagster.reading.errors import ContractError, RefusedError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.security.servers import Answer, Received, serving

FILE = """\
name: NAME
client: {base_url: "URL/v1"}
retry: {max_retries: 0}
resource_defaults:
  write_disposition: merge
  primary_key: id
  endpoint: {data_selector: data, paginator: {type: offset, limit: 2}}
resources:
- name: accounts
  primary_key: null
  write_disposition: replace
  endpoint: {path: accounts}
- name: projects
  endpoint: {path: "accounts/{resources.accounts.id!e}/projects"}
- name: items
  primary_key: [_accounts_id, _projects_id, site, id]
  include_from_parent: [id, accounts.id]
  records: {fields: {owner: {parent: accounts.owner.name}, site: {parent: for_each.site}}}
  for_each: {site: [a, "b c"]}
  endpoint:
    path: "accounts/{resources.accounts.id!e}/projects/{resources.projects.id!e}/items"
    params: {site: "{for_each.site}"}
    response_actions: [{status_code: 404, action: ignore}]
- name: users
  primary_key: id
  endpoint: {path: "users/{resources.accounts.owner.id}"}
"""
ACCOUNTS = ["a/b", "50%", "ü ?#", "a%2Fb", "{x}"]
PROJECTS = ["p", "q/..", "..."]


class Accounts:
    """An API in which each account has the same projects, and each of these the same items.

    The last account is listed twice, one without an id, and a project of the first one is gone.
    """

    def __init__(self) -> None:
        self.accounts: list[Any] = [{"id": key, "owner": {"name": f"o{key}"}} for key in ACCOUNTS]
        self.accounts += [{"id": None, "owner": {"name": "nobody"}}, {**self.accounts[-1], "n": 2}]
        self.refused = ""

    def __call__(self, request: Received) -> Answer:
        url = urlsplit(request.path)
        if self.refused and self.refused in url.path:
            return 403, {}, {"error": "not yours"}
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        rows = self.rows([unquote(part) for part in url.path.split("/")][2:], query.get("site"))
        if rows is None:
            return 404, {}, {"error": "gone"}
        offset = int(query["offset"])
        return 200, {}, {"data": rows[offset : offset + 2]}

    def rows(self, path: list[str], site: str | None) -> list[Any] | None:
        match path:
            case ["accounts"]:
                return self.accounts
            case ["accounts", account, "projects"] if account in ACCOUNTS:
                return [{"id": key} for key in PROJECTS]
            case ["accounts", account, "projects", project, "items"] if account in ACCOUNTS:
                if (account, project) == ("50%", "q/.."):
                    return None
                assert project in PROJECTS
                return [{"id": number, "text": f"{account} {project} {site}"} for number in self.items(site)]
            case _:
                raise AssertionError(path)

    def items(self, site: str | None) -> range:
        return range(3) if site == "a" else range(3, 5)

    def truth(self) -> list[tuple[Any, ...]]:
        return sorted(
            (a, p, number, f"{a} {p} {site}", f"o{a}", site)
            for a in ACCOUNTS
            for p in PROJECTS
            for site in ("a", "b c")
            for number in self.items(site)
            if (a, p) != ("50%", "q/..")
        )


def stored(store: Store) -> list[tuple[Any, ...]]:
    return sorted(store.fetch("SELECT _accounts_id, _projects_id, id, text, owner, site FROM {}.items"))


def file_of(url: str, name: str, of_accounts: str = 'accounts.id!e}/projects"}') -> ApiFile:
    text = FILE.replace("URL", url).replace("NAME", name)
    return parse_text(text.replace('accounts.id!e}/projects"}', of_accounts), "api.yaml")


def test_the_children_of_all_children_arrive_once_with_what_they_were_asked_for(
    duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    api = Accounts()
    with serving(api) as server:
        file = file_of(server.url, duckdb_store.api)
        with prepare_load(file, "items", destination=duckdb_store.destination) as prepared:
            prepared.pipeline.run(prepared.source, **prepared.options).raise_on_failed_jobs()
            assert count_arrived(prepared, [], full_refresh=False).problem is None
        assert stored(duckdb_store) == api.truth()
        asked = [request.path for request in server.received]
        assert len({*asked}) == len(asked)  # an account that is listed twice is asked for once
        found = verify(file, "items", destination=duckdb_store.destination)
    assert (found.missing, found.extra, found.different) == (0, 0, 0)
    assert "nothing in `id`: `projects` is not asked for them" in caplog.text


def test_what_goes_wrong_for_one_parent_names_it_and_nothing_is_written(duckdb_store: Store) -> None:
    api = Accounts()
    with serving(api) as server:
        file = file_of(server.url, duckdb_store.api)
        with pytest.raises(ContractError, match=r"row of `accounts` has no field `owner\.id`.*`users`"):
            load_into(duckdb_store, file, "users")
        api.refused = "q%2F"
        with pytest.raises(RefusedError, match=r"for `accounts\.id` = 'a/b', `projects\.id` = 'q/\.\.'.*403"):
            load_into(duckdb_store, file, "items")
        api.refused = ""
        api.accounts.append({"id": ".."})
        with pytest.raises(ContractError, match=r"row of `accounts` has `\.\.` in `id`"):
            load_into(duckdb_store, file, "items")
    assert duckdb_store.destination.is_missing()


def test_a_slash_that_leads_to_another_place_is_named(duckdb_store: Store) -> None:
    api = Accounts()
    api.refused = "a/b"
    with serving(api) as server:
        file = file_of(server.url, duckdb_store.api, of_accounts='accounts.id}/projects"}')
        said = r"'a/b', whose `/` parts the path \(`\{resources\.accounts\.id!e\}` encodes it\): GET"
        with pytest.raises(RefusedError, match=said):
            load_into(duckdb_store, file, "projects")


WINDOWED = """\
name: NAME
client: {base_url: "URL"}
resources:
- name: visits
  write_disposition: append
  partitions: {every: day, start: 2024-01-01}
  for_each: {site: [a, b], device: [1, 2]}
  include_from_parent: [site]
  endpoint:
    path: "{for_each.site}/visits"
    method: POST
    json: {device: "{for_each.device}"}
    data_selector: data
    paginator: single_page
    incremental: {cursor_path: at, start_param: since, end_param: until}
"""


def test_a_window_has_the_rows_of_each_value_and_loses_those_that_are_gone(duckdb_store: Store) -> None:
    gone: set[str] = set()

    def api(request: Received) -> Answer:
        url = urlsplit(request.path)
        since, site = parse_qs(url.query)["since"][0], url.path.split("/")[1]
        device: int = json.loads(request.body)["device"]
        rows = [{"at": since, "text": f"{site}{device + 0}"}] if site not in gone else []
        return 200, {}, {"data": rows}

    with serving(api) as server:
        file = parse_text(WINDOWED.replace("URL", server.url).replace("NAME", duckdb_store.api), "api.yaml")
        for number in (1, 2):
            load_into(duckdb_store, file, "visits", day(number))
        gone.add("b")
        load_into(duckdb_store, file, "visits", day(1))
        query = 'SELECT DAY("at"), _for_each_site, text FROM {}.visits ORDER BY 1, 3'
        first = [(1, "a", "a1"), (1, "a", "a2")]
        second = [(2, site, f"{site}{device}") for site in "ab" for device in (1, 2)]
        assert duckdb_store.fetch(query) == [*first, *second]
        gone.add("a")
        load_into(duckdb_store, file, "visits", day(1))
        assert duckdb_store.fetch(query) == second
