"""What the sensor asks for again after a run failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._time import get_current_timestamp

from analytics_dagster.orchestration.failed_run import build_request
from analytics_dagster.orchestration.rerun import GAVE_UP, RERUN, RERUN_OF
from analytics_dagster.spec.api import Rerun
from analytics_dagster_tests.orchestration.rerun_lab import (
    AT_ONCE,
    EVENTS,
    ITEMS,
    ORDERS,
    THEIRS,
    USERS,
    VISITS,
    Lab,
    asked,
    no_quota,
    permanent,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def real_instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def lab(real_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Lab:
    real_instance.wipe()
    return Lab(real_instance, monkeypatch)


# What is asked for


def test_a_run_started_in_the_ui_is_rerun_for_what_failed_alone(lab: Lab) -> None:
    lab.broken = {USERS: ValueError("cut off"), THEIRS: ValueError("not ours")}
    lab.run(USERS, ORDERS, THEIRS)
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_what_was_skipped_behind_a_failure_is_asked_for_with_it(lab: Lab) -> None:
    lab.broken[ORDERS] = ValueError("cut off")
    lab.run(job="shop")
    assert asked(lab.tick()) == [("shop", ["items", "orders"], "")]


def test_a_failed_run_without_assets_of_ours_stays_untouched(lab: Lab) -> None:
    lab.broken[THEIRS] = ValueError("not ours")
    run = lab.run(THEIRS)
    lab.settle()
    assert lab.read(run.run_id).tags == run.tags


def test_a_run_whose_process_died_is_rerun(lab: Lab) -> None:
    lab.crash(USERS, ORDERS)
    assert asked(lab.tick()) == [("shop", ["orders", "users"], "")]


def test_assets_of_two_jobs_make_a_request_for_each(lab: Lab) -> None:
    lab.crash(USERS, EVENTS, days=("2024-01-02", "2024-01-02"))
    assert asked(lab.tick()) == [("shop_day", ["events"], "2024-01-02"), ("shop", ["users"], "")]


def test_of_a_range_only_the_part_that_is_not_loaded_is_asked_for(lab: Lab) -> None:
    lab.broken_days = {"2024-01-03"}
    lab.run(EVENTS, days=("2024-01-01", "2024-01-05"))
    (request,) = lab.tick()
    assert asked([request]) == [("shop_day", ["events"], "2024-01-03..2024-01-05")]
    lab.broken_days = {"2024-01-05"}
    lab.obey(request)
    assert asked(lab.tick()) == [("shop_day", ["events"], "2024-01-05")]


def test_gaps_in_a_range_make_several_requests(lab: Lab) -> None:
    lab.crash(EVENTS, days=("2024-01-01", "2024-01-05"))
    lab.instance.report_runless_asset_event(dg.AssetMaterialization(EVENTS, partition="2024-01-03"))
    assert asked(lab.tick()) == [
        ("shop_day", ["events"], "2024-01-01..2024-01-02"),
        ("shop_day", ["events"], "2024-01-04..2024-01-05"),
    ]


def test_days_that_lack_the_same_assets_are_asked_for_together(lab: Lab) -> None:
    lab.broken_days = {"2024-01-03"}
    lab.run(EVENTS, VISITS, days=("2024-01-01", "2024-01-04"))
    assert asked(lab.tick()) == [
        ("shop_day", ["visits"], "2024-01-01..2024-01-02"),
        ("shop_day", ["events", "visits"], "2024-01-03..2024-01-04"),
    ]


def test_what_dagster_loaded_in_the_run_that_its_retry_repeats_is_not_loaded_again(lab: Lab) -> None:
    lab.broken_days = {"2024-01-03"}
    days = ("2024-01-01", "2024-01-04")
    first = lab.run(EVENTS, days=days)
    lab.tag(first, will_retry="true")
    lab.crash(EVENTS, days=days, tags={"dagster/parent_run_id": first.run_id, "dagster/retry_number": "1"})
    assert asked(lab.tick()) == [("shop_day", ["events"], "2024-01-03..2024-01-04")]


def test_a_rerun_carries_what_a_person_gave_the_run_and_is_linked_to_it(lab: Lab) -> None:
    given = {"team": "data", "dagster/priority": "3", "dagster-k8s/config": "{}"}
    of_that_run_alone = {"dagster/backfill": "abc", "dagster/schedule_name": "x", ".dagster/run_worker": "w"}
    failed = lab.crash(USERS, THEIRS, tags=given | of_that_run_alone | {"dagster/root_run_id": "root"})
    (request,) = lab.tick()
    assert request.tags == given | {
        "dagster/parent_run_id": failed.run_id,
        "dagster/root_run_id": "root",
        "dagster/sensor_name": "rerun_failures",
        RERUN: "1",
        RERUN_OF: failed.run_id,
    }


def test_a_rerun_has_the_config_of_the_run_as_far_as_its_job_knows_it(lab: Lab) -> None:
    lab.broken[USERS] = ValueError("cut off")
    mine = {"users": {"config": {"limit": 7}}}
    config = {
        "ops": {**mine, "theirs": {"config": {"limit": 8}}},
        "execution": {"config": {"multiprocess": {}}},
    }
    lab.run(USERS, THEIRS, config=config)
    (request,) = lab.tick()
    assert request.run_config == {"ops": mine}


def test_a_rerun_has_the_checks_that_were_chosen(lab: Lab) -> None:
    names, rows = (dg.AssetCheckKey(USERS, name) for name in ("has_names", "has_rows"))
    for checks, expected in (
        ({rows}, [rows]),
        ({rows, names}, [names, rows]),
        (set[dg.AssetCheckKey](), []),
        (None, None),
    ):
        run = dg.DagsterRun("__ASSET_JOB", asset_selection={USERS, ORDERS}, asset_check_selection=checks)
        assert build_request(lab.repository, run, "shop", [USERS], [None]).asset_check_keys == expected


# When, and how often


def test_three_reruns_after_1_5_and_15_minutes_and_then_it_says_that_it_gives_up(lab: Lab) -> None:
    lab.deploy({USERS: Rerun()})
    lab.broken[USERS] = ValueError("down")
    run = root = lab.run(USERS)
    for number, minutes in enumerate((1, 5, 15), start=1):
        lab.wait(run, minutes * MINUTE - timedelta(seconds=1))
        assert not lab.tick()
        lab.wait(run, minutes * MINUTE)
        (request,) = lab.tick()
        assert request.tags[RERUN] == str(number)
        assert request.tags["dagster/root_run_id"] == root.run_id
        assert request.tags["dagster/parent_run_id"] == run.run_id
        run = lab.obey(request)
    assert not lab.errors()
    lab.wait(run, timedelta(0))
    for _ in range(3):
        lab.settle()
    assert lab.read(run.run_id).tags[GAVE_UP] == "shop/users: 3 of 3 reruns failed"
    (error,) = lab.errors()
    assert f"{run.run_id} of job shop failed and is not rerun. shop/users: 3 of 3 reruns failed" in error


def test_the_last_delay_holds_for_all_further_reruns(lab: Lab) -> None:
    lab.deploy({USERS: Rerun(max_reruns=3, delays=[MINUTE, 2 * MINUTE])})
    lab.broken[USERS] = ValueError("down")
    run = lab.run(USERS)
    for minutes in (1, 2):
        lab.wait(run, minutes * MINUTE)
        (request,) = lab.tick()
        run = lab.obey(request)
    lab.wait(run, 2 * MINUTE - timedelta(seconds=1))
    assert not lab.tick()
    lab.wait(run, 2 * MINUTE)
    assert len(lab.tick()) == 1


def test_each_api_has_its_own_policy_within_one_run(lab: Lab) -> None:
    lab.deploy({USERS: Rerun(max_reruns=0), EVENTS: AT_ONCE, ORDERS: Rerun(max_reruns=1, delays=[MINUTE])})
    run = lab.crash(USERS, EVENTS, ORDERS, days=("2024-01-02", "2024-01-02"))
    (request,) = lab.tick()
    assert asked([request]) == [("shop_day", ["events"], "2024-01-02")]
    lab.obey(request)
    lab.settle()
    lab.wait(run, MINUTE)
    (request,) = lab.tick()
    assert asked([request]) == [("shop", ["orders"], "")]
    lab.obey(request)
    lab.settle()
    assert lab.read(run.run_id).tags[GAVE_UP] == "shop/users: its API's file turns reruns off (max_reruns: 0)"


def test_the_sensor_runs_by_default_twice_a_minute(lab: Lab) -> None:
    assert lab.sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert lab.sensor.minimum_interval_seconds == 30


# What is left alone


def test_a_failure_that_cannot_get_better_is_not_rerun_and_says_why_once(lab: Lab) -> None:
    lab.broken = {ORDERS: permanent("the key was refused (401)"), USERS: ValueError("cut off")}
    run = lab.run(job="shop")
    (request,) = lab.tick()
    assert asked([request]) == [("shop", ["users"], "")]
    del lab.broken[USERS]
    lab.obey(request)
    lab.settle()
    lab.settle()
    why = "cannot get better by itself: the key was refused (401)"
    assert lab.read(run.run_id).tags[GAVE_UP] == (
        f"shop/items: needs shop/orders, which {why}; shop/orders: {why}"
    )
    assert len(lab.errors()) == 1


def test_a_failure_that_says_transient_is_rerun(lab: Lab) -> None:
    lab.broken[USERS] = dg.Failure("slow", metadata={"analytics_dagster/failure_kind": "transient"})
    lab.run(USERS)
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_a_run_without_quota_goes_on_when_it_is_new_and_that_is_none_of_its_tries(lab: Lab) -> None:
    three = Rerun(max_reruns=1, delays=[timedelta(minutes=1)])
    lab.deploy(dict.fromkeys((USERS, ORDERS, ITEMS), three))
    hours = time.time() + 5 * 3600
    request = dg.RunRequest()
    lab.broken[ORDERS] = no_quota(hours)
    failed = lab.run(ORDERS, ITEMS)
    for _ in range(2):  # a quota may be used up again
        lab.wait(failed, timedelta(minutes=2))
        lab.settle()
        lab.wait(failed, timedelta(hours=4.9))
        lab.settle()
        lab.wait(failed, timedelta(hours=5.1))
        (request,) = lab.tick()
        assert asked([request]) == [("shop", ["items", "orders"], "")]  # `items` needs `orders`
        failed = lab.obey(request)
    lab.broken[ORDERS] = ValueError("cut off")
    failed = lab.obey(request)
    lab.wait(failed, timedelta(minutes=2))
    (request,) = lab.tick()
    assert request.tags[RERUN] == "1"
    lab.broken[ORDERS] = no_quota(hours)  # in the last of its tries
    failed = lab.obey(request)
    lab.wait(failed, timedelta(hours=5.1))
    (request,) = lab.tick()
    lab.broken[ORDERS] = ValueError("cut off")
    failed = lab.obey(request)
    lab.wait(failed, timedelta(minutes=2))
    lab.settle()
    assert "1 of 1 reruns failed" in lab.read(failed.run_id).tags[GAVE_UP]


def test_others_of_a_run_do_not_wait_for_a_quota(lab: Lab) -> None:
    lab.broken = {USERS: no_quota(time.time() + 3600), ORDERS: ValueError("cut off")}
    failed = lab.run(USERS, ORDERS)
    (request,) = lab.tick()
    assert asked([request]) == [("shop", ["orders"], "")]
    lab.broken.clear()
    lab.obey(request)
    lab.settle()
    lab.wait(failed, timedelta(hours=1.1))
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_a_run_that_a_person_cancelled_is_left_alone(lab: Lab) -> None:
    cancelled = lab.create(USERS)
    lab.instance.report_run_canceled(cancelled)
    died_on_the_way = lab.create(USERS)
    lab.instance.report_run_canceling(died_on_the_way)
    lab.instance.report_run_failed(died_on_the_way)
    lab.settle()


def test_a_run_of_a_backfill_that_a_person_cancelled_is_left_alone(lab: Lab) -> None:
    lab.instance.add_backfill(
        PartitionBackfill(
            backfill_id="abc",
            status=BulkActionStatus.CANCELED,
            from_failure=False,
            tags={},
            backfill_timestamp=get_current_timestamp(),
        )
    )
    lab.crash(USERS, tags={"dagster/backfill": "abc"})
    lab.settle()


def test_a_run_whose_rerun_a_person_cancelled_is_left_alone(lab: Lab) -> None:
    lab.crash(USERS)
    (request,) = lab.tick()
    lab.instance.report_run_canceled(lab.create(USERS, tags=request.tags))
    lab.settle()


def test_dagsters_own_retries_come_first(lab: Lab) -> None:
    retried = lab.crash(USERS)
    lab.tag(retried, will_retry="true")
    lab.settle()
    retry = lab.crash(USERS, tags={"dagster/parent_run_id": retried.run_id, "dagster/retry_number": "1"})
    lab.tag(retry, will_retry="false")
    (request,) = lab.tick()
    assert request.tags[RERUN_OF] == retry.run_id


def test_a_retry_that_dagster_called_off_is_rerun(lab: Lab) -> None:
    run = lab.crash(USERS)
    lab.tag(run, will_retry="true")
    lab.settle()
    lab.tag(run, will_retry="false")
    assert asked(lab.tick()) == [("shop", ["users"], "")]


def test_dagsters_retry_of_a_rerun_is_still_that_rerun(lab: Lab) -> None:
    lab.broken[USERS] = ValueError("down")
    lab.run(USERS)
    (request,) = lab.tick()
    rerun = lab.obey(request)
    lab.tag(rerun, will_retry="true")
    retry = {"dagster/parent_run_id": rerun.run_id, "dagster/retry_number": "1"}
    lab.crash(USERS, tags={**request.tags, **retry})
    (request,) = lab.tick()
    assert request.tags[RERUN] == "2"


def test_what_was_loaded_since_is_not_loaded_again(lab: Lab) -> None:
    lab.crash(USERS, ORDERS)
    lab.run(USERS)
    assert asked(lab.tick()) == [("shop", ["orders"], "")]


def test_a_later_run_that_is_under_way_takes_over(lab: Lab) -> None:
    lab.crash(USERS)
    later = lab.create(USERS)
    lab.settle()
    lab.instance.report_run_failed(later)
    (request,) = lab.tick()
    assert request.tags[RERUN_OF] == later.run_id


def test_a_later_run_of_another_day_takes_nothing_over(lab: Lab) -> None:
    lab.crash(EVENTS, days=("2024-01-01", "2024-01-01"))
    lab.run(EVENTS, days=("2024-01-02", "2024-01-02"))
    assert asked(lab.tick()) == [("shop_day", ["events"], "2024-01-01")]


def test_a_run_that_a_person_re_executed_has_reruns_of_its_own(lab: Lab) -> None:
    lab.deploy({USERS: Rerun(max_reruns=1, delays=[timedelta(0)])})
    lab.broken[USERS] = ValueError("down")
    lab.run(USERS)
    (request,) = lab.tick()
    last = lab.obey(request)
    lab.settle()
    copied = lab.read(last.run_id).tags
    assert GAVE_UP in copied
    again = lab.crash(USERS, tags={**copied, "dagster/parent_run_id": last.run_id})
    (request,) = lab.tick()
    assert (request.tags[RERUN], request.tags[RERUN_OF]) == ("1", again.run_id)


def test_a_partition_that_is_gone_is_given_up_and_holds_nothing_else_up(lab: Lab) -> None:
    gone = lab.crash(EVENTS, days=("2024-01-01", "2024-01-01"))
    lab.crash(USERS)
    for key in (EVENTS, VISITS):
        lab.assets[key] = lab.asset(key, partitions_def=dg.DailyPartitionsDefinition("2024-02-01"))
    lab.deploy({USERS: AT_ONCE, EVENTS: AT_ONCE})
    assert asked(lab.tick()) == [("shop", ["users"], "")]
    assert "shop/events no longer has the partition 2024-01-01" in lab.read(gone.run_id).tags[GAVE_UP]


def test_config_that_no_longer_fits_is_given_up_and_holds_nothing_else_up(lab: Lab) -> None:
    lab.broken[USERS] = ValueError("cut off")
    old = lab.run(USERS, config={"ops": {"users": {"config": {"limit": 7}}}})
    lab.crash(ORDERS)
    lab.assets[USERS] = lab.asset(USERS, option="pages")
    lab.deploy({USERS: AT_ONCE, ORDERS: AT_ONCE})
    assert asked(lab.tick()) == [("shop", ["orders"], "")]
    assert "shop/users: cannot be asked for again" in lab.read(old.run_id).tags[GAVE_UP]
