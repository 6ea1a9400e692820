"""Matomo's file against what Matomo documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile, Window
from analytics_dagster_tests.catalog.helpers import ready_file
from analytics_dagster_tests.catalog.vendors.matomo import Matomo
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, load_into

BERLIN = ZoneInfo("Europe/Berlin")


def visit(number: int, at: datetime, *pages: str) -> dict[str, Any]:
    return {
        "idSite": 1,
        "idVisit": str(number) if number % 2 else number,  # its versions differ
        "visitIp": "192.0.2.0",
        "firstActionTimestamp": int(at.timestamp()) - 60,
        "lastActionTimestamp": int(at.timestamp()),
        "actionDetails": [{"type": "action", "url": page, "timeSpent": 3} for page in pages or ("/",)],
    }


def days(first: int, count: int = 1) -> Window:
    start = datetime(2024, 10, first, tzinfo=BERLIN)
    return Window(start, start + timedelta(days=count))  # of the calendar, not of 24 hours


@pytest.fixture
def matomo() -> Matomo:
    """Two visits each half hour of three days around the one that has 25 hours, also at each midnight."""
    first = days(26).start.astimezone(UTC)
    times = [first + timedelta(minutes=30 * number) for number in range(2 * 73)]
    visits = [visit(2 * number + tie, at) for number, at in enumerate(times) for tie in range(2)]
    return Matomo(visits, "Europe/Berlin", cap=40)


@pytest.fixture
def file(matomo: Matomo, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(matomo.app()) as url:
        monkeypatch.setenv("MATOMO_URL", url)
        monkeypatch.setenv("MATOMO_TOKEN", matomo.token)
        monkeypatch.setenv("MATOMO_SITE", matomo.site)
        yield ready_file("matomo", {"timezone: UTC": "timezone: Europe/Berlin"})


def stored_visits(store: Store) -> list[tuple[Any, ...]]:
    found = store.fetch("SELECT id_visit, last_action_timestamp, action_details FROM {}.visits ORDER BY 1")
    return [(number, at.timestamp(), json.loads(details)) for number, at, details in found]


def sent(matomo: Matomo) -> list[tuple[Any, ...]]:
    return sorted(
        (int(visit["idVisit"]), visit["lastActionTimestamp"], visit["actionDetails"])
        for visit in matomo.visits
    )


def test_days_load_whole_and_once_also_where_offsets_over_several_skip(
    matomo: Matomo, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("matomo")
    assert load_into(stored, file, "visits", days(26, 2)).counts == [196]
    load_into(stored, file, "visits", days(28))
    load_into(stored, file, "visits", days(29))  # is empty
    assert stored_visits(stored) == sent(matomo)
    assert {*matomo.days} == {f"2024-10-{number},2024-10-{number}" for number in range(26, 30)}


def test_a_visit_that_goes_on_after_midnight_moves_and_is_not_doubled(
    matomo: Matomo, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("matomo")
    matomo.visits = [visit(7, days(26).end - timedelta(minutes=1))]
    load_into(stored, file, "visits", days(26))
    matomo.visits = [visit(7, days(26).end + timedelta(minutes=1), "/", "/more")]
    load_into(stored, file, "visits", days(26, 2))
    assert stored_visits(stored) == sent(matomo)


def test_an_error_with_status_200_fails_in_matomos_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATOMO_TOKEN", "wrong-t0ken")
    with pytest.raises(LoadError, match="Unable to authenticate with the provided token") as failed:
        load_into(store("matomo"), file, "visits", days(26))
    assert "wrong-t0ken" not in str(failed.value)
