"""Amplitude's file against what Amplitude documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Any

import pytest

from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.catalog.helpers import ready_file
from analytics_dagster_tests.catalog.vendors.amplitude import Amplitude
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, day, load_into


def event(uuid: str, uploaded: datetime) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "$insert_id": f"insert-{uuid}",
        "amplitude_id": 2**60 + 1,
        "event_type": "watch_tutorial",
        "event_time": (uploaded - timedelta(days=3)).isoformat(
            " ", "microseconds"
        ),  # of a phone without a net
        "server_upload_time": uploaded.isoformat(" ", "microseconds"),
        "event_properties": {"n": 2**62 + 1, "tags": ["a", "b"]},
    }


@pytest.fixture
def amplitude() -> Amplitude:
    """Events each half hour of three days from midnight on, also in the last microsecond of a day."""
    first = datetime(2024, 1, 1)  # noqa: DTZ001 - Amplitude sends no offsets
    times = [first + timedelta(minutes=30 * number) for number in range(3 * 48)]
    times.append(datetime(2024, 1, 2, 23, 59, 59, 999_999))  # noqa: DTZ001
    return Amplitude([event(f"{at}/{tie}", at) for at in times for tie in range(2)])


@pytest.fixture
def file(amplitude: Amplitude, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(amplitude.app()) as url:
        monkeypatch.setenv("AMPLITUDE_URL", url)
        monkeypatch.setenv("AMPLITUDE_KEY", amplitude.key)
        monkeypatch.setenv("AMPLITUDE_SECRET", amplitude.secret)
        yield ready_file("amplitude")


def stored_events(store: Store) -> list[tuple[Any, ...]]:
    found = store.fetch(
        "SELECT uuid, server_upload_time, event_time, amplitude_id, event_properties"
        " FROM {}.events ORDER BY 1"
    )
    return [(*row[:-1], json.loads(row[-1])) for row in found]


def sent(amplitude: Amplitude, *days: int) -> list[tuple[Any, ...]]:
    return sorted(
        (
            event["uuid"],
            datetime.fromisoformat(f"{event['server_upload_time']}+00:00"),
            datetime.fromisoformat(f"{event['event_time']}+00:00"),
            event["amplitude_id"],
            event["event_properties"],
        )
        for event in amplitude.events
        if int(event["server_upload_time"][8:10]) in days
    )


def test_days_load_whole_and_once_and_one_without_data_is_empty(
    amplitude: Amplitude, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("amplitude")
    assert load_into(stored, file, "events", day(1, 3)).counts == [96 + 98 + 96]
    load_into(stored, file, "events", day(2))
    load_into(stored, file, "events", day(4))  # is answered with 404
    assert stored_events(stored) == sent(amplitude, 1, 2, 3)
    days = [(f"202401{number:02}T00", f"202401{number:02}T23") for number in (1, 2, 3, 2, 4)]
    assert sorted(amplitude.asked) == sorted(days)


def test_a_day_that_is_too_large_or_too_slow_is_asked_for_in_halves(
    amplitude: Amplitude, file: ApiFile, store: Callable[[str], Store]
) -> None:
    amplitude.cap = 30
    amplitude.slow = {"20240102T06"}
    stored = store("amplitude")
    load_into(stored, file, "events", day(2))
    assert stored_events(stored) == sent(amplitude, 2)


def test_an_hour_that_is_too_large_fails_and_leaves_what_was_there(
    amplitude: Amplitude, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("amplitude")
    load_into(stored, file, "events", day(2))
    amplitude.cap = 3
    with pytest.raises(LoadError, match="more than 4GB of data"):
        load_into(stored, file, "events", day(2))
    assert stored_events(stored) == sent(amplitude, 2)


def test_amplitudes_errors_are_told_in_its_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPLITUDE_SECRET", "wrong")
    with pytest.raises(LoadError, match="Invalid API credentials"):
        load_into(store("amplitude"), file, "events", day(1))
