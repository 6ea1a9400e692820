"""An API file's resource as dlt's REST source: its keys become dlt's, Python objects where dlt wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from dlt.common import jsonpath
from dlt.extract import DltResource, DltSource
from dlt.sources.helpers.rest_client.detector import single_entity_path
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import RESTAPIConfig

from analytics_dagster.loading.batches import BATCH_ROWS, gather_pages
from analytics_dagster.loading.cursor import CountRows, ReadCursor, cursor_column, is_number_cursor
from analytics_dagster.loading.normalizer import DECLARED, exact_schema
from analytics_dagster.loading.parents import from_the_first
from analytics_dagster.loading.parts import cut_into_parts
from analytics_dagster.loading.resolve import ResolvedApi
from analytics_dagster.loading.values import KeepValues
from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.auth import build_auth
from analytics_dagster.reading.bounds import Bounds
from analytics_dagster.reading.completion import Completion, described_for_dlt
from analytics_dagster.reading.formats import Format
from analytics_dagster.reading.meter import Meter
from analytics_dagster.reading.paginators import WatchedPaginator, build_paginator
from analytics_dagster.reading.records import MakeRows
from analytics_dagster.reading.session import ApiSession
from analytics_dagster.reading.side_by_side import side_by_side
from analytics_dagster.reading.unpacked import UnpackedPages
from analytics_dagster.spec import Api, Auth, Incremental, Resource, SimplePaginator, Window
from analytics_dagster.spec.combinations import table_key
from analytics_dagster.spec.placeholders import path_for_dlt

_HINTS = (
    "primary_key",
    "merge_key",
    "schema_contract",
    "max_table_nesting",
    "table_name",
    "parallelized",
    "include_from_parent",
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
    parents = _parents(api, resource)
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
        forget: Forget the stored cursor, and read everything.
        batch_rows: How many rows to read before they go on together.
    """
    config = rest_api_config(resolved, resource, session, window)
    name = schema_name(resolved.api, resource)
    source = rest_api_source(config, name=name)
    source.schema = exact_schema(name)
    source.root_key = True  # nested rows can be merged, also where the first loads appended or replaced
    for child in source.resources.values():
        if child.is_transformer and not _named(resolved.api, child.name).parallelized:
            _read_side_by_side(child, session)
    loaded = source.resources[resource.name]
    loaded.add_step(KeepValues(resource))
    cursor = resource.endpoint.incremental
    # Where rows come in order, dlt stops reading after the page with the last one, so it sees each page.
    is_ordered = cursor is not None and cursor.row_order is not None
    if cursor is not None:
        loaded.add_step(ReadCursor(resource, None if is_ordered else window, forget=forget))
    loaded.add_step(counted)
    if window and not is_ordered:
        cut_into_parts(loaded, resource, window, session, all_rows=batch_rows >= BATCH_ROWS)
    if not is_ordered:
        gather_pages(loaded, session.meter, batch_rows)
    return source


def _read_side_by_side(child: DltResource, session: ApiSession) -> None:
    """Let the children of several parents be read at once, where dlt reads those of one after another.

    dlt's own `parallelized` gives them in any order, and keeps all children of a parent in memory.
    """
    pipe: Any = child._pipe  # pyright: ignore[reportPrivateUsage]
    of_one = pipe.gen

    def of_all(parents: list[Any], meta: Any = None) -> Iterator[Any]:
        return side_by_side((iter(of_one([parent], meta=meta)) for parent in parents), session)

    pipe.replace_gen(of_all)


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
    if given := _from_parent(resource):
        hints |= given
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


def _from_parent(resource: Resource) -> dict[str, Any]:
    """What gives rows the fields of their parent that `records` names: dlt knows which row that is."""
    records, parent = resource.records, resource.parent
    if not (records and parent and records.from_parent):
        return {}
    make = MakeRows(records)
    kept = resource.include_from_parent

    def with_parent(row: Any) -> Any:
        return make.with_parent(row, kept, f"_{parent}_")

    return {
        "include_from_parent": list(dict.fromkeys([*kept, *records.from_parent.values()])),
        "processing_steps": [{"map": with_parent}],
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
    endpoint = resource.endpoint if filtered else from_the_first(resource)
    paginator = endpoint.paginator or api.client.paginator
    selector = endpoint.data_selector
    path = path_for_dlt(endpoint.path)
    if single_entity_path(path):  # one row by its id, which has no pages, as dlt knows by the path
        paginator = paginator or SimplePaginator(type="single_page")
        selector = selector or "$"
    watched: Callable[..., WatchedPaginator] = WatchedPaginator
    if endpoint.response:
        inside = None
        if not endpoint.response.has_envelope:
            inside = None if selector in (None, "$") else jsonpath.compile_path(selector)
            selector = "$"
        watched = partial(UnpackedPages, Format(endpoint.response, inside, endpoint.data_selector_required))
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
        incremental=_incremental(incremental, cursor_column(resource) or "", window) if incremental else None,
    )


def _incremental(incremental: Incremental, column: str, window: Window | None) -> dict[str, Any]:
    settings = incremental.model_dump(
        exclude={
            *("format", "start", "end", "timezone", "step", "min"),
            *("cursor_path", "initial_value", "end_value"),
        },
        exclude_none=True,
    )
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
        "cursor_path": column,
        "convert": written.writer(end),
    }


def _parents(api: Api, resource: Resource) -> list[Resource]:
    """The resources that a child resource is read for, the topmost first."""
    chain: list[Resource] = []
    while (name := resource.parent) is not None:
        resource = _named(api, name)
        chain.insert(0, resource)
    return chain


def _named(api: Api, name: str) -> Resource:
    return next(one for one in api.resources if one.name == name)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
