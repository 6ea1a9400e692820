"""GA4's file against what Google documents."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics_dagster.reading.errors import LoadError, QuotaError
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.catalog.helpers import IMPATIENT, ready_file
from analytics_dagster_tests.catalog.vendors.ga4 import Ga4
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.loading.helpers import Store, day, load_into

METRICS = ("sessions", "engagedSessions", "totalUsers", "newUsers", "userEngagementDuration")


def traffic(days: range) -> list[dict[str, Any]]:
    return [
        {
            "date": f"202401{number:02}",
            "sessionDefaultChannelGroup": channel,
            "country": country,
            **{name: number * 100 + place for place, name in enumerate(METRICS)},
        }
        for number in days
        for channel in ("Direct", "Organic Search")
        for country in ("(not set)", "Germany", "Österreich")
    ]


def events(days: range) -> list[dict[str, Any]]:
    return [
        {"date": f"202401{number:02}", "eventName": name, "eventCount": 2**53 + number, **values}
        for number in days
        for name, values in (
            ("page_view", {"totalUsers": 3, "eventValue": 0}),
            ("purchase", {"totalUsers": 1, "eventValue": 12.75}),
        )
    ]


@pytest.fixture
def ga4() -> Ga4:
    return Ga4([*traffic(range(1, 6)), *events(range(1, 6))], cap=4)


@pytest.fixture
def file(ga4: Ga4, monkeypatch: pytest.MonkeyPatch) -> Generator[ApiFile]:
    with serving(ga4.app()) as url:
        monkeypatch.setenv("GA4_KEY", ga4.service_account(url))
        monkeypatch.setenv("GA4_PROPERTY", ga4.property)
        yield ready_file("ga4", {"https://analyticsdata.googleapis.com": url, **IMPATIENT})


def stored_traffic(store: Store) -> list[tuple[Any, ...]]:
    return store.fetch(
        "SELECT property, strftime(date, '%Y%m%d'), session_default_channel_group, country, sessions,"
        " engaged_sessions, total_users, new_users, user_engagement_duration FROM {}.traffic ORDER BY ALL"
    )


def expected_traffic(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((Ga4.property, *row.values()) for row in rows)


def test_days_load_whole_and_once_and_become_what_google_has_later(
    ga4: Ga4, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("ga4")
    assert load_into(stored, file, "traffic", day(2, 2)).counts == [12]  # in pages of 4, as capped
    assert stored_traffic(stored) == expected_traffic(traffic(range(2, 4)))
    load_into(stored, file, "traffic", day(4))
    ga4.rows = [row for row in traffic(range(1, 4)) if row["country"] != "Germany"]
    load_into(stored, file, "traffic", day(3))
    load_into(stored, file, "traffic", day(4))  # has no rows any more, so no key `rows`
    expected = [
        row for row in traffic(range(2, 4)) if (row["date"], row["country"]) != ("20240103", "Germany")
    ]
    assert stored_traffic(stored) == expected_traffic(expected)
    assert {(one["dateRanges"][0]["startDate"], one["dateRanges"][0]["endDate"]) for one in ga4.asked} == {
        ("2024-01-02", "2024-01-03"),
        ("2024-01-03", "2024-01-03"),
        ("2024-01-04", "2024-01-04"),
    }


def test_metrics_are_exact_numbers(file: ApiFile, store: Callable[[str], Store]) -> None:
    stored = store("ga4")
    load_into(stored, file, "events", day(2))
    found = stored.fetch(
        "SELECT date, event_name, event_count, total_users, event_value FROM {}.events ORDER BY 2"
    )
    assert found == [
        (date(2024, 1, 2), "page_view", 2**53 + 2, 3, 0.0),
        (date(2024, 1, 2), "purchase", 2**53 + 2, 1, 12.75),
    ]


def test_googles_errors_are_told_in_its_words(
    ga4: Ga4, file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GA4_PROPERTY", "42")
    with pytest.raises(LoadError, match="does not have sufficient permissions for this property"):
        load_into(store("ga4"), file, "traffic", day(2))


@pytest.mark.parametrize(("quota", "hours"), [("hour", range(24)), ("day", [0])])
def test_a_used_up_quota_ends_the_run_until_google_gives_new_tokens(
    ga4: Ga4, file: ApiFile, store: Callable[[str], Store], quota: str, hours: Sequence[int]
) -> None:
    ga4.exhausted = quota
    with pytest.raises(QuotaError, match=f"Exhausted property tokens for a project per {quota}") as ended:
        load_into(store("ga4"), file, "traffic", day(2))
    renewed = ended.value.renewed
    assert renewed
    local = renewed.astimezone(ZoneInfo("America/Los_Angeles"))
    assert local.minute == 0
    assert local.hour in hours
