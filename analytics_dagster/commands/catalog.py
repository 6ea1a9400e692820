"""`catalog`: lists the ready files for known APIs, and copies one to where API files are found."""

from __future__ import annotations

import re
from pathlib import Path

from rich.markup import escape

from analytics_dagster.commands.choice import own_directories
from analytics_dagster.commands.terminal import CommandError, standard_output, table
from analytics_dagster.spec import ApiFile, read_file, read_files, templates
from analytics_dagster.spec.problems import nearest, one_of

DIRECTORY = Path(__file__).parents[1] / "catalog"
_VARIABLE = re.compile(r"^#   ([A-Z][A-Z0-9_]*) +(\S.*)$", re.MULTILINE)


def list_catalog() -> None:
    """Show what there is, by its files."""
    shown = table("name", "API", "resources", "authentication", "variables")
    for file in read_files(sorted(DIRECTORY.glob("*.yaml"))):
        auth = file.api.client.auth
        resources = ", ".join(resource.name for resource in file.api.resources)
        row = (
            file.api.name,
            file.api.description or "",
            resources,
            auth.type if auth else "in the request",
            ", ".join(variables(file)),
        )
        shown.add_row(*map(escape, row))
    console = standard_output()
    console.print(shown)
    console.print("\nanalytics-dagster catalog add NAME copies one, to be yours.", markup=False)


def add(name: str, directory: Path | None, *, overwrite: bool) -> None:
    """Copy a file of the catalog, and say what to set.

    Args:
        name: The API's name in the catalog.
        directory: Where to; by default the first of `ANALYTICS_APIS`, else `./apis`.
        overwrite: Whether a file that is there already is replaced.

    Raises:
        CommandError: If the catalog has no such file, or one is there already.
        OSError: If it cannot be written.
    """
    names = sorted(path.stem for path in DIRECTORY.glob("*.yaml"))
    if name not in names:
        raise CommandError(
            f"The catalog has no `{name}`; it has {one_of(names, last='and')}{nearest(name, names)}"
        )
    source = DIRECTORY / f"{name}.yaml"
    used = own_directories()
    target = (directory or used[0]) / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("wb" if overwrite else "xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise CommandError(
            f"{target} is there already, and was left as it is. --force replaces it, --to names another"
            " directory."
        ) from None
    _say_what_next(
        read_file(source), target, found=target.parent.resolve() in [one.resolve() for one in used]
    )


def variables(file: ApiFile) -> dict[str, str]:
    """The variables that a file of the catalog needs, and what its head says of each."""
    said = dict(_VARIABLE.findall(file.path.read_text(encoding="utf-8")))
    return {name: said.get(name, "") for name in templates.names(file.api.model_dump(by_alias=True))}


def _say_what_next(file: ApiFile, target: Path, *, found: bool) -> None:
    console = standard_output()
    name = file.api.name
    console.print(f"{target} is yours now; its head says what to change.", markup=False)
    console.print("\nSet these, in the environment or in secrets.toml:")
    needed = table()
    needed.show_header = False
    for _ in range(2):
        needed.add_column(overflow="fold")
    for variable, meaning in variables(file).items():
        needed.add_row(f"  {variable}", escape(meaning))
    console.print(needed)
    console.print("Then:")
    if not found:
        console.print(f"  export ANALYTICS_APIS={target.parent}", markup=False)
    console.print(f"  analytics-dagster check {name}\n  analytics-dagster load {name}", markup=False)
