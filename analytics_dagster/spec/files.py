"""Finding and reading API files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from analytics_dagster.spec.checking import ApiFile, Checked, check_text
from analytics_dagster.spec.combinations import table_key
from analytics_dagster.spec.problems import ApiFileError, Problem

_PACKAGED = Path(__file__).parents[1] / "apis"


def find_files(directories: Iterable[str | Path] | None = None) -> list[Path]:
    """The API files (`*.yaml`, `*.yml`) of some directories, sorted within each.

    Args:
        directories: Where to look; by default in `ANALYTICS_APIS` (separated like `PATH`), else in `./apis`
            where that exists, else in the package's own.

    Raises:
        ApiFileError: If a directory is missing or holds no API file.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    for directory in map(Path, _default_directories() if directories is None else directories):
        files = sorted(
            path
            for path in (directory.iterdir() if directory.is_dir() else ())
            if path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and path.is_file()
        )
        if not directory.is_dir():
            message = "there is no such directory of API files; look at ANALYTICS_APIS, or create it"
            problems.append(Problem(str(directory), None, "", message))
        elif not files:
            message = "there is no API file (*.yaml, *.yml) in this directory"
            problems.append(Problem(str(directory), None, "", message))
        found += files
    if problems:
        raise ApiFileError(problems)
    return list(dict.fromkeys(found))


def parse_text(text: str, path: str | Path) -> ApiFile:
    """Read an API file's text; nothing needs to be on disk.

    Args:
        text: The content.
        path: The file's name in problems; without its suffix it is the default name of the API.

    Raises:
        ApiFileError: With all that is wrong.
    """
    return _all_or_error([check_text(text, Path(path))])[0]


def read_file(path: str | Path) -> ApiFile:
    """Read one API file.

    Raises:
        ApiFileError: With all that is wrong.
    """
    return read_files([path])[0]


def read_files(paths: Iterable[str | Path]) -> list[ApiFile]:
    """Read API files.

    Raises:
        ApiFileError: With all that is wrong in any of them, names that two of them share included.
    """
    paths = [Path(path) for path in paths]
    checked = [_check_file(path) for path in paths]
    seen: dict[str, tuple[Path, str]] = {}
    for path, one in zip(paths, checked, strict=True):
        if one.name is None:
            continue
        other, name = seen.setdefault(table_key(one.name), (path, one.name))
        if other is not path:
            same = "the same name" if name == one.name else f"the same dataset (its name is `{name}`)"
            message = f"the API of {other} has {same}; give this one another name"
            one.problems.append(Problem(str(path), one.name_line, "name", message))
    return _all_or_error(checked)


def _default_directories() -> list[Path]:
    if given := os.environ.get("ANALYTICS_APIS"):
        return [Path(directory) for directory in given.split(os.pathsep) if directory]
    local = Path("apis")
    return [local if local.is_dir() else _PACKAGED]


def _check_file(path: Path) -> Checked:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Checked([Problem(str(path), None, "", f"the file cannot be read: {error.strerror}")])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Checked([Problem(str(path), line, "", "the file is not UTF-8 text; save it as UTF-8")])
    return check_text(text, path)


def _all_or_error(checked: list[Checked]) -> list[ApiFile]:
    if problems := [problem for one in checked for problem in one.problems]:
        raise ApiFileError(problems)
    return [one.api_file for one in checked if one.api_file]
