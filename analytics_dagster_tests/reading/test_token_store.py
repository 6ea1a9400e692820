"""A refresh token that is replaced with each use: never spent twice, never lost, for nobody else to read."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from analytics_dagster.reading.auth import store
from analytics_dagster.reading.errors import CredentialsError, RefusedError
from analytics_dagster_tests.reading.door import Asked, Door, Reply, door, signer
from analytics_dagster_tests.reading.helpers import Lab


class Rotating(Door):
    """Each refresh token is good for one use, and each new access token ends the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.good_refresh = "first"
        self.good_access = ""
        self.lifetime = 3600
        self._numbers = count(1)
        self.grant = self._refreshed
        self.lets_in = lambda asked: asked.headers["authorization"] == f"Bearer {self.good_access}"

    def _refreshed(self, asked: Asked) -> Reply:
        if asked.form["grant_type"] != "refresh_token" or asked.form["refresh_token"] != self.good_refresh:
            return 400, {"error": "invalid_grant", "sent": asked.form["refresh_token"]}
        number = next(self._numbers)
        self.good_refresh, self.good_access = f"refresh-{number}", f"access-{number}"
        answer = {"access_token": self.good_access, "expires_in": self.lifetime}
        return 200, {**answer, "refresh_token": self.good_refresh}

    def auth(self, **more: Any) -> dict[str, Any]:
        fields = {"access_token_url": f"{self.url}/token", "client_id": "me", "client_secret": "secret"}
        return {"type": "oauth2_refresh_token", "refresh_token": "first", **fields, **more}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Rotating]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with door(Rotating()) as found:
        assert isinstance(found, Rotating)
        yield found


def kept(place: Path) -> list[Path]:
    return sorted(place.rglob("*.json"))


def test_the_newest_token_is_used_by_the_next_run(api: Rotating, tmp_path: Path) -> None:
    for run in range(3):
        api.read(api.auth())
        api.good_access = f"ended after run {run}"
    sent = [asked.form["refresh_token"] for asked in api.at("/token")]
    assert sent == ["first", "refresh-1", "refresh-2"]
    [file] = kept(tmp_path / "home" / "analytics_dagster" / "tokens")
    assert json.loads(file.read_text())["refresh_token"] == "refresh-3"


def test_what_comes_and_what_is_kept_is_hidden(api: Rotating) -> None:
    for number in (1, 2):
        lab = Lab(api.url)
        api.read(api.auth(), lab)
        tokens = [f"{kind}-{before}" for kind in ("refresh", "access") for before in range(1, number + 1)]
        assert lab.redact(" ".join(tokens)) == " ".join(["***"] * len(tokens))
        api.good_access = "ended"


def test_an_access_token_that_is_still_good_is_shared(api: Rotating) -> None:
    """Each new one would end that of a run that is still going on."""
    for _ in range(3):
        api.read(api.auth())
    assert len(api.at("/token")) == 1
    api.read(api.auth(scopes=["more"]))
    assert len(api.at("/token")) == 2


def test_a_token_that_another_run_renewed_is_taken_over(api: Rotating) -> None:
    lab = Lab(api.url)
    first, second = signer(api.auth(), lab), signer(api.auth(), lab)
    for auth in (first, second):
        assert lab.session.get(f"{api.url}/rows", auth=auth).json() == [{"id": 1}]
    api.good_access = "ended"
    for auth in (first, second, first):
        assert lab.session.get(f"{api.url}/rows", auth=auth).json() == [{"id": 1}]
    assert len(api.at("/token")) == 2


def test_an_expired_one_is_not_shared(api: Rotating) -> None:
    api.lifetime = 0
    for _ in range(2):
        api.read(api.auth())
    assert len(api.at("/token")) == 2


@pytest.mark.parametrize("more", [{}, {"refresh_token": "first"}, {"refresh_token": None}])
def test_a_token_that_is_not_replaced_stays(api: Rotating, more: dict[str, Any]) -> None:
    numbers = count(1)

    def grant(asked: Asked) -> Reply:
        assert asked.form["refresh_token"] == "first"
        api.good_access = f"access-{next(numbers)}"
        return 200, {"access_token": api.good_access, **more}

    api.grant = grant
    for _ in range(3):
        assert api.read(api.auth()) == [{"id": 1}]
        api.good_access = "ended"
    assert len(api.at("/token")) == 3


def test_a_new_one_that_the_user_gives_wins(api: Rotating, tmp_path: Path) -> None:
    api.read(api.auth())
    api.good_refresh = "consented again"
    api.good_access = "ended"
    api.read(api.auth(refresh_token="consented again"))
    assert [asked.form["refresh_token"] for asked in api.at("/token")] == ["first", "consented again"]
    api.good_access = "ended"
    api.read(api.auth(refresh_token="consented again"))
    assert api.at("/token")[-1].form["refresh_token"] == "refresh-2"
    assert len(kept(tmp_path)) == 2


