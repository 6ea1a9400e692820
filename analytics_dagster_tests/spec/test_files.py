"""Where API files are looked for, and that all of them are checked at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analytics_dagster.spec import ApiFileError, find_files, read_file, read_files

GOOD = "client: {base_url: 'https://x.y'}\nresources: [{name: a, write_disposition: replace}]\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANALYTICS_APIS", raising=False)


def write(path: str, text: str = GOOD) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    write("apis/local.yaml")
    there = [write("one/b.yml"), write("two/a.yaml")]
    monkeypatch.setenv("ANALYTICS_APIS", f"one{os.pathsep}two")
    assert find_files() == there


def test_the_local_directory_comes_next_sorted_without_hidden_and_other_files() -> None:
    for name in ("b.yaml", "a.yml", ".c.yaml", "d.json", "e.yaml/f.yaml"):
        write(f"apis/{name}")
    assert find_files() == [Path("apis/a.yml"), Path("apis/b.yaml")]


def test_given_directories_are_taken() -> None:
    assert find_files([write("x/a.yaml").parent]) == [Path("x/a.yaml")]


def test_missing_and_empty_directories_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty").mkdir()
    monkeypatch.setenv("ANALYTICS_APIS", f"nowhere{os.pathsep}empty")
    with pytest.raises(ApiFileError) as caught:
        find_files()
    missing, empty = caught.value.problems
    assert str(missing).startswith("nowhere: there is no such directory")
    assert str(empty).startswith("empty: there is no API file")


def test_all_mistakes_of_all_files_are_reported_together() -> None:
    paths = [
        write("apis/a.yaml", GOOD + "limit: {}\nretry: {max_retries: x}\n"),
        write("apis/b.yaml", GOOD + "name: shared\n"),
        write("apis/c.yaml", "a: [\n"),
        write("apis/d.yaml", GOOD + "name: Shared\ntags: 5\n"),
        Path("apis/none.yaml"),
    ]
    with pytest.raises(ApiFileError) as caught:
        read_files(paths)
    assert [(p.file, p.line, p.key) for p in caught.value.problems] == [
        ("apis/a.yaml", 3, "limit"),
        ("apis/a.yaml", 4, "retry.max_retries"),
        ("apis/c.yaml", 2, ""),
        ("apis/d.yaml", 4, "tags"),
        ("apis/d.yaml", 3, "name"),
        ("apis/none.yaml", None, ""),
    ]
    assert "the API of apis/b.yaml has the same dataset" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 6


def test_names_that_differ_in_a_dash_only_are_refused() -> None:
    with pytest.raises(
        ApiFileError, match=r"apis/my_api\.yaml:1: name: .* same dataset \(its name is `my-api`\)"
    ):
        read_files([write("apis/my-api.yaml"), write("apis/my_api.yaml")])


def test_good_files_keep_their_order_and_place() -> None:
    files = read_files([write("apis/b.yaml"), write("apis/a.yaml")])
    assert [(file.path, file.api.name, file.resource_lines) for file in files] == [
        (Path("apis/b.yaml"), "b", {"a": 2}),
        (Path("apis/a.yaml"), "a", {"a": 2}),
    ]


def test_a_byte_order_mark_is_no_mistake_and_another_encoding_is() -> None:
    marked = write("apis/a.yaml", "\ufeff" + GOOD)
    assert read_file(marked).api.name == "a"
    latin = Path("apis/l.yaml")
    latin.write_bytes(GOOD.encode() + "description: Stück".encode("latin-1"))
    with pytest.raises(ApiFileError, match=r"apis/l\.yaml:3: the file is not UTF-8"):
        read_file(latin)
