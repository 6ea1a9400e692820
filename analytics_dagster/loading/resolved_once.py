"""dlt's destinations, with settings that are looked up once for each load."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from dlt.common.destination import Destination


class ResolvedOnce(Destination[Any, Any]):
    """A destination of one load.

    dlt looks all settings up anew for each client that it makes, and each time that it asks what the
    destination can do: some thirty times, which is a third of a small load.
    """

    @cached_property  # dlt takes the arguments of a constructor for those of the destination
    def _resolved(self) -> dict[bool, Any]:
        return {}

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:  # noqa: FBT001, FBT002 - dlt's
        """The settings, for a client of its own or, where they need not be whole, to look at."""
        if accept_partial not in self._resolved:
            self._resolved[accept_partial] = super().configuration(initial_config, accept_partial)
        config = self._resolved[accept_partial].copy()
        if initial_config is not None:
            config._bind_dataset_name(initial_config.dataset_name, initial_config.default_schema_name)
        config.credentials.on_resolved()  # with connections of its own
        return config
