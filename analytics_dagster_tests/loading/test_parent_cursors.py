"""A child's cursor is kept for each parent: no row of one is lost behind the newest row of another."""

from __future__ import annotations

import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from analytics_dagster.loading.state import set_cursor
from analytics_dagster.loading.verify import verify
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import LOADING, Store, day, load_into, run_python
from analytics_dagster_tests.security.servers import Answer, Received, Server, serving

FILE = """\
name: NAME
client: {base_url: "URL"}
limits: {concurrency: 2}
resource_defaults:
  write_disposition: merge
  primary_key: id
  endpoint: {data_selector: data, paginator: single_page}
resources:
- name: teams
- name: notes
  primary_key: [_teams_id, id]
  include_from_parent: [id]
  endpoint:
    path: "teams/{resources.teams.id}/notes"
    incremental: {cursor_path: at, initial_value: 2024-01-01, start_param: since, lag: 60}
"""
LAG = timedelta(minutes=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


class Notes:
    """An API with notes of teams, each with the time at which it came."""

    def __init__(self) -> None:
        self.notes: dict[str, list[dict[str, Any]]] = {}
        self.asked: dict[str, datetime] = {}
        self.killed: subprocess.Popen[str] | None = None

    def add(self, team: str, *days: int) -> None:
        for date in days:
            notes = self.notes.setdefault(team, [])
            notes.append({"id": len(notes), "at": f"2024-01-{date:02}T12:00:00Z"})

    def __call__(self, request: Received) -> Answer:
        url = urlsplit(request.path)
        match url.path.split("/")[1:]:
            case ["teams"]:
                return 200, {}, {"data": [{"id": team} for team in self.notes]}
            case ["teams", team, "notes"]:
                since = datetime.fromisoformat(parse_qs(url.query)["since"][0])
                self.asked[team] = since
                if self.killed and len(self.asked) == len(self.notes):
                    self.killed.kill()
                notes = self.notes[team]
                return 200, {}, {"data": [n for n in notes if datetime.fromisoformat(n["at"]) >= since]}
            case path:
                raise AssertionError(path)

    def truth(self) -> list[tuple[Any, ...]]:
        return sorted((team, note["id"], note["at"]) for team, notes in self.notes.items() for note in notes)

    def newest(self, team: str) -> datetime:
        return max(datetime.fromisoformat(note["at"]) for note in self.notes[team])


def file_of(server: Server, store: Store, text: str = FILE) -> ApiFile:
    return parse_text(text.replace("URL", server.url).replace("NAME", store.api), "api.yaml")


def stored(store: Store) -> list[tuple[Any, ...]]:
    rows = store.fetch('SELECT _teams_id, id, "at" FROM {}.notes')
    return sorted((team, key, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}") for team, key, at in rows)


def test_each_parent_goes_on_where_its_own_rows_end(store: Store) -> None:
    api = Notes()
    with serving(api) as server:
        file = file_of(server, store)
        api.add("a", 20, 25)
        api.add("b", 3)
        assert load_into(store, file, "notes").rows == 3
        api.add("b", 4)  # behind the newest of `a`, where one cursor for all would not look
        api.add("a", 26)
        api.add("new", 2)
        assert load_into(store, file, "notes").rows == 5
        assert stored(store) == api.truth()
        noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
        assert api.asked == {
            "a": noon.replace(day=25) - LAG,
            "b": noon.replace(day=3) - LAG,
            "new": FIRST,
        }
        gone = api.notes.pop("a")
        api.add("b", 5)
        assert load_into(store, file, "notes").rows == 3
        api.notes["a"] = gone
        api.add("a", 27)
        assert load_into(store, file, "notes").rows == 4
        assert stored(store) == api.truth()
        found = verify(file, "notes", destination=store.destination)
        assert (found.in_api, found.missing, found.extra, found.different) == (8, 0, 0, 0)


KILLED = (
    LOADING
    + """
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob
    if sys.argv[3] == "merge":
        SqlMergeFollowupJob.generate_sql = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    run("notes")
"""
)


@pytest.mark.parametrize("when", ["read", "merge"])
def test_a_load_that_is_killed_moves_no_parent_on(own_place: Path, duckdb_store: Store, when: str) -> None:
    api = Notes()
    with serving(api) as server:
        file = own_place / "cwd" / "api.yaml"
        file.write_text(FILE.replace("URL", server.url).replace("NAME", duckdb_store.api))
        for number, team in enumerate("abc"):
            api.add(team, 10 + number)
        load_into(duckdb_store, file_of(server, duckdb_store), "notes")
        before = stored(duckdb_store)
        for number, team in enumerate("cba"):
            api.add(team, 20 + number)
        api.asked.clear()
        process = run_python(KILLED, str(file), str(duckdb_store.destination.credentials), when)
        api.killed = process if when == "read" else None
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert stored(duckdb_store) == before
        api.killed = None
        load_into(duckdb_store, file_of(server, duckdb_store), "notes")
        assert stored(duckdb_store) == api.truth()


def test_a_person_moves_all_cursors_once_and_a_full_refresh_asks_for_everything(duckdb_store: Store) -> None:
    api = Notes()
    with serving(api) as server:
        file = file_of(server, duckdb_store)
        api.add("a", 2, 20)
        api.add("b", 3)
        load_into(duckdb_store, file, "notes")
        api.notes["a"].insert(1, {"id": 7, "at": "2024-01-05T00:00:00Z"})  # late
        set_cursor(file, file.api.resources[1], "2024-01-04", duckdb_store.destination)
        api.add("new", 2)
        load_into(duckdb_store, file, "notes")
        at = datetime(2024, 1, 4, tzinfo=UTC) - LAG
        assert api.asked == {"a": at, "b": at, "new": FIRST}
        assert stored(duckdb_store) == api.truth()
        load_into(duckdb_store, file, "notes")
        assert api.asked == {team: api.newest(team) - LAG for team in api.notes}
        load_into(duckdb_store, file, "notes", full_refresh=True)
        assert api.asked == dict.fromkeys(api.notes, FIRST)


def test_rows_of_windows_do_not_tell_where_to_go_on(duckdb_store: Store) -> None:
    api = Notes()
    api.add("a", 2, 20)
    windowed = FILE.replace("initial_value: 2024-01-01, start_param: since, lag: 60", "start_param: since")
    windowed = windowed.replace(
        "  include_from_parent", "  partitions: {every: day, start: 2024-01-01}\n  include_from_parent"
    )
    with serving(api) as server:
        load_into(duckdb_store, file_of(server, duckdb_store, windowed), "notes", day(20))
        assert load_into(duckdb_store, file_of(server, duckdb_store), "notes").rows == 2
    assert stored(duckdb_store) == api.truth()


def test_a_cursor_that_is_a_number_and_values_in_place_of_a_parent(duckdb_store: Store) -> None:
    rows = {"x": [1, 2], "y": [9]}
    asked: list[tuple[str, int]] = []

    def answer(request: Received) -> Answer:
        url = urlsplit(request.path)
        site, since = url.path.split("/")[1], int(parse_qs(url.query)["after"][0])
        asked.append((site, since))
        return 200, {}, [{"n": number} for number in rows[site] if number >= since]

    text = """\
name: NAME
client: {base_url: "URL"}
resources:
- name: hits
  write_disposition: merge
  primary_key: [site, n]
  for_each: {site: [x, y]}
  records: {fields: {site: {parent: site}}}
  endpoint:
    path: "{for_each.site}/hits"
    params: {after: "{incremental.start_value}"}
    paginator: single_page
    incremental: {cursor_path: n, initial_value: 0}
"""
    with serving(answer) as server:
        file = file_of(server, duckdb_store, text)
        load_into(duckdb_store, file, "hits")
        rows["x"].append(3)
        load_into(duckdb_store, file, "hits")
    assert sorted(asked) == [("x", 0), ("x", 2), ("y", 0), ("y", 9)]
    truth = sorted((site, number) for site, numbers in rows.items() for number in numbers)
    assert sorted(duckdb_store.fetch("SELECT site, n FROM {}.hits")) == truth
