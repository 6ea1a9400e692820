"""What is promised of each way of loading, and which destinations cannot keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dlt.common.destination import Destination as DltDestination
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.exceptions import UnknownDestinationModule

from analytics_dagster.reading.errors import WeakDestinationError
from analytics_dagster.spec import ApiFile, Problem, Resource

# Their capabilities do not tell: begin_transaction does nothing in dlt 1.31's client of Databricks, and its
# SqlLoadJob runs the statements of a load into Synapse one by one.
_WITHOUT_TRANSACTIONS = {"databricks", "synapse"}


@dataclass(frozen=True)
class Way:
    """A way of loading: the key that chooses it, what is promised of it, and what that takes."""

    key: str
    promise: str
    transactions: bool = True


_REFRESH = Way("write_disposition", "a full refresh keeps the old rows until the new ones are whole")
_REPLACE_WINDOW = Way("on_rerun", "the rows of a window are replaced by the API's all at once")
_MERGE = Way("write_disposition", "a merge puts newer rows in the place of older ones all at once")
_APPEND = Way("write_disposition", "a load goes on where the last one ended", transactions=False)


def way_of(resource: Resource, *, full_refresh: bool = False) -> Way:
    """How a resource is loaded.

    Args:
        resource: The resource.
        full_refresh: Whether all rows of a resource without partitions are replaced.
    """
    if resource.partitions is not None:
        return _REPLACE_WINDOW if resource.rerun_mode == "replace_window" else _MERGE
    if full_refresh or resource.write_disposition == "replace":
        return _REFRESH
    return _MERGE if resource.write_disposition == "merge" else _APPEND


@cache
def capabilities(destination: str) -> DestinationCapabilitiesContext | None:
    """What dlt says that a destination can do; None if it has no such destination.

    Args:
        destination: dlt's name of it.
    """
    try:
        found = DltDestination.from_reference(destination)
    except UnknownDestinationModule:
        return None
    assert found is not None  # as a name was given
    # Its own `capabilities` would look up settings, secrets too.
    return found._raw_capabilities()  # pyright: ignore[reportPrivateUsage]


def weakness(destination: str, way: Way) -> str | None:
    """Why a destination cannot keep what is promised; None if it can, or dlt does not have it.

    Nothing is asked of the destination, and none of its settings is looked up.

    Args:
        destination: dlt's name of it.
        way: How rows are loaded.
    """
    can = capabilities(destination)
    if can is None:
        return None
    if "delete-insert" not in (can.supported_merge_strategies or ()):
        return (
            "is no database whose rows dlt changes by SQL (it has no `delete-insert`): rows would be added"
            " twice in silence, and what is stored, cursors too, could not be read back"
        )
    if way.transactions and (can.supports_transactions is False or destination in _WITHOUT_TRANSACTIONS):
        return (
            "has no transactions with dlt: a load that dies between deleting and inserting would leave rows"
            " missing"
        )
    if way is _REFRESH and "insert-from-staging" not in (can.supported_replace_strategies or ()):
        return "has no `insert-from-staging`: the old rows would go before the new ones are there"
    return None


def unkept(files: Sequence[ApiFile], destination: str) -> list[Problem]:
    """What is promised of resources and a destination cannot keep.

    Args:
        files: The API files.
        destination: dlt's name of the destination.
    """
    return [
        Problem(
            str(file.path), file.line("resources", index, way.key), f"resources.{index}.{way.key}", message
        )
        for file in files
        for index, resource in enumerate(file.api.resources)
        if resource.selected
        for way in [way_of(resource)]
        if (message := broken_promise(resource, destination, way))
    ]


def broken_promise(resource: Resource, destination: str, way: Way) -> str | None:
    """What is promised of a resource, why a destination cannot keep it, and what to do; None if it can."""
    reason = weakness(destination, way)
    if reason is None:
        return None
    remedy = "Set ANALYTICS_DESTINATION to duckdb, postgres or another database with transactions"
    if way.transactions and weakness(destination, _APPEND) is None:
        remedy += "; or load it with `write_disposition: append` and a cursor, which is at least once"
    return f"resource `{resource.name}`: {way.promise}, but `{destination}` {reason}. {remedy}."


def refuse_weak(resource: Resource, destination: str, *, full_refresh: bool) -> None:
    """Stop a load before anything is read or opened, if what is promised of it cannot be kept.

    Args:
        resource: The resource to load.
        destination: dlt's name of the destination.
        full_refresh: Whether all rows of a resource without partitions are replaced.

    Raises:
        WeakDestinationError: If the destination cannot keep it.
    """
    message = broken_promise(resource, destination, way_of(resource, full_refresh=full_refresh))
    if message:
        raise WeakDestinationError(message.removeprefix(f"resource `{resource.name}`: "))