def test_only_the_owner_can_read_what_is_kept(api: Rotating, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):
            api.read(api.auth(token_store=str(tmp_path / "store")))
            api.good_access = "ended"
    finally:
        os.umask(before)
    left = list((tmp_path / "store").iterdir())
    assert {path.suffix for path in left} == {".json", ".lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert not any(word in path.name for path in left for word in ("first", "secret"))


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"DAGSTER_HOME": "home", "XDG_STATE_HOME": "state"}, "home/analytics_dagster/tokens"),
        ({"XDG_STATE_HOME": "state", "HOME": "me"}, "state/analytics_dagster/tokens"),
        ({"HOME": "me"}, "me/.local/state/analytics_dagster/tokens"),
    ],
)
def test_where_it_is_kept(
    api: Rotating,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    place: str,
) -> None:
    for name in ("DAGSTER_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    api.read(api.auth())
    assert len(kept(tmp_path / place)) == 1


def test_a_place_that_cannot_be_used_is_told_before_a_token_is_spent(api: Rotating, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CredentialsError, match=r"cannot be kept in .*/file/.*auth\.token_store"):
        api.read(api.auth(token_store=str(tmp_path / "file")))
    assert api.asked == []


@pytest.mark.parametrize("damage", ["", "[]", '{"refresh_token": "x"}', "\0\0"])
def test_a_damaged_file_is_told(api: Rotating, tmp_path: Path, damage: str) -> None:
    api.read(api.auth())
    kept(tmp_path)[0].write_text(damage)
    with pytest.raises(CredentialsError, match="it is damaged"):
        api.read(api.auth())


def test_a_refused_token_says_what_to_do_and_shows_none(api: Rotating, tmp_path: Path) -> None:
    api.read(api.auth())
    api.good_refresh, api.good_access = "revoked", "ended"
    with pytest.raises(RefusedError) as caught:
        api.read(api.auth())
    text = str(caught.value)
    assert "invalid_grant" in text
    assert "let a user consent again, and give the new refresh token where auth.refresh_token" in text
    assert str(kept(tmp_path)[0]) in text
    assert not any(token in text for token in ("refresh-1", "access-1"))
    assert caught.value.permanent


def test_threads_spend_no_token_twice(api: Rotating) -> None:
    def read(_: int) -> Any:
        return api.read(api.auth())

    api.lifetime = 0
    api.lets_in = lambda _: True
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(16))) == [[{"id": 1}]] * 16
    sent = [asked.form["refresh_token"] for asked in api.at("/token")]
    assert len(set(sent)) == len(sent) == 16


def test_processes_spend_no_token_twice(api: Rotating, tmp_path: Path) -> None:
    api.lifetime = 0
    slow = api.grant

    def grant(asked: Asked) -> Reply:
        time.sleep(0.05)
        return slow(asked)

    api.grant = grant
    code = f"""
from analytics_dagster_tests.reading.door import signer
from analytics_dagster_tests.reading.helpers import Lab
lab = Lab({api.url!r})
auth = signer({api.auth()!r}, lab)
for _ in range(5):
    auth._fetch(None)
"""
    root = str(Path(__file__).parents[2])
    runs = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": root})
        for _ in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert len(api.at("/token")) == 10
    assert api.good_refresh == "refresh-10"
    assert json.loads(kept(tmp_path)[0].read_text())["refresh_token"] == "refresh-10"


def test_waiting_for_another_load_is_told(
    api: Rotating, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_QUIET", 0.05)
    api.read(api.auth())
    with ThreadPoolExecutor(1) as pool:
        with FileLock(kept(tmp_path)[0].with_suffix(".lock")):
            waiting = pool.submit(api.read, api.auth())
            for _ in range(1000):
                if caplog.records:
                    break
                time.sleep(0.01)
            assert "Waiting for another load to fetch a token" in caplog.text
            assert not waiting.done()
        assert waiting.result() == [{"id": 1}]


def test_a_client_without_a_secret_sends_none(api: Rotating) -> None:
    auth = api.auth()
    del auth["client_secret"]
    api.read(auth)
    assert api.at("/token")[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": "first",
        "client_id": "me",
    }


def test_a_new_token_is_found_beside_the_access_token(api: Rotating) -> None:
    flat = api.grant

    def nested(asked: Asked) -> Reply:
        status, document = flat(asked)
        return status, {"data": document}

    api.grant = nested
    for _ in range(2):
        api.read(api.auth(access_token_path="data.access_token"))
        api.good_access = "ended"
    assert api.good_refresh == "refresh-2"
