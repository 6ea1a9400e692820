"""What all paginators say of the end: the total that an API states, and its answer past the last page."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from analytics_dagster.spec.actions import Statuses, statuses
from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import shown
from analytics_dagster.spec.texts import json_path

IN_HEADER = "header:"
"""What a total's place begins with where it is the name of a header."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, section 5.6.2
_NEVER_THE_END = {401, 403, 407, 408, 425, 429}  # of credentials, and of requests that came too soon


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise ValueError(f"expected the name of a header such as X-Next-Page, not {shown(value)}")
    return value


def _total_path(value: str) -> str:
    if value.startswith(IN_HEADER):
        return IN_HEADER + _header(value.removeprefix(IN_HEADER))
    return json_path(value)


Header = Annotated[str, AfterValidator(_header)]
TotalPath = Annotated[str, AfterValidator(_total_path)]


class PastEnd(Model):
    """What an answer to a page after the first looks like that says: there are no more.

    All that is given must be so. Rows are held against a stated total all the same.
    """

    status_code: Statuses = Field(
        default=None, description="A status, or a list of them.", examples=[400, [404, 416]]
    )
    content: str | None = Field(
        default=None, min_length=1, description="A text in its body.", examples=["out of range"]
    )
    data_selector_required: Literal[False] | None = Field(
        default=None, description="false: it has nothing at data_selector, and tells of no error."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status_code is None and self.content is None and self.data_selector_required is None:
            raise ValueError("expected status_code, content or data_selector_required: false")
        codes = statuses(self.status_code) if self.status_code is not None else frozenset[int]()
        for code in sorted(_NEVER_THE_END & codes):
            raise ValueError(
                f"{code} says that a request may not be answered now, never that there is no page"
            )
        return self


class PaginatorBase(Model):
    """What all paginators share."""

    total_path: TotalPath | None = Field(
        default=None,
        description="Where an answer states the number of rows in all (JSONPath, or header:NAME). Without it,"
        " it is looked for in the usual places; null: rows are not held against any total.",
        examples=["meta.total", "header:X-Total"],
    )
    total_is: Literal["set", "page"] | None = Field(
        default=None,
        description="What the total counts: set: all rows; page: those of its page, so nothing is held"
        " against it. Without it, one that equals the length of each page is not trusted.",
    )
    past_end: PastEnd | None = Field(
        default=None,
        description="How the API answers where it has no more pages; without it, an error is one.",
        examples=[{"status_code": 400}, {"status_code": 404, "content": "no such page"}],
    )

    @property
    def names_total(self) -> bool:
        """Whether the file says where the total is, or that there is none."""
        return "total_path" in self.model_fields_set

    @property
    def total_in_body(self) -> str | None:
        """Where an answer's body has the total."""
        path = self.total_path
        return None if path is None or path.startswith(IN_HEADER) else path
