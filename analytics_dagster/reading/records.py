"""Makes rows what a file's `records` says: their shape, their fields, and what of them is hidden."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from analytics_dagster.reading.casts import CastError, caster
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.reading.expressions import Search
from analytics_dagster.reading.hiding import HashValue, boxes
from analytics_dagster.reading.shapes import Row, RowShape, UnfitError, kind, only_objects
from analytics_dagster.spec.expressions import field_path, in_envelope
from analytics_dagster.spec.records import FieldSource, Records


class MakeRows:
    """Makes rows.

    Args:
        records: What the file says, its templates filled in.
    """

    def __init__(self, records: Records) -> None:
        self._shape = RowShape(records.rows) if records.rows else None
        self._fields = [
            _Field(name, field, shows=not records.hides)
            for name, field in records.fields.items()
            if not field.parent
        ]
        self._drop = [field_path(path) for path in records.drop]
        self._hash = HashValue(records.hash.salt) if records.hash else None
        self._hashed = [field_path(path) for path in records.hash.fields] if records.hash else []
        # Rows may share what comes from the answer, which would be hashed once for each.
        self._copies = any(len(path) > 1 for path in self._hashed)

    def __deepcopy__(self, _: Any) -> MakeRows:
        """Itself: dlt copies a paginator for each row of a parent, and nothing here changes."""
        return self

    def rows(self, selected: Sequence[Any], envelope: Any, where: str) -> list[Row]:
        """The rows of one answer.

        Args:
            selected: What `data_selector` picked.
            envelope: The whole answer.
            where: Which answer that is, for messages.

        Raises:
            ContractError: If one does not fit; the message shows no value where the file hides any.
        """
        number = 0
        made: list[Row] = []
        if not selected:
            return made  # an answer without rows may well leave out their names
        try:
            shape = self._shape.of_answer(envelope) if self._shape else only_objects
            common = {field.name: field.of_answer(envelope) for field in self._fields}
            for number, row in enumerate(selected, 1):  # noqa: B007 - named where one fails
                for shaped in shape(row):
                    fields = {field.name: field(shaped, common[field.name]) for field in self._fields}
                    made.append(self._hide({**shaped, **fields}))
        except UnfitError as unfit:
            place = f"row {number} of " if number else ""
            problem = ContractError(f"{place}{where} does not fit `records`: {unfit}.")
        else:
            return made
        raise problem

    def hashed(self, fields: Row) -> Row:
        """The fields that rows take from their parent, those hashed that the file hashes.

        Args:
            fields: By their names in the row.

        Raises:
            ContractError: If one of them cannot be hashed.
        """
        try:
            return {
                name: self._hash(value, name) if self._hash and [name] in self._hashed else value
                for name, value in fields.items()
            }
        except UnfitError as unfit:
            problem = ContractError(f"A row does not fit `records`: {unfit}.")
        raise problem

    def _hide(self, row: Row) -> Row:
        for path in self._drop:
            for box, key in boxes(row, path):
                del box[key]
        if self._hash:
            row = copy.deepcopy(row) if self._copies else row
            # Each once, though two fields may be one object.
            found = {(id(box), key): box for path in self._hashed for box, key in boxes(row, path)}
            for (_, key), box in found.items():
                box[key] = self._hash(box[key], key)
        return row


class _Field:
    def __init__(self, name: str, field: FieldSource, *, shows: bool) -> None:
        self.name = name
        self._const = field.const
        self._envelope = Search(in_envelope(field.envelope)) if field.envelope else None
        self._search = Search(field.from_row) if field.from_row is not None else None
        self._to = field.cast
        self._cast = caster(field.cast) if field.cast else None
        self._shows = shows

    def of_answer(self, envelope: Any) -> Any:
        """The value that all rows of an answer have."""
        try:
            return self._envelope(envelope) if self._envelope else self._const
        except ValueError as error:
            raise UnfitError(f"the field `{self.name}`: {error}") from None

    def __call__(self, row: Row, common: Any) -> Any:
        if self._search is None:
            return common
        try:
            value = self._search(row)
        except ValueError as error:
            raise UnfitError(f"the field `{self.name}`: {error}") from None
        if self._cast is None or value is None:
            return value
        try:
            return self._cast(value)
        except CastError as error:
            what = f"{kind(value)}, {value!r:.80}," if self._shows else f"{kind(value)},"
            null = '; where that means no value, write from: "NAME || `null`"' if value == "" else ""
            raise UnfitError(
                f"the field `{self.name}` cannot become {self._to}: it is {what} {error}{null}"
            ) from None
