"""The ground truth is deterministic, ordered, full of ties, and filtered exactly."""

from __future__ import annotations

import random
import timeit
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.sandbox import InvalidParameterError, SandboxSettings
from analytics_dagster.sandbox.data import SandboxData
from analytics_dagster.sandbox.rows import RESOURCES, Resource

SETTINGS = SandboxSettings(users=50, events=400, sessions=80, orders=60, days=4)
DATA = SandboxData(SETTINGS)


def edited(data: SandboxData, resource: Resource) -> SandboxData:
    """Change rows inside and beyond the data's days, and delete some of both kinds."""
    data.update(resource, count=9, at="2024-01-03T00:00:00Z")
    data.update(resource, count=5, at="2024-01-09T00:00:00.001Z")
    data.delete(resource, [row["id"] for row in list(data.truth(resource))[3::8]])
    return data


EDITED = SandboxData(SETTINGS)
for each in RESOURCES:
    edited(EDITED, each)
DAYS = [datetime(2023, 12, 31, tzinfo=UTC) + timedelta(days=day) for day in range(10)]
EDGES = DAYS + [
    datetime.fromisoformat(row[field])
    for resource in RESOURCES
    for row in EDITED.truth(resource)
    for field in ("created_at", "updated_at")
]

resources = st.sampled_from(RESOURCES)


def all_rows(data: SandboxData, resource: str, **bounds: Any) -> list[dict[str, Any]]:
    return list(data.truth(resource, **bounds))


def is_inside(row: dict[str, Any], field: str, bounds: dict[str, datetime], manners: SandboxSettings) -> bool:
    """The filters' meaning, written as plainly as possible."""
    value = datetime.fromisoformat(row[f"{field}_at"])
    after, before = bounds.get(f"{field}_after"), bounds.get(f"{field}_before")
    return (after is None or value > after or (manners.after_inclusive and value == after)) and (
        before is None or value < before or (manners.before_inclusive and value == before)
    )


@pytest.mark.parametrize("resource", RESOURCES)
def test_two_sandboxes_with_equal_settings_have_equal_rows_in_whatever_order_they_are_read(
    resource: Resource,
) -> None:
    expected = all_rows(DATA, resource)
    view = SandboxData(SETTINGS).view(resource)
    places = list(range(len(expected)))
    random.Random(1).shuffle(places)
    assert {place: view.rows(place, 1)[0] for place in places} == dict(enumerate(expected))
    assert all_rows(SandboxData(SETTINGS.model_copy(update={"seed": 8})), resource) != expected


def test_rows_stay_as_they_are_from_one_release_to_the_next() -> None:
    assert SandboxData(SandboxSettings()).view("events").rows(1_000, 1) == [
        {
            "id": "evt_1001",
            "created_at": "2024-01-11T07:48:17.740Z",
            "updated_at": "2024-01-11T07:48:17.740Z",
            "name": "search",
            "user_id": "usr_47",
            "session_id": "ses_3",
            "sequence": 2147635556313664186,
            "duration_ms": 7458,
            "value": None,
            "properties": {"path": "/pricing", "browser": None, "screen_width": 480},
        }
    ]


@pytest.mark.parametrize("resource", RESOURCES)
def test_rows_have_unique_ids_and_come_in_order_with_ties_inside_their_days(resource: Resource) -> None:
    rows = all_rows(SandboxData(SandboxSettings()), resource)
    assert len(rows) == getattr(SandboxSettings(), resource)
    assert len({row["id"] for row in rows}) == len(rows)
    times = [row["created_at"] for row in rows]
    assert times == sorted(times)
    assert max(Counter(times).values()) >= 3
    assert times[0] == "2024-01-01T00:00:00.000Z"
    assert times[-1] < "2024-02-01T00:00:00.000Z"
    midnights = {f"2024-01-{day:02d}T00:00:00.000Z" for day in range(1, 32)}
    assert midnights <= set(times)


