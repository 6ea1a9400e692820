"""Analytics data from REST APIs into a warehouse: API files become Dagster assets that dlt loads."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analytics_dagster.orchestration.build import build_defs

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # dlt looks when it is first used, anywhere

__all__ = ["build_defs"]


def __getattr__(name: str) -> Any:
    """Import `build_defs`, and Dagster with it, only where it is asked for."""
    if name == "build_defs":
        from analytics_dagster.orchestration.build import build_defs  # noqa: PLC0415

        return build_defs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
