"""Files of the catalog, as a person would set them up."""

from __future__ import annotations

from analytics_dagster.commands.catalog import DIRECTORY
from analytics_dagster.spec import ApiFile, parse_text

IMPATIENT = {"action: wait_quota": "action: wait_quota, max_wait: 1s"}
"""A change that has no test wait for a new quota, at whatever time it runs."""


def ready_file(name: str, changes: dict[str, str] | None = None) -> ApiFile:
    """A file of the catalog, with texts replaced as a person would, who has another server or time zone."""
    text = (DIRECTORY / f"{name}.yaml").read_text()
    for old, new in (changes or {}).items():
        assert old in text, f"{name}.yaml has no {old}"
        text = text.replace(old, new)
    return parse_text(text, f"{name}.yaml")
