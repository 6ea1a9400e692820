"""An API file's resource as dlt's REST source: its keys become dlt's, Python objects where dlt wants them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import orjson
from dlt.common import jsonpath
from dlt.extract import DltSource
from dlt.sources.helpers.rest_client.detector import single_entity_path
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import RESTAPIConfig

from analytics_dagster.loading.batches import BATCH_ROWS, gather_pages
from analytics_dagster.loading.children import ask_children, asked_endpoint, only_values, parent_name
from analytics_dagster.loading.cursor import CountRows, ReadCursor, cursor_column, is_number_cursor
from analytics_dagster.loading.normalizer import DECLARED, exact_schema
from analytics_dagster.loading.parent_cursors import ParentCursors
from analytics_dagster.loading.parents import from_the_first
from analytics_dagster.loading.parts import cut_into_parts
from analytics_dagster.loading.resolve import ResolvedApi
from analytics_dagster.loading.values import KeepValues
from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.auth import build_auth
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.completion import Completion, described_for_dlt
from analytics_dagster.reading.exports import ExportPages
from analytics_dagster.reading.formats import Format
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.paginators import build_paginator
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.unpacked import UnpackedPages
from analytics_dagster.reading.watching import WatchedPaginator
from analytics_dagster.spec import (
    Api,
    Auth,
    Incremental,
    Resource,
    ResponseFormat,
    SimplePaginator,
    Window,
    families,
)
from analytics_dagster.spec.combinations import table_key
from analytics_dagster.spec.pages import with_places
from analytics_dagster.spec.placeholders import path_for_dlt

_HINTS = (
    "primary_key",
    "merge_key",
    "schema_contract",
    "max_table_nesting",
    "table_name",
)


def schema_name(api: Api, resource: Resource | str) -> str:
    """The name of dlt's schema and pipeline: one for each resource, so that no cursor is shared.

    Args:
        api: The API.
        resource: A resource, or the name of one that need not be in the file any more.
    """
    return schema_prefix(api) + table_key(resource if isinstance(resource, str) else resource.name)


def schema_prefix(api: Api) -> str:
    """How the names of all schemas of an API begin."""
    return f"{table_key(api.name)}__"


def api_session(resolved: ResolvedApi, meter: Meter, *, sample: bool = False) -> ApiSession:
    """The session that sends the requests of one load; to be closed after it.

    Args:
        resolved: The API, its templates filled in.
        meter: Counts requests and pages.
        sample: Read no more than the beginning of exports.
    """
    api = resolved.api
    return ApiSession(api.client, api.retry, api.limits, resolved.redact, meter, sample=sample)


def rest_api_config(
    resolved: ResolvedApi, resource: Resource, session: ApiSession, window: Window | None = None
) -> RESTAPIConfig:
    """The configuration that `rest_api_source` takes, for one resource and the parents that it needs.

    Args:
        resolved: The API, its templates filled in.
        resource: The resource to read, taken from that API.
        session: Sends the requests.
        window: What to read; None for everything, or what is new since the stored cursor.
    """
    api = resolved.api
    parents = families.chain(resource, families.by_name(api.resources))
    topmost = [*parents, resource][0]
    if any(one.records and one.records.hides for one in (*parents, resource)):
        resolved.redact.hides_bodies = True

    def token_session(url: str) -> ApiSession:
        token_client = api.client.model_copy(update={"base_url": url})
        return ApiSession(token_client, api.retry, api.limits, resolved.redact, session.meter)

    def auth(of: Auth | None) -> Any:
        return build_auth(of, token_session, resolved.redact)

    return cast(
        "RESTAPIConfig",
        {
            "client": _given(
                base_url=api.client.base_url,
                headers=api.client.headers or None,
                auth=auth(api.client.auth),
                session=session,
            ),
            "resources": [
                *([only_values()] if topmost.is_child else ()),
                *(_resource(api, one, None, session, auth, selected=False) for one in parents),
                _resource(api, resource, window, session, auth, selected=True),
            ],
        },
    )


def build_source(
    resolved: ResolvedApi,
    resource: Resource,
    session: ApiSession,
    counted: CountRows,
    window: Window | None = None,
    *,
    cursors: ParentCursors | None = None,
    forget: bool = False,
    batch_rows: int = BATCH_ROWS,
) -> DltSource:
    """The dlt source that reads one resource.

    Args:
        resolved: The API, its templates filled in.
        resource: The resource to read, taken from that API.
        session: Sends the requests.
        counted: Counts the rows of each window.
        window: What to read; None for everything, or what is new since the stored cursor.
        cursors: Where a child goes on that has a cursor and no partitions.
        forget: Forget the stored cursor, and read everything.
        batch_rows: How many rows to read before they go on together.
    """
    config = rest_api_config(resolved, resource, session, window)
    name = schema_name(resolved.api, resource)
    source = rest_api_source(config, name=name)
    source.schema = exact_schema(name)
    source.root_key = True  # nested rows can be merged, also where the first loads appended or replaced
    ask_children(source, resolved.api, resource, session, cursors, window=window)
    loaded = source.resources[resource.name]
    loaded.add_step(KeepValues(resource, session.meter))
    if cursors is not None:
        loaded.add_step(cursors)
    cursor = resource.endpoint.incremental
    # Where rows come in order, dlt stops reading after the page with the last one, so it sees each page.
    is_ordered = cursor is not None and cursor.row_order is not None
    if cursor is not None:
        read_cursor = ReadCursor(resource, None if is_ordered else window, forget=forget, counted=counted)
        loaded.add_step(read_cursor)
    loaded.add_step(counted)
    if window and not is_ordered:
        cut_into_parts(loaded, resource, window, session, all_rows=batch_rows >= BATCH_ROWS)
    if not is_ordered:
        gather_pages(loaded, session.meter, batch_rows)
    return source


def _resource(
    api: Api,
    resource: Resource,
    window: Window | None,
    session: ApiSession,
    auth: Callable[[Auth | None], Any],
    *,
    selected: bool,
) -> dict[str, Any]:
    hints = {key: getattr(resource, key) for key in _HINTS if getattr(resource, key) is not None}
    columns = {name: {**hint, DECLARED: "data_type" in hint} for name, hint in resource.columns.items()}
    incremental = resource.endpoint.incremental
    if incremental and (cursor := cursor_column(resource)):
        hint = columns.setdefault(cursor, {})
        if not is_number_cursor(incremental):
            hint.setdefault("data_type", "timestamp")  # so that a table of no rows has the column too
        if resource.primary_key and (resource.write_disposition != "append" or resource.partitions):
            hint.setdefault("dedup_sort", "desc")  # of two versions of a row in one load, the later one wins
    return {
        **hints,
        "name": resource.name,
        "write_disposition": resource.write_disposition,
        "columns": columns,
        "selected": selected,
        "endpoint": _endpoint(api, resource, window, session, auth, filtered=selected),
    }


def _endpoint(
    api: Api,
    resource: Resource,
    window: Window | None,
    session: ApiSession,
    auth: Callable[[Auth | None], Any],
    *,
    filtered: bool,
) -> dict[str, Any]:
    resource = resource.model_copy(update={"endpoint": with_places(resource.endpoint)})
    endpoint = resource.endpoint if filtered else from_the_first(resource)
    if resource.is_child:
        parent = parent_name(resource, families.by_name(api.resources))
        per_parent = endpoint.incremental is not None and resource.has_cursor_per_parent and window is None
        endpoint = asked_endpoint(resource, endpoint, parent, per_parent=per_parent)
    paginator = endpoint.paginator or api.client.paginator
    selector = endpoint.data_selector
    path = path_for_dlt(endpoint.path)
    if single_entity_path(path):  # one row by its id, which has no pages, as dlt knows by the path
        paginator = paginator or SimplePaginator(type="single_page")
        selector = selector or "$"
    watched: Callable[..., WatchedPaginator] = WatchedPaginator
    response = endpoint.response or (ResponseFormat(format=["json"]) if endpoint.export else None)
    if response:
        inside = None
        if not response.has_envelope:
            inside = None if selector in (None, "$") else jsonpath.compile_path(selector)
            selector = "$"
        how = Format(response, inside, endpoint.data_selector_required)
        watched = partial(UnpackedPages, how)
        if endpoint.export:
            watched = partial(ExportPages, endpoint.export, api.client.base_url, how)
            # That of the client is for lists, and would write its offsets into the request for the export.
            paginator = endpoint.paginator or SimplePaginator(type="single_page")
    key = resource.primary_key or ()
    incremental = endpoint.incremental
    return _given(
        path=path,
        **described_for_dlt(endpoint),
        auth=auth(endpoint.auth),
        data_selector=selector and jsonpath.compile_path(selector),  # dlt would parse a text for each page
        paginator=build_paginator(
            paginator,
            selector,
            session,
            required=endpoint.data_selector_required,
            key=[key] if isinstance(key, str) else key,
            records=resource.records,
            completion=Completion(
                endpoint.method,
                Actions(endpoint.response_actions) if endpoint.response_actions else None,
            ),
            watched=watched,
        ),
        incremental=_incremental(resource, incremental, window) if incremental else None,
    )


def _incremental(resource: Resource, incremental: Incremental, window: Window | None) -> dict[str, Any]:
    settings = incremental.model_dump(
        exclude={
            *("format", "start", "end", "timezone", "step", "min"),
            *("cursor_path", "initial_value", "end_value"),
        },
        exclude_none=True,
    )
    if resource.write_disposition == "merge" and resource.primary_key:
        # By their keys, dlt would leave out rows of the stored cursor's instant that have changed since: by a
        # second change in one second, or where the API rounds to minutes.
        key = resource.primary_key
        settings.setdefault("primary_key", _all_fields_or([key] if isinstance(key, str) else key))
    if is_number_cursor(incremental):
        bounds = {"initial_value": incremental.initial_value, "end_value": incremental.end_value}
        return {**settings, **_given(**bounds), "cursor_path": incremental.cursor_path}
    written = Bounds(incremental)
    start = end = None
    if window is not None:
        start, end = window.start, window.end
    else:
        start = None if incremental.initial_value is None else written.parse(incremental.initial_value)
        end = None if incremental.end_value is None else written.parse(incremental.end_value)

    return {
        **settings,
        **_given(initial_value=start, end_value=end),
        "cursor_path": cursor_column(resource) or "",
        "convert": written.writer(end),
    }


def _all_fields_or(key: list[str]) -> Callable[[Any], list[str]]:
    """What tells rows apart at the stored cursor: all their fields, or the key where dlt cannot hash them."""

    def fields(row: Any) -> list[str]:
        try:
            orjson.dumps(row, default=str)
        except TypeError:  # such as for an integer beyond 64 bits
            return key
        return list(row)

    return fields


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
