"""Plausible's file against what Plausible documents."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics_dagster.reading.errors import LoadError, QuotaError
from analytics_dagster.spec import ApiFile, Window
from analytics_dagster_tests.catalog.helpers import IMPATIENT, ready_file
from analytics_dagster_tests.catalog.vendors.plausible import Plausible
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, load_into

BERLIN = ZoneInfo("Europe/Berlin")


def visit(at: datetime, source: str = "Direct / None", **values: Any) -> dict[str, Any]:
    usual = {"visitor": f"{at}{source}", "pageviews": 1, "seconds": 0, "event:page": "/"}
    return {"at": at, "visit:source": source, "visit:country": "DE", **usual, **values}


def berlin_day(number: int) -> Window:
    start = datetime(2024, 3, number, tzinfo=BERLIN)
    return Window(start, start + timedelta(days=1))  # of the calendar, not 24 hours


@pytest.fixture
def plausible() -> Plausible:
    """Visits each half hour from 30 to 31 March 2024 in Berlin, when a day has 23 hours."""
    first = datetime(2024, 3, 29, 22, tzinfo=UTC)
    visits = [
        visit(first + timedelta(minutes=30 * number), source, **{"event:page": f"/{number % 5}"})
        for number in range(2 * 49)
        for source in ("Direct / None", "Google", "news.ycombinator.com")
    ]
    return Plausible(visits, "Europe/Berlin", cap=2)


@pytest.fixture
def file(plausible: Plausible, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(plausible.app()) as url:
        monkeypatch.setenv("PLAUSIBLE_URL", url)
        monkeypatch.setenv("PLAUSIBLE_KEY", plausible.key)
        monkeypatch.setenv("PLAUSIBLE_SITE", plausible.site)
        yield ready_file("plausible", {"timezone: UTC": "timezone: Europe/Berlin", **IMPATIENT})


def test_days_of_the_sites_time_zone_load_whole_and_once(
    plausible: Plausible, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("plausible")
    days = [berlin_day(number) for number in (29, 30, 31)]
    assert [load_into(stored, file, "sources", day).rows for day in days] == [3, 3, 3]
    load_into(stored, file, "sources", days[1])
    # An hour of the 29th, a whole day, and one of 23 hours.
    assert stored.fetch("SELECT day, source, visits, pageviews FROM {}.sources ORDER BY 1, 2") == [
        (date(2024, 3, number), source, visits, visits)
        for number, visits in ((29, 2), (30, 48), (31, 46))
        for source in ("Direct / None", "Google", "news.ycombinator.com")
    ]
    assert load_into(stored, file, "pages", days[2]).counts == [5]
    assert all(start == end for start, end in plausible.asked), "a day is asked for alone"


def test_a_day_becomes_what_plausible_has_later(
    plausible: Plausible, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("plausible")
    load_into(stored, file, "sources", berlin_day(30))
    noon = datetime(2024, 3, 30, 12, tzinfo=UTC)
    plausible.visits = [visit(noon, "Google", seconds=31, pageviews=3), visit(noon, "Google", seconds=30)]
    load_into(stored, file, "sources", berlin_day(30))
    found = (
        "SELECT site, source, country, visitors, visits, pageviews, bounce_rate, visit_duration"
        " FROM {}.sources"
    )
    assert stored.fetch(found) == [("example.com", "Google", "DE", 1, 2, 4, 50.0, 30.0)]
    plausible.visits = []
    load_into(stored, file, "sources", berlin_day(30))
    assert stored.fetch(found) == []


def test_a_used_up_quota_ends_the_run_until_the_next_hour(
    plausible: Plausible, file: ApiFile, store: Callable[[str], Store]
) -> None:
    plausible.quota = 1  # and a day of sources has two pages
    with pytest.raises(QuotaError, match="limited to 600 requests per hour") as ended:
        load_into(store("plausible"), file, "sources", berlin_day(30))
    assert ended.value.renewed
    assert ended.value.renewed.minute == 0


def test_plausibles_errors_are_told_in_its_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAUSIBLE_SITE", "example.org")
    with pytest.raises(LoadError, match="Invalid API key or site ID"):
        load_into(store("plausible"), file, "pages", berlin_day(30))
