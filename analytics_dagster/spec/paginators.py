"""How an API cuts its answers into pages: dlt's paginators with all their options."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.texts import JsonPath

_ENDLESS = (
    "the pages would never end: give total_path, {} or has_more_path, or leave stop_after_empty_page on"
)


class _Paginator(Model):
    """What all paginators share."""

    total_path: JsonPath | None = Field(
        default=None,
        description="Where an answer states the number of rows in all (JSONPath). Without it, it is looked"
        " for in the usual places; null: rows are not held against any total.",
    )

    @property
    def names_total(self) -> bool:
        """Whether the file says where the total is, or that there is none."""
        return "total_path" in self.model_fields_set


class SimplePaginator(_Paginator):
    """A single page, or (auto) what dlt makes of the first answer."""

    type: Literal["single_page", "auto"]


def _refuse_both(param: str, given: str | None, body_path: str, given_body: str | None) -> None:
    if given is not None and given_body is not None:
        raise ValueError(f"{param} and {body_path} exclude each other: the value is sent once")
    if "" in (given, given_body):
        raise ValueError(f"{param} or {body_path} is empty; leave it out for the default")


class OffsetPaginator(_Paginator):
    """`offset` and `limit`, until the total is reached or a page is empty."""

    type: Literal["offset"]
    limit: int = Field(gt=0)
    offset: int = 0
    offset_param: str | None = None
    offset_body_path: str | None = None
    limit_param: str | None = None
    limit_body_path: str | None = None
    total_path: JsonPath | None = "total"
    maximum_offset: int | None = None
    stop_after_empty_page: bool = True
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_both("offset_param", self.offset_param, "offset_body_path", self.offset_body_path)
        _refuse_both("limit_param", self.limit_param, "limit_body_path", self.limit_body_path)
        ends = (self.total_path, self.maximum_offset, self.has_more_path)
        if ends == (None, None, None) and not self.stop_after_empty_page:
            raise ValueError(_ENDLESS.format("maximum_offset"))
        return self


class PageNumberPaginator(_Paginator):
    """Page numbers, until the stated number of pages is reached or a page is empty."""

    type: Literal["page_number"]
    base_page: int = 0
    page: int | None = None
    page_param: str | None = None
    page_body_path: str | None = None
    total_path: JsonPath | None = Field(
        default="total", description="Where the answer states its number of pages."
    )
    maximum_page: int | None = None
    stop_after_empty_page: bool = True
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_both("page_param", self.page_param, "page_body_path", self.page_body_path)
        ends = (self.total_path, self.maximum_page, self.has_more_path)
        if ends == (None, None, None) and not self.stop_after_empty_page:
            raise ValueError(_ENDLESS.format("maximum_page"))
        return self


class CursorPaginator(_Paginator):
    """A token in the answer's body that asks for the next page."""

    type: Literal["cursor"]
    cursor_path: JsonPath = "cursors.next"
    cursor_param: str | None = None
    cursor_body_path: str | None = None
    stop_after_empty_page: bool = False
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_both("cursor_param", self.cursor_param, "cursor_body_path", self.cursor_body_path)
        return self


class JsonLinkPaginator(_Paginator):
    """The next page's URL in the answer's body."""

    type: Literal["json_link", "json_response"]
    next_url_path: JsonPath = "next"


class HeaderLinkPaginator(_Paginator):
    """The next page's URL in the `Link` header (RFC 8288)."""

    type: Literal["header_link"]
    links_next_key: str = "next"


class HeaderCursorPaginator(_Paginator):
    """A token in a header of the answer that asks for the next page."""

    type: Literal["header_cursor"]
    cursor_key: str = "next"
    cursor_param: str = "cursor"


def _full_form(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Paginator = Annotated[
    Annotated[
        SimplePaginator
        | OffsetPaginator
        | PageNumberPaginator
        | CursorPaginator
        | JsonLinkPaginator
        | HeaderLinkPaginator
        | HeaderCursorPaginator,
        Field(discriminator="type"),
    ],
    BeforeValidator(_full_form),
]
