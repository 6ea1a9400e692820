"""What `response` and `export` may not say together with other keys."""

from __future__ import annotations

from collections.abc import Iterator

from analytics_dagster.spec.api import Resource
from analytics_dagster.spec.paginators import CursorPaginator, JsonLinkPaginator
from analytics_dagster.spec.placeholders import Mistake
from analytics_dagster.spec.problems import one_of

_AFTER_EXPORTS = ("single_page", "header_cursor", "header_link", "header_next")
_PAGINATOR = ("endpoint", "paginator")


def answers(resource: Resource) -> Iterator[Mistake]:
    """What would be looked for around the rows, where an answer has nothing but rows."""
    response, paginator = resource.endpoint.response, resource.endpoint.paginator
    if resource.endpoint.export and paginator and paginator.type not in _AFTER_EXPORTS:
        yield Mistake(
            _PAGINATOR,
            f"the pages of an export are found by {one_of(_AFTER_EXPORTS)}, and not by {paginator.type}",
        )
    if response is None or response.has_envelope:
        return
    nothing = f"an answer of {response.kind} has nothing but rows"
    if isinstance(paginator, CursorPaginator | JsonLinkPaginator):
        yield Mistake(
            _PAGINATOR,
            f"{nothing}, so that no next page can be found in it; write single_page, header_link,"
            " header_cursor, offset or page_number",
        )
    if paginator and paginator.names_total and paginator.total_in_body:
        yield Mistake((*_PAGINATOR, "total_path"), f"{nothing}; write null, or header:NAME where one has it")
    if getattr(paginator, "has_more_path", None):
        yield Mistake((*_PAGINATOR, "has_more_path"), f"{nothing}; leave it out")
    selector = resource.endpoint.data_selector
    if response.kind == "csv" and selector not in (None, "$"):
        yield Mistake(("endpoint", "data_selector"), f"{nothing}; leave it out, or write $")
    records = resource.records
    if records is None:
        return
    rows = records.rows
    if rows and (rows.columns or any(str(part.names).startswith("$.") for part in rows.zip or [])):
        yield Mistake(
            ("records", "rows"), f"{nothing}; the names of positional values have to be written out"
        )
    for name, field in records.fields.items():
        if field.envelope:
            yield Mistake(("records", "fields", name), f"{nothing}, and so no envelope to take a value from")
