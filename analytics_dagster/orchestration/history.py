"""What a Dagster instance remembers of a resource, and the forgetting of it."""

from __future__ import annotations

import dagster as dg


def materialized_partitions(instance: dg.DagsterInstance, api: str, resource: str) -> int | None:
    """How many partitions are materialized; None if the resource never was.

    Args:
        instance: Holds the history.
        api: The API's name.
        resource: The resource's name; no file need have it any more.
    """
    key = dg.AssetKey([api, resource])
    if not instance.has_asset_key(key):
        return None
    return len(instance.get_materialized_partitions(key))


def forget(instance: dg.DagsterInstance, api: str, resource: str) -> None:
    """Forget all materializations of a resource; runs and their logs stay.

    Args:
        instance: Holds the history.
        api: The API's name.
        resource: The resource's name; no file need have it any more.
    """
    instance.wipe_assets([dg.AssetKey([api, resource])])
