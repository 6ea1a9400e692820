"""What the body of an answer is: how it is packed, its format and its encoding."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import nearest, one_of, shown
from analytics_dagster.spec.units import Size

FORMATS = ("json", "jsonl", "csv")
PACKINGS = ("zip", "gzip")


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _from_outside_in(words: list[str]) -> list[str]:
    known = (*FORMATS, *PACKINGS)
    for word in words:
        if word not in known:
            raise ValueError(f"expected {one_of(known)}, not {shown(word)}{nearest(word, known)}")
    if not words or words[-1] not in FORMATS:
        raise ValueError(f"expected {one_of(FORMATS)} at the end, inside of what it is packed in")
    if words[:-1] not in ([], ["zip"], ["gzip"], ["zip", "gzip"]):
        raise ValueError("expected a format, or what it is packed in before it: zip, gzip, or zip of gzip")
    return words


def _one_character(value: str) -> str:
    if len(value) != 1 or value in "\r\n":
        raise ValueError(f'expected one character, such as ";" or "\\t" in double quotes, not {shown(value)}')
    return value


def _encoding(value: str) -> str:
    try:
        value.encode(codecs.lookup(value).name)  # which fails for what is no encoding of text, such as zlib
    except (LookupError, ValueError):
        raise ValueError(
            f"expected an encoding such as utf-8, utf-16 or cp1252, not {shown(value)}"
        ) from None
    return value


Character = Annotated[
    str,
    AfterValidator(_one_character),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1}),
]


class Csv(Model):
    """How a CSV file is written, where it is not as in RFC 4180."""

    delimiter: Character = Field(
        default=",", description="What stands between two values.", examples=[";", "\t"]
    )
    quote: Character | None = Field(
        default='"',
        description="What stands around values, and doubled inside of them; null where nothing does.",
        examples=["'"],
    )
    header: bool = Field(default=True, description="Whether the first line holds names.", examples=[False])
    names: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        min_length=1,
        description="The names of the columns; by default those of the first line.",
        examples=[["id", "created_at", "revenue"]],
    )
    null: list[str] = Field(
        default=[""],
        description="Values that become null; an empty list: an empty value stays an empty text.",
        examples=[[], ["", "NULL"]],
    )

    @model_validator(mode="after")
    def _has_names(self) -> Self:
        if not self.header and self.names is None:
            raise ValueError("without a header nothing names the columns; give names")
        if self.names is not None and len({*self.names}) < len(self.names):
            raise ValueError("names holds one name twice; each column needs its own")
        if self.quote == self.delimiter:
            raise ValueError("delimiter and quote are the same character")
        return self


class ResponseFormat(Model):
    """What the body of an answer is.

    It is kept in a file on disk, and its rows are read from there bit by bit.
    """

    format: Annotated[
        list[str],
        BeforeValidator(_in_a_list),
        AfterValidator(_from_outside_in),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": list(FORMATS)},
                    {
                        "type": "array",
                        "items": {"enum": [*PACKINGS, *FORMATS]},
                        "minItems": 1,
                        "contains": {"enum": list(FORMATS)},
                    },
                ]
            }
        ),
    ] = Field(
        description="json; jsonl, where each line is a row; or csv, whose values are all texts (see `cast` in"
        " records, and columns). A list says in what it is packed, from outside in.",
        examples=["jsonl", ["gzip", "csv"], ["zip", "gzip", "jsonl"]],
    )
    members: str | None = Field(
        default=None,
        min_length=1,
        description="Which files of a ZIP are read, by a pattern for their whole path; by default all.",
        examples=["*.json.gz", "events/*"],
    )
    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        default=None,
        description="By default as the answer says, else UTF-8; a byte order mark says it more surely.",
        examples=["utf-16", "cp1252"],
    )
    end_error: str | None = Field(
        default=None,
        min_length=1,
        description="A text in the last line that means that the export broke off. The answer is asked for"
        " again, as `retry` says, and then fails the load.",
        examples=["terminated early"],
    )
    csv: Csv | None = None
    max_bytes: Size = Field(
        default=20 * 10**9,
        json_schema_extra={"default": "20GB"},
        description="What an answer may weigh once it is unpacked, not client.max_response_bytes, which"
        " holds for each single document of JSON, as that is read as a whole.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.members and not self.is_zip:
            raise ValueError("members are files of a ZIP, and format names none; write format: [zip, …]")
        if self.csv and self.kind != "csv":
            raise ValueError(f"csv says how CSV is written, and format is {self.kind}; leave it out")
        if self.end_error and self.kind == "json":
            raise ValueError("end_error is looked for in the last line of jsonl or csv; leave it out")
        return self

    @property
    def kind(self) -> str:
        """What is inside: json, jsonl or csv."""
        return self.format[-1]

    @property
    def is_zip(self) -> bool:
        """Whether it is packed as a ZIP, outermost."""
        return "zip" in self.format

    @property
    def is_gzip(self) -> bool:
        """Whether it, or each file of its ZIP, is packed by gzip."""
        return "gzip" in self.format

    @property
    def has_envelope(self) -> bool:
        """Whether there can be something around the rows."""
        return self.kind == "json"
