"""Where rows go: the destination that the user set up, in the form that keeps a load whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.destination import Destination as DltDestination
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.destinations.sql_client import SqlClientBase

from analytics_dagster.loading.duckdb_file import duckdb_file, kept_open, no_empty_file
from analytics_dagster.loading.promises import capabilities
from analytics_dagster.loading.resolve import lookup
from analytics_dagster.loading.turns import (
    postgres_in_turn,
    turn_in_duckdb,
    turn_in_postgres,
    turn_on_this_machine,
)
from analytics_dagster.loading.workspace import root
from analytics_dagster.reading.errors import DestinationError

DEFAULT_FILE = "analytics.duckdb"


@dataclass(frozen=True)
class Destination:
    """A destination by dlt's name for it.

    Args:
        type: dlt's name of the destination, such as `duckdb` or `postgres`.
        credentials: A connection string or a DuckDB file; None for dlt's own settings
            (`DESTINATION__<TYPE>__CREDENTIALS`), which for DuckDB default to `analytics.duckdb` here.
    """

    type: str = "duckdb"
    credentials: str | None = None

    @classmethod
    def from_environment(cls) -> Destination:
        """The destination that `ANALYTICS_DESTINATION` names; DuckDB where it is not set."""
        return cls(os.environ.get("ANALYTICS_DESTINATION") or "duckdb")

    def duckdb_path(self) -> Path:
        """The file that DuckDB loads go to; used for DuckDB only.

        Raises:
            DestinationError: If what is set up is no file.
        """
        given = (
            self.credentials
            or lookup("destination.duckdb.credentials.database")
            or lookup("destination.duckdb.credentials")
            or DEFAULT_FILE
        )
        text = given.removeprefix("duckdb:///")
        if text.startswith((":", "md:", "motherduck:")):
            raise DestinationError(
                f"DuckDB needs a file, and `{text.split('?', 1)[0]}` is none. Give a path in"
                " DESTINATION__DUCKDB__CREDENTIALS; for MotherDuck set ANALYTICS_DESTINATION=motherduck."
            )
        return Path(text).expanduser().absolute()

    def is_missing(self) -> bool:
        """Whether there is no DuckDB file yet, which a look into it would make."""
        return self.type == "duckdb" and not self.duckdb_path().exists()

    def kept_open(self) -> AbstractContextManager[None]:
        """Inside, a DuckDB file stays open from when dlt begins to write."""
        return kept_open() if self.type == "duckdb" else nullcontext()

    def no_empty_file(self) -> AbstractContextManager[None]:
        """Inside, a failure takes away the DuckDB file that it made, if there is nothing in it."""
        return no_empty_file(self.duckdb_path()) if self.type == "duckdb" else nullcontext()

    @property
    def keeps_all_loads_apart(self) -> bool:
        """Whether a turn keeps away the loads of all machines and users, and not just those of this one."""
        return self.type in {"duckdb", "postgres"}

    def turn(self, client: SqlClientBase[Any], table: str) -> AbstractContextManager[None]:
        """Inside, no other load of a table is under way; it waits for that, and says so.

        In PostgreSQL that holds for loads from all machines, in a DuckDB file for all that share the file,
        and elsewhere for those of this machine and user.

        Args:
            client: A client of the destination that nobody else uses.
            table: Dataset and table.

        Raises:
            DestinationError: If other loads cannot be kept away.
        """
        if self.type == "duckdb":
            return turn_in_duckdb(self.duckdb_path(), table)
        if self.type == "postgres":
            return turn_in_postgres(client, table)
        return turn_on_this_machine(root() / self.type, table)

    def open(self, staging: str, *, read_only: bool = False) -> DltDestination[Any, Any]:
        """dlt's destination for one load.

        Args:
            staging: The name of the dataset for staged rows; private to the load.
            read_only: Open a DuckDB file in a way that leaves it as it is.

        Raises:
            DestinationError: If dlt has no such destination, or it is not set up.
        """
        options: dict[str, Any] = {
            "staging_dataset_name_layout": staging,
            # The old rows of a full refresh stay until the new ones are whole.
            "replace_strategy": "insert-from-staging",
        }
        can = capabilities(self.type)
        if can and can.supports_transactions is None:  # pyright: ignore[reportUnnecessaryComparison] - says bool only
            # dlt 1.31 says it of few databases, and then deletes and inserts without a transaction.
            options["supports_transactions"] = True
        if self.type == "duckdb":
            path = self.duckdb_path()
            if not path.parent.is_dir():  # it would be made, but it may be a slip of the pen
                raise DestinationError(
                    f"The DuckDB file {path} cannot be opened: {path.parent} is no folder. Make it, or"
                    " correct DESTINATION__DUCKDB__CREDENTIALS."
                )
            file: dict[str, Any] = {"database": str(path), "read_only": read_only}
            if read_only:  # each row is read once, so a cache as large as the file is of no use
                file["global_config"] = {"memory_limit": "256MB"}
            return duckdb_file(credentials=file, destination_name="duckdb", **options)
        credentials = {"credentials": self.credentials} if self.credentials else {}
        if self.type == "postgres":
            return postgres_in_turn(**credentials, destination_name="postgres", **options)
        try:
            found = DltDestination.from_reference(self.type, **credentials, **options)
        except UnknownDestinationModule:
            raise DestinationError(
                f"dlt has no destination `{self.type}`. Set ANALYTICS_DESTINATION to duckdb, postgres or"
                " another one of dlt's."
            ) from None
        assert found is not None  # as a name was given
        return found


def secrets_of(client: SqlClientBase[Any]) -> Iterator[str]:
    """What must not be shown of the settings of a destination: its passwords and keys.

    Args:
        client: A client of the destination.
    """
    credentials = getattr(client, "credentials", None)
    if not isinstance(credentials, CredentialsConfiguration):
        return
    for name, hint in credentials.get_resolvable_fields().items():
        value = getattr(credentials, name)
        if value and is_secret_hint(hint):
            yield str(value)
        elif name == "host":  # the rest of a password with an @ that should have been written as %40
            yield str(value).rpartition("@")[0]
