"""How an API cuts its answers into pages: dlt's paginators with all their options, and a few more."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.page_ends import Header, PaginatorBase, TotalPath
from analytics_dagster.spec.problems import nearest, shown
from analytics_dagster.spec.texts import JsonPath, Names

_ENDLESS = (
    "the pages would never end: give total_path, {} or has_more_path, or leave stop_after_empty_page on"
)


class SimplePaginator(PaginatorBase):
    """A single page, or (auto) what dlt makes of the first answer."""

    type: Literal["single_page", "auto"]


def _refuse_doubles(paginator: Model, *values: str) -> None:
    """A value is sent in one place."""
    for value in values:
        names = [f"{value}_{place}" for place in ("param", "body_path", "form")]
        given = [name for name in names if getattr(paginator, name, None) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: the value is sent once")
        if given and not getattr(paginator, given[0]):
            raise ValueError(f"{given[0]} is empty; leave it out for the default")


class _Offsets(PaginatorBase):
    """What offsets take."""

    offset: int = 0
    offset_param: str | None = None
    offset_body_path: str | None = None
    offset_form: str | None = Field(default=None, description="The field of a form body that has the offset.")
    limit_param: str | None = None
    limit_body_path: str | None = None
    limit_form: str | None = Field(default=None, description="The field of a form body that has the limit.")
    maximum_offset: int | None = None


class _PageNumbers(PaginatorBase):
    """What page numbers take."""

    base_page: int = 0
    page: int | None = None
    page_param: str | None = None
    page_body_path: str | None = None
    page_form: str | None = Field(
        default=None, description="The field of a form body that has the page number."
    )
    maximum_page: int | None = None


class OffsetPaginator(_Offsets):
    """`offset` and `limit`, until the total is reached or a page is empty."""

    type: Literal["offset"]
    limit: int = Field(gt=0)
    total_path: TotalPath | None = "total"
    stop_after_empty_page: bool = True
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_doubles(self, "offset", "limit")
        ends = (self.total_in_body, self.maximum_offset, self.has_more_path)
        if ends == (None, None, None) and not self.stop_after_empty_page:
            raise ValueError(_ENDLESS.format("maximum_offset"))
        return self


class PageNumberPaginator(_PageNumbers):
    """Page numbers, until the stated number of pages is reached or a page is empty.

    How long pages are stands in `params`, under the API's name for it.
    """

    type: Literal["page_number"]
    total_path: TotalPath | None = Field(
        default="total",
        description="Where the answer states its number of pages; with total_is: set, of rows.",
        examples=["total_pages", "header:X-WP-TotalPages"],
    )
    stop_after_empty_page: bool = True
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_doubles(self, "page")
        ends = (self.total_in_body, self.maximum_page, self.has_more_path)
        if ends == (None, None, None) and not self.stop_after_empty_page:
            raise ValueError(_ENDLESS.format("maximum_page"))
        return self


class UntilEmptyPaginator(_Offsets, _PageNumbers):
    """Offsets or page numbers of an API that states no total: until a page is empty."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "until_empty", "by": "page", "base_page": 1},
                {
                    "type": "until_empty",
                    "by": "offset",
                    "limit": 500,
                    "offset_form": "filter_offset",
                    "limit_form": "filter_limit",
                },
            ]
        }
    )

    type: Literal["until_empty"]
    by: Literal["offset", "page"] = Field(description="What tells the pages apart.")
    limit: int | None = Field(default=None, gt=0, description="With by: offset, the rows of a page.")

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        kind = OffsetPaginator if self.by == "offset" else PageNumberPaginator
        for name in sorted(self.model_fields_set - {"by", *kind.model_fields}):
            where = "; write how long pages are into params" if name.startswith("limit") else ""
            raise ValueError(f"{name} is nothing that by: {self.by} takes{where}")
        if self.by == "offset" and self.limit is None:
            raise ValueError("by: offset needs limit, the rows of a page")
        _refuse_doubles(self, "offset", "limit", "page")
        return self

    @property
    def in_full(self) -> OffsetPaginator | PageNumberPaginator:
        """The same in dlt's words."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"type", "by"}}
        if self.by == "offset":
            return OffsetPaginator.model_validate({"type": "offset", "total_path": None, **given})
        return PageNumberPaginator.model_validate({"type": "page_number", "total_path": None, **given})


class CursorPaginator(PaginatorBase):
    """A token in the answer's body that asks for the next page."""

    type: Literal["cursor"]
    cursor_path: JsonPath = "cursors.next"
    cursor_param: str | None = None
    cursor_body_path: str | None = None
    cursor_form: str | None = Field(default=None, description="The field of a form body that has the token.")
    stop_after_empty_page: bool = False
    has_more_path: JsonPath | None = None

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _refuse_doubles(self, "cursor")
        return self


