"""The sensor loses no failure and starts nothing twice, whatever happens between its looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from analytics_dagster.orchestration import rerun
from analytics_dagster.orchestration.rerun import RERUN_OF
from analytics_dagster_tests.orchestration.rerun_lab import EVENTS, ORDERS, USERS, Lab, asked, permanent

DAYS = [f"2024-01-0{day}" for day in range(1, 6)]


@pytest.fixture(scope="module")
def real_instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def lab(real_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Lab:
    real_instance.wipe()
    return Lab(real_instance, monkeypatch)


def crash_all_days(lab: Lab) -> list[str]:
    return [lab.crash(EVENTS, days=(day, day)).run_id for day in DAYS]


def test_one_look_finds_more_failures_than_a_page_holds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerun, "PAGE", 2)
    crash_all_days(lab)
    assert asked(lab.tick()) == [("shop_day", ["events"], day) for day in DAYS]


def test_what_one_look_has_no_time_for_the_next_one_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerun, "TICK_SECONDS", 0.0)
    crash_all_days(lab)
    found = [asked([request]) for _ in DAYS for request in lab.tick()]
    assert found == [[("shop_day", ["events"], day)] for day in DAYS]


def test_a_run_deleted_between_two_looks_takes_no_other_with_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerun, "TICK_SECONDS", 0.0)
    lab.broken[USERS] = permanent("no such key")
    settled = lab.run(USERS)
    crash_all_days(lab)
    lab.wait(settled, timedelta(days=1))
    lab.settle()
    lab.instance.delete_run(settled.run_id)
    found = [asked([request]) for _ in DAYS for request in lab.tick()]
    assert found == [[("shop_day", ["events"], day)] for day in DAYS]


def test_a_look_that_breaks_halfway_is_made_up_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_all_days(lab)
    build_request, calls = rerun.build_request, iter((True, True, False))

    with monkeypatch.context() as broken:
        broken.setattr(
            rerun, "build_request", lambda *a, **b: build_request(*a, **b) if next(calls) else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            lab.tick()
    assert asked(lab.tick()) == [("shop_day", ["events"], day) for day in DAYS]


def test_requests_that_never_reached_the_daemon_are_made_again_with_the_same_keys(lab: Lab) -> None:
    crash_all_days(lab)
    keys = [request.run_key for request in lab.tick()]
    assert [request.run_key for request in lab.tick()] == keys
    assert len(set(keys)) == len(DAYS)


def test_a_rerun_that_was_created_but_not_launched_is_asked_for_with_the_same_key(lab: Lab) -> None:
    lab.crash(USERS)
    (request,) = lab.tick()
    rerun = lab.create(USERS, tags=request.tags, status=DagsterRunStatus.NOT_STARTED)
    (again,) = lab.tick()
    assert again.run_key == request.run_key
    lab.instance.report_run_canceled(rerun)
    lab.settle()


def test_one_rerun_for_each_failure(lab: Lab) -> None:
    failed = crash_all_days(lab)
    reruns = [lab.obey(request) for request in lab.tick()]
    lab.settle()
    lab.settle()
    assert [run.tags[RERUN_OF] for run in reruns] == failed


def test_a_run_that_fails_after_later_ones_have_ended_is_rerun(lab: Lab) -> None:
    slow = lab.create(USERS)
    lab.crash(ORDERS)
    for request in lab.tick():
        lab.obey(request)
    lab.settle()
    lab.instance.report_run_failed(slow)
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_what_failed_before_the_sensor_was_first_started_is_left_alone(lab: Lab) -> None:
    old = lab.crash(USERS)
    lab.cursor = None
    lab.settle()
    lab.instance.add_run_tags(old.run_id, {"note": "seen"})
    lab.settle()


def test_what_failed_while_the_sensor_was_down_is_rerun(lab: Lab) -> None:
    failed = lab.crash(USERS)
    lab.wait(failed, timedelta(days=30))
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_settled_failures_are_not_read_again_for_ever(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, last = crash_all_days(lab)
    for request in lab.tick():
        lab.obey(request)
    lab.settle()
    lab.wait(lab.read(last), timedelta(hours=1))
    lab.settle()
    read: list[object] = []
    get_run_records = lab.instance.get_run_records

    def count(*args: object, **kwargs: object) -> object:
        records = get_run_records(*args, **kwargs)  # pyright: ignore[reportArgumentType]
        read.extend(records)
        return records

    monkeypatch.setattr(lab.instance, "get_run_records", count)
    lab.settle()
    assert not read
