"""What a row is once `data_selector` has picked the list of rows: its shape, its fields, what is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from analytics_dagster.spec.expressions import EnvelopePath, Expression, FieldPath
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import nearest, one_of, shown
from analytics_dagster.spec.texts import Names, strftime_pattern

CASTS = ("bigint", "double", "decimal", "bool", "text", "timestamp", "date", "epoch", "epoch_ms")
_PATTERNS = ("date", "timestamp")
_SOURCES = ("from", "const", "envelope", "parent")


def _cast(value: str) -> str:
    kind, colon, pattern = value.partition(":")
    if kind in _PATTERNS and colon:
        if "%" not in pattern:
            raise ValueError(f"expected a pattern such as {kind}:%Y%m%d, not {shown(value)}")
        strftime_pattern(pattern)
    elif value not in CASTS:
        raise ValueError(
            f"expected {one_of(CASTS)}, or a pattern such as date:%Y%m%d, not {shown(value)}"
            + nearest(value, CASTS)
        )
    return value


def _const(value: object) -> object:
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"expected a text, a number, true, false or null, not {shown(value)}")
    return value


def _zip_names(value: object) -> object:
    if isinstance(value, str):
        return value
    names = cast("list[Any]", value) if isinstance(value, list) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            "expected the fields' names as a list, or the path of a list of names in the answer, such as"
            f" $.headers[*].name, not {shown(value)}"
        )
    if len(set(names)) < len(names):
        raise ValueError("each name may stand there once, else one value would hide the other")
    return cast("Any", value)


class Positions(Model):
    """Values that stand beside their names: `{values: metrics, names: [visitors, pageviews]}`."""

    values: EnvelopePath = Field(
        description="The list of values: JMESPath on the row, or on the whole answer with `$.` in front."
        " JMESPath's `[*]` leaves out nulls; where there are some, write `map(&value, metricValues)`.",
        examples=["dimensionValues[*].value", "metrics"],
    )
    names: Annotated[str | list[str], BeforeValidator(_zip_names)] = Field(
        description="As many names: a list, or JMESPath on the row, or with `$.` on the whole answer.",
        examples=[["day", "country"], "$.dimensionHeaders[*].name"],
    )


class Rows(Model):
    """The shape of rows that are not objects with named fields; where keys combine, in this order.

    All values come, or the load fails and names the first row that does not fit.
    """

    each: str | None = Field(
        default=None,
        min_length=1,
        description="The field of a row that holds a list: each of its items becomes a row, in which the item"
        " stands in place of the list, beside all other fields. zip sees that row.",
        examples=["values", "datapoints"],
    )
    zip: list[Positions] | None = Field(
        default=None,
        min_length=1,
        description="Each row has lists of values, whose names stand elsewhere. The row becomes an object of"
        " these fields alone; a list and its names must be equally long.",
        examples=[[{"values": "dimensions", "names": ["day"]}, {"values": "metrics", "names": ["visitors"]}]],
    )
    columns: EnvelopePath | None = Field(
        default=None,
        description="Each row is a list of values; where the answer has their names (JMESPath on the whole"
        " answer).",
        examples=["columns", "meta.fields[*].name"],
    )
    entries: Names | None = Field(
        default=None,
        description="Rows stand in an object, by date or id: each entry becomes a row, or several if it is a"
        " list, and its key the field of this name. Several names for objects in objects, from outside in.",
        examples=["date", ["event", "date"]],
    )
    without: list[str] = Field(
        default=[],
        description="Keys that `entries` leaves out, such as a sum of all.",
        examples=[["$overall"]],
    )
    scalar: str | None = Field(
        default=None,
        min_length=1,
        description="Rows (or the entries of `entries`) are plain values: the name of their field.",
        examples=["tag"],
    )

    @model_validator(mode="after")
    def _has_one_shape(self) -> Self:
        if self.zip and self.columns:
            raise ValueError("zip and columns exclude each other; keep the one that fits the rows")
        if not (self.each or self.zip or self.columns or self.entries or self.scalar):
            raise ValueError(
                "expected each, zip, columns, entries or scalar; leave rows out where rows are objects"
            )
        if self.each and (self.columns or self.entries or self.scalar):
            raise ValueError("each makes rows that are objects; zip alone goes with it")
        if self.scalar and (self.zip or self.columns) and not self.entries:
            raise ValueError("rows made by zip or columns are no plain values; leave scalar out")
        if self.without and not self.entries:
            raise ValueError("without names keys that entries leaves out, and there is no entries")
        return self


class FieldSource(Model):
    """Where a field's value comes from; a text alone is `{from: TEXT}` without a cast."""

    from_row: Expression | None = Field(
        default=None,
        alias="from",
        description="JMESPath on the row as `rows` made it; null where it matches nothing.",
        examples=["properties.time", 'properties."$insert_id"', "length(items)"],
    )
    cast: Annotated[str, AfterValidator(_cast)] | None = Field(
        default=None,
        description="What the value becomes; null stays null, and a value that cannot become it exactly fails"
        " the load. `date:` or `timestamp:` and a strptime pattern read other texts, epoch_ms also"
        " `/Date(1704067200000)/`; a time without an offset is in UTC.",
        examples=[*CASTS, "date:%Y%m%d", "timestamp:%d.%m.%Y %H:%M"],
    )
    const: Annotated[Any, AfterValidator(_const)] = Field(
        default=None, description="This value; ${NAME} may stand in a text.", examples=["${SITE}"]
    )
    envelope: EnvelopePath | None = Field(
        default=None,
        description="JMESPath on the whole answer that the row came in.",
        examples=["meta.generated_at"],
    )
    parent: str | None = Field(
        default=None,
        min_length=1,
        description="A field of the parent's row that this one was asked for with; one of a parent's parent"
        " is PARENT.FIELD, one of for_each is for_each.NAME.",
        examples=["id", "accounts.id"],
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in _SOURCES if name.replace("from", "from_row") in self.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"expected one of {one_of(_SOURCES)}" + (" and no second" if given else ""))
        if self.cast and self.from_row is None:
            raise ValueError("a cast goes with from; for the others give columns a data_type")
        return self


