"""Umami's file against what Umami documents."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import ApiFile
from analytics_dagster_tests.catalog.helpers import ready_file
from analytics_dagster_tests.catalog.vendors.serving import serving
from analytics_dagster_tests.catalog.vendors.umami import Umami
from analytics_dagster_tests.loading.helpers import Store, day, load_into

OWN_SERVER = """\
  # auth:
  #   type: session
  #   login_url: ${UMAMI_URL}/auth/login
  #   login: {username: "${UMAMI_USER}", password: "${UMAMI_PASSWORD}"}
"""
CLOUD = '  auth: {type: api_key, name: x-umami-api-key, api_key: "${UMAMI_API_KEY}"}\n'


def event(name: str, at: datetime) -> dict[str, Any]:
    created = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": name, "websiteId": Umami.website, "createdAt": created, "urlPath": "/", "eventType": 1}


@pytest.fixture
def umami() -> Umami:
    """Three events at each hour of three days from midnight on, and three in a day's last millisecond."""
    first = datetime(2024, 1, 1, tzinfo=UTC)
    hours = [first + timedelta(hours=number) for number in range(3 * 24)]
    last = datetime(2024, 1, 2, 23, 59, 59, 999_000, tzinfo=UTC)
    return Umami([event(f"{at}/{tie}", at) for at in [*hours, last] for tie in range(3)], cap=32)


@pytest.fixture
def url(umami: Umami, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    with serving(umami.app()) as url:
        monkeypatch.setenv("UMAMI_WEBSITE", umami.website)
        monkeypatch.setenv("UMAMI_API_KEY", umami.key)
        monkeypatch.setenv("UMAMI_URL", f"{url}/v1")
        yield url


@pytest.fixture
def file(url: str) -> ApiFile:
    return ready_file("umami")


def of_days(umami: Umami, *days: int) -> list[tuple[str, datetime]]:
    created = [(event["id"], datetime.fromisoformat(event["createdAt"])) for event in umami.events]
    return sorted(one for one in created if one[1].day in days)


def loaded(stored: Store) -> list[tuple[str, datetime]]:
    return sorted(stored.fetch("SELECT id, created_at FROM {}.events"))


def test_days_share_no_event_and_miss_none(
    umami: Umami, file: ApiFile, store: Callable[[str], Store]
) -> None:
    stored = store("umami")
    assert load_into(stored, file, "events", day(2)).counts == [75]
    assert loaded(stored) == of_days(umami, 2)
    load_into(stored, file, "events", day(1))
    load_into(stored, file, "events", day(3))
    load_into(stored, file, "events", day(4))  # is empty
    assert loaded(stored) == of_days(umami, 1, 2, 3)


def test_an_event_that_comes_while_pages_are_read_makes_none_missing(
    umami: Umami, file: ApiFile, store: Callable[[str], Store]
) -> None:
    late = [event("late", datetime(2024, 1, 2, 22, 30, tzinfo=UTC))]
    umami.after_first_page = lambda: umami.events.extend(late.pop() for _ in late[:])
    stored = store("umami")
    load_into(stored, file, "events", day(2))
    assert loaded(stored) == of_days(umami, 2)
    assert "late" in dict(loaded(stored))


def test_a_server_of_ones_own_is_logged_into(
    umami: Umami, url: str, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMAMI_URL", f"{url}/api")
    monkeypatch.setenv("UMAMI_USER", umami.user)
    monkeypatch.setenv("UMAMI_PASSWORD", umami.password)
    file = ready_file("umami", {CLOUD: "", OWN_SERVER: OWN_SERVER.replace("# ", "")})
    assert load_into(store("umami"), file, "events", day(1)).rows == 72
    assert umami.logins == 1


def test_umamis_errors_are_told_in_its_words(
    file: ApiFile, store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMAMI_API_KEY", "wrong")
    with pytest.raises(LoadError, match="Unauthorized"):
        load_into(store("umami"), file, "events", day(1))