class LinksPaginator(PaginatorBase):
    """What paginators share that find the next page's URL in an answer."""

    stop_after_empty_page: bool = Field(
        default=False,
        description="Whether a page without rows is the last one, as of an API that always has a next link.",
    )
    next_method: Literal["GET"] | None = Field(
        default=None,
        description="GET: next links are asked for by GET, without the body of the first request; without it,"
        " as the first request is.",
    )


class JsonLinkPaginator(LinksPaginator):
    """The next page's URL in the answer's body."""

    type: Literal["json_link", "json_response"]
    next_url_path: JsonPath = "next"


class HeaderLinkPaginator(LinksPaginator):
    """The next page's URL in the `Link` header (RFC 8288)."""

    type: Literal["header_link"]
    links_next_key: str = "next"


class HeaderNextPaginator(LinksPaginator):
    """The next page's URL, whole or relative, in a header of another name than `Link`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "header_next", "header": "X-Next-Page-Url"}]}
    )

    type: Literal["header_next"]
    header: Header = Field(description="The header's name.", examples=["X-Next-Page-Url"])


class HeaderCursorPaginator(PaginatorBase):
    """A token in a header of the answer that asks for the next page."""

    type: Literal["header_cursor"]
    cursor_key: str = "next"
    cursor_param: str = "cursor"


class KeysetPaginator(PaginatorBase):
    """Rows that follow the last one: its keys go where `{page.FIELD}` stands in the request.

    Keys are fields of rows as `records` makes them, by which the API sorts. Rows that it sends again, since
    they have the very keys, are left out.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "keyset", "keys": "id"},
                {"type": "keyset", "keys": ["timestamp", "uuid"], "start": {"timestamp": "1970-01-01"}},
            ]
        }
    )

    type: Literal["keyset"]
    keys: Names = Field(description="What the API sorts by, all of it sent as {page.FIELD}.", examples=["id"])
    limit: int | None = Field(
        default=None,
        gt=0,
        description="How many rows a full page has. Pages are read until no row follows; it tells whether"
        " there may be more rows with equal keys than a page has. Send it by params or json.",
    )
    start: dict[str, Any] = Field(
        default={},
        description="The keys in the first request; a parameter or field whose key has none is left out.",
        examples=[{"id": 0}, {"timestamp": "{incremental.start_value}"}],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.fields or len(set(self.fields)) < len(self.fields):
            raise ValueError("keys should name at least one field, and each once")
        for name, value in self.start.items():
            if name not in self.fields:
                raise ValueError(f"start.{name} is none of keys" + nearest(name, self.fields))
            if not isinstance(value, str | int | float):
                raise ValueError(  # noqa: TRY004 - pydantic's
                    f"start.{name} should be a text or a number, not {shown(value)}"
                )
        return self

    @property
    def fields(self) -> list[str]:
        """The keys, one or several."""
        return [self.keys] if isinstance(self.keys, str) else self.keys


def _full_form(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Paginator = Annotated[
    Annotated[
        SimplePaginator
        | OffsetPaginator
        | PageNumberPaginator
        | UntilEmptyPaginator
        | CursorPaginator
        | JsonLinkPaginator
        | HeaderLinkPaginator
        | HeaderNextPaginator
        | HeaderCursorPaginator
        | KeysetPaginator,
        Field(discriminator="type"),
    ],
    BeforeValidator(_full_form),
]
