"""What is long, wide, large or deep arrives exactly, or the load fails and says what to do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from analytics_dagster.reading.errors import ContractError, LoadError
from analytics_dagster_tests.loading.helpers import Store, same
from analytics_dagster_tests.loading.test_values import LONG, load_text, stored


def test_two_thousand_columns(store: Store) -> None:
    text = json.dumps({"id": 1, **{f"k{number}{'y' * 70}": number for number in range(2000)}})
    if store.destination.type == "duckdb":
        load_text(store, text)
        (found,) = store.fetch("SELECT * EXCLUDE (id, _dlt_id, _dlt_load_id) FROM {}.rows")
        assert found == tuple(range(2000))
    else:
        with pytest.raises(ContractError, match=r"at most 1600 columns.*\n.*data_type: json"):
            load_text(store, text)


@pytest.mark.parametrize("store", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_row_that_is_too_wide_for_the_destination_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    load_text(store, '{"id": 1}')
    wide = json.dumps({"id": 2, **{f"k{number}": number for number in range(1050)}})
    with pytest.raises(ContractError, match=r"(?s)row is too big.*data_type: json") as failure:
        load_text(store, wide)
    assert failure.value.permanent
    assert store.ids("rows") == [1]
    load_text(store, '{"id": 3, "k1": 7}')
    assert store.fetch("SELECT id, k1 FROM {}.rows") == [(3, 7)]


def test_ten_megabytes_in_a_row(store: Store) -> None:
    load_text(store, json.dumps({"id": 1, "x": "ä" * 5_000_000}))
    assert stored(store) == ["ä" * 5_000_000]


def test_rows_that_take_more_memory_than_duckdb_is_given_at_first(
    duckdb_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.dumps({"id": number, "x": "x" * 3_000_000}) for number in range(25)]
    for _ in range(2):
        load_text(duckdb_store, ",".join(rows))
    assert duckdb_store.fetch("SELECT count(*), sum(length(x)) FROM {}.rows") == [(25, 75_000_000)]
    assert not caplog.records


def test_a_memory_limit_of_the_users_own_is_never_raised(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", '{"memory_limit": "40MB"}')
    rows = [json.dumps({"id": number, "x": "x" * 3_000_000}) for number in range(25)]
    with pytest.raises(LoadError, match=r"(?i)memory"):
        load_text(duckdb_store, ",".join(rows))


def test_duckdb_has_the_memory_that_the_user_says(
    duckdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[str] = []

    def look(client: DuckDbClient, *_: Any) -> None:
        with client.sql_client as opened:
            limits.extend(map(str, *(opened.execute_sql("SELECT current_setting('memory_limit')") or ())))

    monkeypatch.setattr(DuckDbClient, "complete_load", look)
    load_text(duckdb_store, '{"id": 1}')
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", '{"memory_limit": "1GB"}')
    load_text(duckdb_store, '{"id": 1}')
    assert limits == ["61.0 MiB", "953.6 MiB"]


def test_long_names_that_begin_alike_stay_apart(store: Store) -> None:
    """PostgreSQL cuts a name after 63 bytes without a word."""
    fields = {f"{'a' * 63}{end}": number for number, end in enumerate(["", "b", "c"])}
    fields |= {f"{'ä' * 40}{end}": number for number, end in enumerate("xy", 3)}
    lists = {f"{'l' * 70}{end}": [{"n": number}] for number, end in enumerate(["", "m"])}
    objects = {"o": {"p" * 40: {f"{'q' * 40}{end}": number for number, end in enumerate("xy", 5)}}}
    load_text(store, json.dumps({"id": 1, **fields, **lists, **objects}))
    (row,) = store.fetch("SELECT * FROM {}.rows")
    assert row[1:-2] == tuple(range(7))
    nested = store.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'"
        " AND table_name LIKE 'rows__lll%' ORDER BY right(table_name, 1)"
    )
    assert [store.fetch(f"SELECT n FROM {{}}.{name}") for (name,) in nested] == [[(0,)], [(1,)]]


def test_what_is_deep_arrives(store: Store) -> None:
    deep = f'{{"a": [{{"b": [{LONG}, {{"c": {LONG}}}]}}]}}'
    objects = '{"k": ' * 60 + str(LONG) + "}" * 60
    load_text(store, f'{{"id": 1, "x": {deep}, "y": {objects}}}')
    (row,) = store.fetch("SELECT * FROM {}.rows")
    assert row[:2] == (1, str(LONG))
    listed = store.fetch("SELECT value, c FROM {}.rows__x__a__b ORDER BY _dlt_list_idx")
    assert listed == [(str(LONG), None), (None, str(LONG))]


def test_numbers_in_a_json_column_keep_their_digits(store: Store) -> None:
    sent = (
        f'{{"a": {LONG}, "b": [12345678901234567890.5, 123456789012345678, 98765432109876543210, 1e400],'
        ' "c": [[0.1, [2.123456789012345678]], {"d": [0.12345678901234567]}], "e": [1, 1.5, null, true]}'
    )
    load_text(store, f'{{"id": 1, "x": {sent}}}', "max_table_nesting: 0")
    ((found,),) = store.fetch("SELECT x FROM {}.rows")
    found = json.loads(found) if isinstance(found, str) else found
    assert _same(json.loads(sent, parse_float=Decimal), found), found


def _same(sent: Any, found: Any) -> bool:
    if isinstance(sent, dict):
        return sent.keys() == found.keys() and all(_same(sent[key], found[key]) for key in sent)
    if isinstance(sent, list):
        return len(sent) == len(found) and all(map(_same, sent, found))
    return same(sent, found)
