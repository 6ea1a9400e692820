"""The window of a child comes in parts, for each row of its parent, as the file or the API wants it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from analytics_dagster.reading.errors import LoadError, PartsError
from analytics_dagster.spec import ApiFile, parse_text
from analytics_dagster_tests.loading.helpers import Store, day, load_into
from analytics_dagster_tests.reading.helpers import Answer, Asked, served_whole

START = datetime(2024, 1, 1, tzinfo=UTC)
TIMES = [START + timedelta(hours=8 * number) for number in range(30)]
HALVE = [{"when": "code", "action": "halve"}]


class Ads:
    """Rows of several accounts, by days of which the last one counts, of two days at most; three a page."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, date, date]] = []
        self.clock = timedelta()

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/accounts":
            return {"data": [{"id": account} for account in range(3)]}, {}
        query = asked.query
        since, until = date.fromisoformat(query["since"]), date.fromisoformat(query["until"])
        account = asked.path.split("/")[2]
        if query["page"] == "0":
            self.asked.append((account, since, until))
        if until - since >= timedelta(days=2):
            return {"code": 40002, "message": "two days at most"}, {}
        rows = [
            {"id": f"{account}-{number}", "t": time.isoformat()}
            for number, time in enumerate(TIMES)
            if since <= (time + self.clock).date() <= until
        ]
        first = int(query["page"]) * 3
        return {"data": rows[first : first + 3]}, {}


def file_of(url: str, write_disposition: str = "merge", actions: Any = (), **incremental: Any) -> ApiFile:
    text: dict[str, Any] = {
        "name": "sandbox",
        "client": {"base_url": url},
        "retry": {"max_retries": 0},
        "resource_defaults": {"write_disposition": write_disposition, "endpoint": {"data_selector": "data"}},
        "resources": [
            {"name": "accounts", "write_disposition": "replace", "endpoint": {"paginator": "single_page"}},
            {
                "name": "ads",
                **({"primary_key": "id"} if write_disposition == "merge" else {}),
                "partitions": {"every": "day", "start": "2024-01-01"},
                "endpoint": {
                    "path": "accounts/{resources.accounts.id}/ads",
                    "paginator": {"type": "until_empty", "by": "page"},
                    "incremental": {
                        "cursor_path": "t",
                        "start_param": "since",
                        "end_param": "until",
                        "format": "date",
                        "end": "inclusive",
                        **incremental,
                    },
                    "response_actions": list(actions),
                },
            },
        ],
    }
    return parse_text(json.dumps(text), "apis/sandbox.yaml")


@pytest.mark.parametrize("write_disposition", ["merge", "append"])
@pytest.mark.parametrize("how", [{"step": "48h"}, {"actions": HALVE}], ids=["steps", "halves"])
def test_each_parent_is_asked_for_parts_of_the_window(
    duckdb_store: Store, how: dict[str, Any], write_disposition: str
) -> None:
    ads = Ads()
    with served_whole(ads) as url:
        result = load_into(duckdb_store, file_of(url, write_disposition, **how), "ads", day(1, 7))
    assert result.rows == 3 * 7 * 3
    assert duckdb_store.ids("ads") == sorted(f"{account}-{n}" for account in range(3) for n in range(21))
    for account in "012":
        days = [
            since + timedelta(days=number)
            for one, since, until in ads.asked
            if one == account and until - since < timedelta(days=2)
            for number in range((until - since).days + 1)
        ]
        assert days == [date(2024, 1, number) for number in range(1, 8)]


def test_parts_that_do_not_add_up_fail_and_name_the_parent(duckdb_store: Store) -> None:
    ads = Ads()
    ads.clock = timedelta(hours=-10)
    told = r"for `accounts\.id` = 0: .*another clock"
    with served_whole(ads) as url, pytest.raises(PartsError, match=told):
        load_into(duckdb_store, file_of(url, step="24h"), "ads", day(1, 7))


def test_without_steps_an_answer_that_the_api_refuses_fails(duckdb_store: Store) -> None:
    with served_whole(Ads()) as url, pytest.raises(LoadError, match="two days at most"):
        load_into(duckdb_store, file_of(url), "ads", day(1, 7))