class Hash(Model):
    """Fields whose values are replaced by a hash; a list alone is `{fields: LIST}`."""

    fields: list[FieldPath] = Field(min_length=1, description="As in `drop`.", examples=[["email"]])
    salt: str | None = Field(
        default=None,
        min_length=1,
        description="A secret that goes into the hash (HMAC), without which names and addresses can be found"
        " by trying. With another one, equal values have other hashes than before.",
        examples=["${SALT}"],
    )


class Records(Model):
    """What a row is, after `data_selector` has picked the list: `rows`, `fields`, then `drop` and `hash`.

    All other keys (`primary_key`, `cursor_path`, `columns`, placeholders of children) mean the fields that
    result; totals are compared with the rows as the API sent them.
    """

    rows: Rows | None = Field(default=None, description="The shape of rows that are not objects.")
    fields: dict[str, FieldSource] = Field(
        default={},
        description="Fields to add or to replace; all others stay, also those that a value was lifted from"
        " (see `drop`). A text is JMESPath on the row, which sees no other field of this list.",
        examples=[
            {
                "time": {"from": "properties.time", "cast": "epoch"},
                "insert_id": 'properties."$insert_id"',
                "site": {"const": "${SITE}"},
                "exported": {"envelope": "meta.generated_at"},
                "team": {"parent": "id"},
            }
        ],
    )
    drop: list[FieldPath] = Field(
        default=[],
        description="Fields that are left out, by name or by a path such as visits[*].ip; where one is"
        " missing, nothing happens. Neither they nor what is hashed is written or shown anywhere.",
        examples=[["email", 'properties."$ip"']],
    )
    hash: Hash | None = Field(
        default=None,
        description="Fields whose values become their SHA-256 as hexadecimal digits, of the text, or the"
        " number as text, in UTF-8; with a salt HMAC-SHA-256. Null stays null.",
        examples=[["email"], {"fields": ["email"], "salt": "${SALT}"}],
    )

    @property
    def hides(self) -> bool:
        """Whether some of what the API sends must not be seen."""
        return bool(self.drop or self.hash)

    @property
    def from_parent(self) -> dict[str, str]:
        """The fields that come from the parent's row, and their names there."""
        return {name: field.parent for name, field in self.fields.items() if field.parent}

    def copies_of(self, path: str) -> Iterator[str]:
        """The fields that hold a plain copy of what is at a path."""
        return (name for name, field in self.fields.items() if field.from_row == path)
