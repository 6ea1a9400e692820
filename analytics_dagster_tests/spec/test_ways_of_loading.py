"""The table of the ways of loading, every cell."""

from __future__ import annotations

import itertools

import pytest

from analytics_dagster_tests.spec.helpers import problems, resource, with_resource

# (write_disposition, primary key) -> on_rerun as written -> what a rerun does; None is an error.
WITH_PARTITIONS = {
    ("merge", True): {None: "merge", "merge": "merge", "replace_window": "replace_window"},
    ("merge", False): {None: "replace_window", "merge": None, "replace_window": "replace_window"},
    ("append", True): {None: "replace_window", "merge": None, "replace_window": "replace_window"},
    ("append", False): {None: "replace_window", "merge": None, "replace_window": "replace_window"},
    ("replace", True): {None: None, "merge": None, "replace_window": None},
    ("replace", False): {None: None, "merge": None, "replace_window": None},
}
# (write_disposition, primary key, cursor) that may be without partitions.
WITHOUT_PARTITIONS = {
    ("merge", True, True),
    ("merge", True, False),
    ("append", True, True),
    ("append", False, True),
    ("replace", True, True),
    ("replace", True, False),
    ("replace", False, True),
    ("replace", False, False),
}
CELLS = list(
    itertools.product(
        ("merge", "append", "replace"),
        (True, False),
        (True, False),
        (True, False),
        (None, "merge", "replace_window"),
    )
)


def written(way: str, *, key: bool, partitions: bool, cursor: bool, on_rerun: str | None) -> str:
    text = f"name: a\nwrite_disposition: {way}\n"
    text += "primary_key: id\n" if key else ""
    text += "partitions: {every: day, start: 2024-01-01}\n" if partitions else ""
    text += f"on_rerun: {on_rerun}\n" if on_rerun else ""
    return text + ("endpoint: {incremental: {cursor_path: t, start_param: s}}\n" if cursor else "")


@pytest.mark.parametrize(("way", "key", "partitions", "cursor", "on_rerun"), CELLS)
def test_every_cell(way: str, key: bool, partitions: bool, cursor: bool, on_rerun: str | None) -> None:
    text = written(way, key=key, partitions=partitions, cursor=cursor, on_rerun=on_rerun)
    if partitions:
        mode = WITH_PARTITIONS[way, key][on_rerun] if cursor else None
        allowed = mode is not None
    else:
        mode = None
        allowed = on_rerun is None and (way, key, cursor) in WITHOUT_PARTITIONS
    found = problems(with_resource(text))
    assert (not found) == allowed, found
    if allowed and partitions:
        assert resource(text).rerun_mode == mode


BARE = "name: a\nwrite_disposition: {}\n"
CURSOR = "endpoint: {incremental: {cursor_path: t, start_param: s}}\n"
WINDOWS = "partitions: {every: day, start: 2024-01-01}\n" + CURSOR


@pytest.mark.parametrize(
    ("text", "line", "remedies"),
    [
        ("name: a", 5, ("the default", "replace")),
        (BARE.format("append"), 6, ("replace", "merge", "incremental")),
        (BARE.format("merge"), 6, ("primary_key", "replace")),
        (BARE.format("replace") + WINDOWS, 6, ("merge", "append")),
        (BARE.format("append") + WINDOWS + "on_rerun: merge", 9, ("replace_window",)),
        (BARE.format("merge") + WINDOWS + "on_rerun: merge", 9, ("primary_key", "replace_window")),
        (BARE.format("append") + CURSOR + "on_rerun: merge", 8, ("add partitions", "leave on_rerun out")),
        (BARE.format("append") + WINDOWS.removesuffix(CURSOR), 7, ("endpoint.incremental",)),
        (
            BARE.format("append") + WINDOWS.replace("s}}", "s, on_cursor_value_missing: include}}"),
            8,
            ("raise or exclude", "on_rerun: merge"),
        ),
    ],
)
def test_a_forbidden_cell_names_its_remedy(text: str, line: int, remedies: tuple[str, ...]) -> None:
    [problem] = problems(with_resource(text))
    assert problem.line == line
    assert all(remedy in problem.message for remedy in remedies)
