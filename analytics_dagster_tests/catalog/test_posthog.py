"""PostHog's file against what PostHog documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.catalog.helpers import ready_file
from analytics_dagster_tests.catalog.vendors.posthog import PostHog
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, day, load_into

SPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def event(at: datetime, tie: int) -> tuple[Any, ...]:
    properties = json.dumps({"$current_url": "https://example.com/ü", "n": 2**60 + tie})
    return (str(uuid5(SPACE, f"{at}{tie}")), at, "$pageview", f"user {tie}", str(SPACE), properties)


@pytest.fixture
def posthog() -> PostHog:
    """Seven events at each sixth hour of three days from midnight on, and in a day's last microsecond."""
    first = datetime(2024, 1, 1, tzinfo=UTC)
    times = [first + timedelta(hours=6 * number) for number in range(3 * 4)]
    times.append(datetime(2024, 1, 2, 23, 59, 59, 999_999, UTC))
    return PostHog([event(at, tie) for at in times for tie in range(7)])


@pytest.fixture
def file(posthog: PostHog, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(posthog.app()) as url:
        monkeypatch.setenv("POSTHOG_HOST", url)
        monkeypatch.setenv("POSTHOG_PROJECT", posthog.project)
        monkeypatch.setenv("POSTHOG_KEY", posthog.key)
        yield ready_file("posthog", {"LIMIT 10000": "LIMIT 5", "limit: 10000": "limit: 5"})


def stored_events(store: Store) -> list[tuple[Any, ...]]:
    return store.fetch(
        "SELECT uuid, timestamp, event, distinct_id, person_id, properties FROM {}.events ORDER BY 1"
    )


def sent(posthog: PostHog, *days: int) -> list[tuple[Any, ...]]:
    return sorted(event for event in posthog.events if event[1].day in days)


def test_days_load_whole_and_once_though_pages_end_within_an_instant(
    posthog: PostHog, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("posthog")
    assert load_into(stored, file, "events", day(2)).counts == [35]
    assert stored_events(stored) == sent(posthog, 2)
    load_into(stored, file, "events", day(1))
    load_into(stored, file, "events", day(3))
    load_into(stored, file, "events", day(4))  # is empty
    assert stored_events(stored) == sent(posthog, 1, 2, 3)


def test_a_throttled_query_waits_as_long_as_posthog_says(
    posthog: PostHog, file: ApiFile, store: Callable[[str], Store]
) -> None:
    posthog.throttled = 1
    assert load_into(store("posthog"), file, "events", day(1)).retries == 1


def test_posthogs_errors_are_told_in_its_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOG_KEY", "wrong")
    with pytest.raises(LoadError, match="Personal API key found in request is invalid"):
        load_into(store("posthog"), file, "events", day(1))
