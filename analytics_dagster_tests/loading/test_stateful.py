"""A stored cursor that many rows are compared with at once takes the rows that it takes one by one."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.loading.cursor import ReadCursor
from analytics_dagster.spec import parse_text

Row = dict[str, Any]
START = datetime(2024, 1, 1, tzinfo=UTC)


def resource(options: str) -> Any:
    return parse_text(
        f"""\
client: {{base_url: "https://x.y"}}
resources:
- name: rows
  write_disposition: append
  endpoint: {{incremental: {{cursor_path: t, initial_value: 2024-01-01{options}}}}}
""",
        "apis/sandbox.yaml",
    ).api.resources[0]


class Load:
    """One load's cursor, from the state of the load before.

    Args:
        state: The state.
        options: Further ones of `incremental`.
        key: The primary key, for the rows of the last instant that were loaded before.
        at_once: Whether rows may be compared at once.
    """

    def __init__(self, state: Row, options: Row, key: Any, *, at_once: bool) -> None:
        self._known: Any = dlt.sources.incremental("t", initial_value=START, primary_key=key, **options)
        self._known.resource_name = "rows"
        self._known._cached_state = state
        self._known._cached_state_start_value = state["last_value"]
        self._known.start_value = self._known._get_last_value()
        text = "".join(f", {name}: {value}" for name, value in options.items())
        self._step: Any = ReadCursor(resource(text), None, forget=False)
        wrapper = SimpleNamespace(incremental=self._known)
        self._step._pipe = SimpleNamespace(get_by_type=lambda _: wrapper)
        self._read = self._step if at_once else self._step._rows

    def take(self, page: list[Row]) -> list[int]:
        """The numbers of the rows of a page that are new."""
        return [row["n"] for row in self._known(self._read(deepcopy(page))) or ()]


TIMES = st.one_of(st.integers(-3, 8), st.sampled_from([0, 8]))
PAGES = st.lists(st.lists(TIMES, min_size=1, max_size=12), max_size=4)
OPTIONS: list[Row] = [{}, {"range_start": "open"}, {"lag": 2}, {"last_value_func": "min"}]


@given(
    loads=st.lists(PAGES, min_size=1, max_size=3),
    options=st.sampled_from(OPTIONS),
    key=st.sampled_from([None, "id", ()]),
    odd=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_rows_and_state_are_those_of_one_row_after_another(
    loads: list[list[list[int]]], options: Row, key: Any, *, odd: bool
) -> None:
    first: Row = {"initial_value": START, "last_value": START, "start_value": START, "unique_hashes": []}
    states = [first, deepcopy(first)]
    for pages in loads:
        ways = [
            Load(state, options, key, at_once=way) for way, state in zip((False, True), states, strict=True)
        ]
        for number, page in enumerate(pages):
            rows: list[Row] = [
                {"n": place, "id": place % 4, "t": (START + timedelta(seconds=time)).isoformat()}
                for place, time in enumerate(page)
            ]
            if odd and number % 2:
                rows[0]["t"] = rows[0]["t"].replace("T", "t")  # which Arrow reads in no way
            found, expected = (way.take(rows) for way in reversed(ways))
            assert found == expected
            one, other = ({**state, "unique_hashes": set(state["unique_hashes"])} for state in states)
            assert one == other


def test_only_few_rows_are_compared_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state: Row = {"initial_value": START, "last_value": START, "start_value": START, "unique_hashes": []}
    load = Load(state, {}, None, at_once=True)
    seen: list[int] = []
    compare = load._known._transform_item
    monkeypatch.setattr(
        load._known, "_transform_item", lambda way, row: seen.append(row["n"]) or compare(way, row)
    )
    rows = [{"n": n, "t": (START + timedelta(seconds=n)).isoformat()} for n in range(1000)]
    assert load.take(rows) == list(range(1000))
    assert seen == [0, 999]
    assert state["last_value"] == START + timedelta(seconds=999)