def test_rows_hold_what_is_hard_to_load() -> None:
    rows = {resource: all_rows(SandboxData(SandboxSettings()), resource) for resource in RESOURCES}
    assert any(row["value"] is None for row in rows["events"])
    assert any(row["properties"]["browser"] is None for row in rows["events"])
    assert max(row["sequence"] for row in rows["events"]) > 2**62
    assert any(not row["name"].isascii() for row in rows["users"])
    assert {len(row["items"]) for row in rows["orders"]} == {1, 2, 3, 4}
    ids = {row["id"] for row in rows["users"]}
    assert {row["user_id"] for row in rows["orders"]} <= ids


@pytest.mark.parametrize(
    ("inclusive", "bound", "expected"),
    [
        (True, "2024-01-02T00:00:00.000000Z", True),
        (True, "2024-01-02T00:00:00.000001Z", False),
        (False, "2024-01-02T00:00:00.000000Z", False),
        (False, "2024-01-01T23:59:59.999999Z", True),
    ],
)
def test_whether_the_lower_bound_is_included_is_a_setting(
    inclusive: bool, bound: str, expected: bool
) -> None:
    data = SandboxData(SETTINGS.model_copy(update={"after_inclusive": inclusive}))
    found = {row["created_at"] for row in data.truth("events", created_after=bound)}
    assert ("2024-01-02T00:00:00.000Z" in found) is expected


@pytest.mark.parametrize(
    ("inclusive", "bound", "expected"),
    [
        (True, "2024-01-02T00:00:00.000000Z", True),
        (True, "2024-01-01T23:59:59.999999Z", False),
        (False, "2024-01-02T00:00:00.000000Z", False),
        (False, "2024-01-02T00:00:00.000001Z", True),
    ],
)
def test_whether_the_upper_bound_is_included_is_a_setting(
    inclusive: bool, bound: str, expected: bool
) -> None:
    data = SandboxData(SETTINGS.model_copy(update={"before_inclusive": inclusive}))
    found = {row["created_at"] for row in data.truth("events", created_before=bound)}
    assert ("2024-01-02T00:00:00.000Z" in found) is expected


@st.composite
def near_edges(draw: st.DrawFn) -> datetime:
    """A time at, just before or just after some row's, or anywhere."""
    if draw(st.booleans()):
        return DAYS[0] + timedelta(microseconds=draw(st.integers(0, 10 * 24 * 3600 * 10**6)))
    return draw(st.sampled_from(EDGES)) + timedelta(
        microseconds=draw(st.sampled_from([-1000, -1, 0, 1, 1000]))
    )


FILTERS = ("created_after", "created_before", "updated_after", "updated_before")
pairs = st.lists(near_edges(), min_size=2, max_size=2).map(sorted)


@settings(deadline=None)
@given(
    resource=resources,
    inclusiveness=st.tuples(st.booleans(), st.booleans()),
    created=pairs,
    updated=pairs,
    used=st.sets(st.sampled_from(FILTERS)),
)
def test_filters_let_exactly_the_right_rows_through(
    resource: Resource,
    inclusiveness: tuple[bool, bool],
    created: list[datetime],
    updated: list[datetime],
    used: set[str],
) -> None:
    after_inclusive, before_inclusive = inclusiveness
    manners = SETTINGS.model_copy(
        update={"after_inclusive": after_inclusive, "before_inclusive": before_inclusive}
    )
    data = edited(SandboxData(manners), resource)
    both: dict[str, datetime] = dict(zip(FILTERS, created + updated, strict=True))
    bounds = {name: both[name] for name in used}
    expected = [
        row
        for row in data.truth(resource)
        if is_inside(row, "created", bounds, manners) and is_inside(row, "updated", bounds, manners)
    ]
    assert all_rows(data, resource, **bounds) == expected


@settings(deadline=None)
@given(
    resource=resources,
    field=st.sampled_from(["created", "updated"]),
    cuts=st.lists(near_edges(), max_size=6).map(sorted),
)
def test_neighbouring_windows_share_no_row_and_miss_none(
    resource: str, field: str, cuts: list[datetime]
) -> None:
    found: list[str] = []
    for begin, end in zip([None, *cuts], [*cuts, None], strict=True):
        found += [
            row["id"] for row in EDITED.truth(resource, **{f"{field}_after": begin, f"{field}_before": end})
        ]
    assert sorted(found) == sorted(row["id"] for row in EDITED.truth(resource))


