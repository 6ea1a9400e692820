"""How an API cuts its answers into pages: dlt's paginators with all their options."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from analytics_dagster.spec.model import Model


class SimplePaginator(Model):
    """One page, or dlt's own guess from the first answer."""

    type: Literal["single_page", "auto"]


class OffsetPaginator(Model):
    """`offset` and `limit`, until the total is reached or a page is empty."""

    type: Literal["offset"]
    limit: int = Field(gt=0)
    offset: int = 0
    offset_param: str | None = None
    offset_body_path: str | None = None
    limit_param: str | None = None
    limit_body_path: str | None = None
    total_path: str | None = "total"
    maximum_offset: int | None = None
    stop_after_empty_page: bool = True
    has_more_path: str | None = None


class PageNumberPaginator(Model):
    """Page numbers, until the stated number of pages is reached or a page is empty."""

    type: Literal["page_number"]
    base_page: int = 0
    page: int | None = None
    page_param: str | None = None
    page_body_path: str | None = None
    total_path: str | None = Field("total", description="Where the answer states its number of pages.")
    maximum_page: int | None = None
    stop_after_empty_page: bool = True
    has_more_path: str | None = None


class CursorPaginator(Model):
    """A token in the answer's body that asks for the next page."""

    type: Literal["cursor"]
    cursor_path: str = "cursors.next"
    cursor_param: str | None = None
    cursor_body_path: str | None = None
    stop_after_empty_page: bool = False
    has_more_path: str | None = None


class JsonLinkPaginator(Model):
    """The next page's URL in the answer's body."""

    type: Literal["json_link", "json_response"]
    next_url_path: str = "next"


class HeaderLinkPaginator(Model):
    """The next page's URL in the `Link` header (RFC 8288)."""

    type: Literal["header_link"]
    links_next_key: str = "next"


class HeaderCursorPaginator(Model):
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
