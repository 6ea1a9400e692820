"""Mixpanel's file against what Mixpanel documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics_dagster.reading.errors import LoadError, QuotaError
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.catalog.helpers import IMPATIENT, ready_file
from analytics_dagster_tests.catalog.vendors.mixpanel import Mixpanel
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, day, load_into


def event(name: str, at: datetime, **properties: Any) -> dict[str, Any]:
    return {"event": name, "properties": {"time": int(at.timestamp()), **properties}}


@pytest.fixture
def mixpanel() -> Mixpanel:
    """Events each hour of three days from midnight on, some without ids, each sent twice."""
    first = datetime(2024, 1, 1, tzinfo=UTC)
    events = [
        event(
            "Signed Up",
            first + timedelta(hours=number),
            **ids,
            **{"$city": "Zürich\nZH", "n": 2**60 + number},
        )
        for number in range(3 * 24)
        for ids in ({"distinct_id": "a", "$insert_id": f"i{number}"}, {"distinct_id": number}, {})
    ]
    return Mixpanel([*events, *events])


@pytest.fixture
def file(mixpanel: Mixpanel, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(mixpanel.app()) as url:
        monkeypatch.setenv("MIXPANEL_URL", url)
        monkeypatch.setenv("MIXPANEL_PROJECT", mixpanel.project)
        monkeypatch.setenv("MIXPANEL_USER", mixpanel.user)
        monkeypatch.setenv("MIXPANEL_SECRET", mixpanel.secret)
        yield ready_file(
            "mixpanel", {"name: mixpanel": "name: mixpanel\nretry: {backoff_factor: 0}", **IMPATIENT}
        )


def stored_events(store: Store) -> list[tuple[Any, ...]]:
    found = store.fetch("SELECT event, epoch(time)::BIGINT, properties FROM {}.events")
    return sorted((name, at, sorted(json.loads(properties).items())) for name, at, properties in found)


def sent(mixpanel: Mixpanel, *days: int) -> list[tuple[Any, ...]]:
    once = {json.dumps(event): event for event in mixpanel.events}.values()
    return sorted(
        (one["event"], time, sorted(one["properties"].items()))
        for one in once
        if datetime.fromtimestamp(time := one["properties"]["time"], UTC).day in days
    )


def test_days_load_whole_and_once_though_the_export_has_events_twice(
    mixpanel: Mixpanel, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("mixpanel")
    load_into(stored, file, "events", day(1, 2))
    load_into(stored, file, "events", day(2))
    assert stored_events(stored) == sent(mixpanel, 1, 2)
    load_into(stored, file, "events", day(3))
    load_into(stored, file, "events", day(4))  # is empty
    assert stored_events(stored) == sent(mixpanel, 1, 2, 3)
    assert [(one["from_date"], one["to_date"]) for one in mixpanel.asked] == [
        ("2024-01-01", "2024-01-02"),
        *((f"2024-01-{number:02}", f"2024-01-{number:02}") for number in (2, 3, 4)),
    ]


def test_an_export_that_broke_off_is_asked_for_again_and_never_taken_for_whole(
    mixpanel: Mixpanel, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("mixpanel")
    mixpanel.breaks_off = 1
    load_into(stored, file, "events", day(1))
    assert stored_events(stored) == sent(mixpanel, 1)
    mixpanel.breaks_off = 99
    with pytest.raises(LoadError, match="terminated early"):
        load_into(stored, file, "events", day(2))
    assert stored_events(stored) == sent(mixpanel, 1)


def test_a_used_up_quota_ends_the_run_until_the_next_hour(
    mixpanel: Mixpanel, file: ApiFile, store: Callable[[str], Store]
) -> None:
    mixpanel.quota = 0
    with pytest.raises(QuotaError, match="Query rate limit exceeded") as ended:
        load_into(store("mixpanel"), file, "events", day(1))
    assert ended.value.renewed
    assert ended.value.renewed.minute == 0


def test_mixpanels_errors_are_told_in_its_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXPANEL_SECRET", "wrong")
    with pytest.raises(LoadError, match="Invalid service account credentials"):
        load_into(store("mixpanel"), file, "events", day(1))
