"""What holds for every file of the catalog, and for copying one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_dagster.commands.catalog import DIRECTORY, variables
from analytics_dagster.spec import read_file
from analytics_dagster_tests.cli_runner import Cli, fresh_cli

FILES = sorted(DIRECTORY.glob("*.yaml"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    yield from fresh_cli(capsys, monkeypatch)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_says_what_was_tested_and_what_to_set(path: Path) -> None:
    file = read_file(path)
    assert file.api.name == path.stem
    head = re.match(r"(#.*\n)+", path.read_text())
    assert head
    assert "Tested against a simulation" in head[0]
    assert re.search(r"no account of \w+ was used", head[0])
    assert all(variables(file).values()), "a variable that its head does not explain"
    documented = set(re.findall(r"^#   ([A-Z][A-Z0-9_]+) ", head[0], re.MULTILINE))
    assert documented == variables(file).keys()
    for resource in file.api.resources:
        assert resource.primary_key, "rows that come again would be doubled"
        assert resource.description
        assert not resource.partitions or resource.partitions.lookback or resource.schedule is None


def test_they_come_with_the_package() -> None:
    project = tomllib.loads((DIRECTORY.parents[1] / "pyproject.toml").read_text())
    packaged = project["tool"]["setuptools"]["package-data"]["analytics_dagster"]
    assert {path for pattern in packaged for path in DIRECTORY.parent.glob(pattern)} >= {*FILES}


def test_the_list_tells_them_all_without_loading_them(cli: Cli) -> None:
    shown = cli("catalog")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:-2]] == [path.stem for path in FILES]
    assert "jwt_bearer" in shown.out
    assert "GA4_KEY, GA4_PROPERTY" in shown.out
    assert "ga4" not in cli("validate").out


def test_a_copy_is_one_of_the_files_in_use_and_says_what_to_set(cli: Cli) -> None:
    added = cli("catalog", "add", "ga4")
    assert added.code == 0
    assert "the JSON key of a service account" in added.out
    assert Path("apis/ga4.yaml").read_bytes() == (DIRECTORY / "ga4.yaml").read_bytes()
    assert "apis/ga4.yaml: ok, 2 resources" in cli("validate").out


def test_a_file_that_is_there_is_never_overwritten_unless_asked(cli: Cli) -> None:
    target = Path("apis/ga4.yaml")
    target.parent.mkdir()
    target.write_text("mine")
    refused = cli("catalog", "add", "ga4")
    assert refused.code == 1
    assert "apis/ga4.yaml is there already, and was left as it is. --force replaces it" in refused.err
    assert target.read_text() == "mine"
    assert cli("catalog", "add", "ga4", "--force").code == 0
    assert target.read_bytes() == (DIRECTORY / "ga4.yaml").read_bytes()


def test_a_copy_goes_where_files_are_looked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = cli("catalog", "add", "ga4", "--to", "some/place")
    assert "export ANALYTICS_APIS=some/place" in elsewhere.out
    assert Path("some/place/ga4.yaml").exists()
    monkeypatch.setenv("ANALYTICS_APIS", "other")
    assert "export" not in cli("catalog", "add", "ga4").out
    assert Path("other/ga4.yaml").exists()


def test_a_name_that_it_does_not_have_is_answered_with_those_it_has(cli: Cli) -> None:
    refused = cli("catalog", "add", "ga3")
    assert refused.code == 1
    assert "The catalog has no `ga3`; it has" in refused.err
    assert "did you mean `ga4`?" in refused.err
    assert not Path("apis").exists()
