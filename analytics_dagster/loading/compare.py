"""Compares two sides of stored rows, by key and by content, and tells the first few that differ."""

# ruff: noqa: S608 - all names and conditions are made here

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
from dlt.common.normalizers.naming import NamingConvention

from analytics_dagster.loading.contents import Nested, Row, StoredRows
from analytics_dagster.loading.cursor import cursor_column
from analytics_dagster.spec import Resource, Window

EXAMPLES = 5
"""How many rows of each kind are told in full."""

Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True)
class Difference:
    """A row that is not the same on both sides.

    `key` has the fields of the primary key, or all fields where there is none; `cursor` is the API's, else
    the destination's. `fields` has both values, the API's first, of what differs; nested rows are numbered
    from 0. Nothing of it holds a secret.
    """

    kind: Kind
    key: dict[str, str]
    cursor: str | None
    fields: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Comparison:
    """What the API and the destination have of a resource.

    `missing` rows are in the API only, `extra` ones in the destination only. `older` ones, which are none of
    these, are earlier versions that `append` keeps. `examples` are the first few of each kind.
    """

    in_api: int
    in_destination: int
    missing: int
    extra: int
    different: int
    older: int
    examples: Sequence[Difference]

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.missing or self.extra or self.different)


class Comparing:
    """Compares two sides by fingerprints of their rows, which are tables, so that memory does not grow.

    Args:
        resource: The resource whose rows are compared.
        windows: Neighbouring windows to compare; none for everything.
        naming: Turns names of fields into those of columns.
        directory: For the fingerprints; nobody else uses it.
    """

    def __init__(
        self, resource: Resource, windows: Sequence[Window], naming: NamingConvention, directory: Path
    ) -> None:
        given = resource.primary_key or []
        cursor = cursor_column(resource)
        self._keys = [naming.normalize_path(key) for key in ([given] if isinstance(given, str) else given)]
        self._cursor = cursor and naming.normalize_path(cursor)
        self._window = Window(windows[0].start, windows[-1].end) if windows else None
        incremental = resource.endpoint.incremental
        self._takes_null = incremental is not None and incremental.on_cursor_value_missing == "include"
        self._keeps_versions = resource.write_disposition == "append" and not resource.partitions
        # What is more than that goes to the disk.
        self._scratch = duckdb.connect(
            str(directory / "fingerprints.duckdb"), config={"memory_limit": "256MB"}
        )

    def __enter__(self) -> Comparing:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()

    def read(self, side: Literal["api", "destination"], rows: StoredRows | None) -> None:
        """Take the fingerprints of one side."""
        if rows is None:
            self._scratch.execute(f"CREATE TABLE {side} (id TEXT, key TEXT, cursor TEXT, hash TEXT)")
            return
        if self._window and self._cursor:
            rows.limit(self._cursor, self._window, or_null=self._takes_null)
        rows.fingerprint(self._scratch, side, self._keys, self._cursor)

    def result(
        self, in_api: StoredRows | None, in_destination: StoredRows | None, redact: Callable[[str], str]
    ) -> Comparison:
        """Compare what was read.

        Args:
            in_api: The one side, still open for the examples.
            in_destination: The other one.
            redact: Hides secrets in the examples.
        """
        older, elsewhere = self._match()
        counts = {kind: self._count(f"pairs WHERE {where}") for kind, where in _KINDS.items()}
        return Comparison(
            in_api=self._count("api"),
            in_destination=self._count("destination") - elsewhere,
            missing=counts["missing"],
            extra=counts["extra"],
            different=counts["different"],
            older=older,
            examples=list(self._examples(in_api, in_destination, redact)),
        )

    def _match(self) -> tuple[int, int]:
        """Write the table `pairs`: of rows that have no equal on the other side, those with equal keys.

        Returns:
            How many rows were left out as older versions, and as those of other windows.
        """
        for side, other in (("api", "destination"), ("destination", "api")):
            numbered = "SELECT *, row_number() OVER (PARTITION BY hash) AS copy FROM"
            self._scratch.execute(
                f"CREATE TABLE {side}_only AS FROM ({numbered} {side}) ANTI JOIN ({numbered} {other})"
                " USING (hash, copy)"
            )
        older = elsewhere = 0
        if self._keeps_versions and self._keys:
            older = self._drop("key IN (SELECT key FROM api) AND hash NOT IN (SELECT hash FROM api)")
        if self._window and self._takes_null:  # which windows the API counts such rows to is not known
            elsewhere = self._drop("cursor IS NULL AND key NOT IN (SELECT key FROM api_only)")
        by = "key" if self._keys and not self._keeps_versions else "hash"
        numbered = f"SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY hash) AS place FROM"
        self._scratch.execute(
            "CREATE TABLE pairs AS SELECT coalesce(a.key, d.key) AS key, a.id AS api, d.id AS destination"
            f" FROM ({numbered} api_only) AS a FULL JOIN ({numbered} destination_only) AS d"
            f" ON a.{by} = d.{by} AND a.place = d.place"
        )
        return older, elsewhere

    def _drop(self, where: str) -> int:
        dropped = self._count(f"destination_only WHERE {where}")
        self._scratch.execute(f"DELETE FROM destination_only WHERE {where}")
        return dropped

    def _count(self, rows: str) -> int:
        return self._scratch.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]

    def _examples(
        self, in_api: StoredRows | None, in_destination: StoredRows | None, redact: Callable[[str], str]
    ) -> Iterator[Difference]:
        chosen: dict[Kind, list[Any]] = {
            kind: self._scratch.execute(
                f"SELECT key, api, destination FROM pairs WHERE {where} ORDER BY ALL LIMIT {EXAMPLES}"
            ).fetchall()
            for kind, where in _KINDS.items()
        }
        ids = [pair for pairs in chosen.values() for pair in pairs]
        left = in_api.contents([api for _, api, _ in ids if api]) if in_api else {}
        right = in_destination.contents([own for _, _, own in ids if own]) if in_destination else {}
        for kind, pairs in chosen.items():
            for _, api, own in pairs:
                sides = _texts(left.get(api, {})), _texts(right.get(own, {}))
                sent, there = ({name: redact(text) for name, text in side.items()} for side in sides)
                known = {**there, **sent}
                yield Difference(
                    kind,
                    key={name: known[name] for name in self._keys or known if name in known},
                    cursor=known.get(self._cursor) if self._cursor else None,
                    fields={
                        name: (sent.get(name, ""), there.get(name, ""))
                        for name in known
                        if kind == "different" and sides[0].get(name) != sides[1].get(name)
                    },
                )


_KINDS: dict[Kind, str] = {
    "missing": "destination IS NULL",
    "extra": "api IS NULL",
    "different": "api IS NOT NULL AND destination IS NOT NULL",
}


def _texts(row: Row, path: str = "") -> dict[str, str]:
    """The fields of a row as texts in which no value looks like another one; those of nested rows, too."""
    texts: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, Nested):
            texts[f"{path}{name}"] = f"{len(value.rows)} rows"
            for place, nested in value.rows:
                texts |= _texts(nested, f"{path}{name}.{place}.")
        else:
            texts[f"{path}{name}"] = _text(value)
    return texts


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) < _LONGEST else str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str | bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return str(value)


_LONGEST = 40  # digits
