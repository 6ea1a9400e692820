"""Prints the requirements of the tests with dagster-dlt in place of dagster-embedded-elt."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
wanted = [*project["dependencies"], *extras["postgres"], *extras["test"], "dagster-dlt", "dagster-webserver"]
left_out = ("dagster-embedded-elt", "analytics-dagster")
print("\n".join(name for name in wanted if not name.startswith(left_out)))  # noqa: T201
