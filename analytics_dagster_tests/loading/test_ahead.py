"""A load that reads ahead commits all or nothing, leaves no thread behind, and looks up once what stays."""

from __future__ import annotations

import pytest
from jsonpath_ng.ext.parser import parse

from analytics_dagster.loading.load import prepare_load
from analytics_dagster.reading.errors import RefusedError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.sandbox import Fault, RunningSandbox
from analytics_dagster_tests.loading.helpers import Store, load_into, sandbox_file
from analytics_dagster_tests.reading.helpers import no_reader_left

EVENTS = """
- name: events
  primary_key: id
  write_disposition: replace
  endpoint: {path: v1/events, paginator: {type: offset, limit: 20}}
"""


def test_a_page_that_fails_keeps_the_others_from_being_committed(
    duckdb_store: Store, sandbox: RunningSandbox
) -> None:
    file = sandbox_file(sandbox.url, EVENTS)
    load_into(duckdb_store, file, "events")
    before = duckdb_store.ids("events")
    sandbox.data.delete("events", ["evt_1"])
    sandbox.faults.add(Fault(kind="status", status=404, match="/v1/events", skip=9, first=100))
    with no_reader_left(), pytest.raises(RefusedError, match=r"offset=\d+\b.* was refused: 404"):
        load_into(duckdb_store, file, "events")
    assert duckdb_store.ids("events") == before


def test_an_interrupted_load_leaves_no_thread(duckdb_store: Store, sandbox: RunningSandbox) -> None:
    file = sandbox_file(sandbox.url, EVENTS)

    def interrupt(meter: Meter) -> None:
        if meter.pages == 5:
            raise KeyboardInterrupt

    with (
        no_reader_left(),
        pytest.raises(KeyboardInterrupt),
        prepare_load(file, "events", destination=duckdb_store.destination, on_change=interrupt) as prepared,
    ):
        prepared.pipeline.run(prepared.source, **prepared.options)
    assert load_into(duckdb_store, file, "events").rows == 900


def test_a_selector_is_not_parsed_again_for_each_page(
    duckdb_store: Store, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    monkeypatch.setattr("dlt.common.jsonpath._parse", lambda text: parsed.append(text) or parse(text))
    result = load_into(duckdb_store, sandbox_file(sandbox.url, EVENTS), "events")
    assert result.pages == 45
    assert 0 < parsed.count("data") < 10