@settings(deadline=None)
@given(resource=resources, offset=st.integers(0, 450), limit=st.integers(1, 60))
def test_a_page_is_that_part_of_the_whole(resource: str, offset: int, limit: int) -> None:
    whole = all_rows(EDITED, resource)
    view = EDITED.view(resource)
    assert view.rows(offset, limit) == whole[offset : offset + limit]
    if limit <= len(view):
        assert view.place_after(view[limit - 1]) == limit


def test_updated_rows_have_a_new_name_and_a_later_updated_at() -> None:
    data = SandboxData(SETTINGS)
    before = {row["id"]: row for row in data.truth("users")}
    changed = data.update("users", count=3, at="2024-02-01T12:00:00Z")
    data.update("users", ids=changed[:1], at=datetime(2024, 2, 2, tzinfo=UTC))
    after = {row["id"]: row for row in data.truth("users")}
    assert {row_id for row_id in before if before[row_id] != after[row_id]} == set(changed)
    assert len(set(changed)) == 3
    assert after[changed[0]] == before[changed[0]] | {
        "name": before[changed[0]]["name"] + " v3",
        "updated_at": "2024-02-02T00:00:00.000Z",
    }
    assert after[changed[1]]["updated_at"] == "2024-02-01T12:00:00.000Z"


def test_a_deleted_row_is_gone_and_cannot_be_changed_any_more() -> None:
    data = SandboxData(SETTINGS)
    assert data.delete("orders", ["ord_2", "ord_5"]) == ["ord_2", "ord_5"]
    assert [row["id"] for row in data.truth("orders")][:4] == ["ord_1", "ord_3", "ord_4", "ord_6"]
    with pytest.raises(InvalidParameterError, match="ord_5"):
        data.delete("orders", ["ord_5"])
    with pytest.raises(InvalidParameterError, match="ord_2"):
        data.update("orders", ids=["ord_1", "ord_2"], at="2025-01-01")
    assert next(data.truth("orders")) == next(DATA.truth("orders")), "a refused update changes nothing"


@pytest.mark.parametrize(
    ("resource", "arguments", "message"),
    [
        ("nothing", {"count": 1, "at": "2025-01-01"}, "users, events, sessions, orders"),
        ("users", {"ids": ["usr_51"], "at": "2025-01-01"}, "usr_51"),
        ("users", {"ids": ["usr_01"], "at": "2025-01-01"}, "usr_01"),
        ("users", {"ids": ["evt_1"], "at": "2025-01-01"}, "evt_1"),
        ("users", {"ids": ["usr_1"], "at": "2024-01-02"}, "was updated at 2024-01-02"),
        ("users", {"count": 51, "at": "2025-01-01"}, "50 users"),
        ("users", {"count": 1, "ids": ["usr_1"], "at": "2025-01-01"}, "either"),
        ("users", {"count": 1, "at": "soon"}, "ISO 8601"),
    ],
)
def test_an_impossible_update_is_refused(resource: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        SandboxData(SETTINGS).update(resource, **arguments)


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_small_resources_are_whole_too(count: int) -> None:
    data = SandboxData(SandboxSettings(users=count, events=count, sessions=count, orders=count, days=1))
    assert [len(all_rows(data, resource)) for resource in RESOURCES] == [count] * 4


def test_rows_denser_than_milliseconds_are_still_in_order() -> None:
    view = SandboxData(SandboxSettings(events=10**12)).view("events")
    times = [row["created_at"] for row in view.rows(10**11, 2000)]
    assert times == sorted(times)


def test_a_page_of_a_thousand_events_is_cheap() -> None:
    # It takes about 3 ms; the bound is wide, since machines differ, and the best of several is taken.
    view = SandboxData(SandboxSettings(events=10_000_000)).view("events")
    assert min(timeit.repeat(lambda: orjson.dumps(view.rows(5_000_000, 1_000)), number=1, repeat=10)) < 0.05
