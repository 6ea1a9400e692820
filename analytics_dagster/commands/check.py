"""`check`: reads two pages of each resource and says what works and what does not; writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, cast

from dlt.common import jsonpath
from requests import Response
from rich.markup import escape

from analytics_dagster.certifying.pages import Reading
from analytics_dagster.commands.choice import all_windows, edge_text, find_api, find_resources
from analytics_dagster.commands.filter_check import WHERE, Finding, filter_findings, read_pages
from analytics_dagster.commands.progress import waits_shown
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output
from analytics_dagster.loading.cursor import LIFTED, RowTimes
from analytics_dagster.loading.destination import Destination
from analytics_dagster.loading.promises import broken_promise, way_of
from analytics_dagster.loading.resolve import ResolvedApi, resolve
from analytics_dagster.reading.cuts import Cuts
from analytics_dagster.reading.errors import (
    CursorError,
    LoadError,
    PageError,
    SelectorError,
    WindowTooLargeError,
)
from analytics_dagster.reading.hiding import boxes
from analytics_dagster.reading.meter import Meter
from analytics_dagster.sample import is_sample, sandbox_variables
from analytics_dagster.spec import Incremental, Resource, Window, families
from analytics_dagster.spec.expressions import field_path
from analytics_dagster.spec.page_ends import IN_HEADER
from analytics_dagster.spec.placeholders import bounds_sent
from analytics_dagster.spec.problems import nearest

_ASKING = {
    "single_page",
    "offset",
    "page_number",
    "until_empty",
    "keyset",
}  # do not wait to be told of a next page
_PARENTS = 10  # rows of a parent that are asked for, where the first one has no children
# MediaWiki answers so to bounds in the wrong order, without an error.
_MAY_BE_SWAPPED = (
    "; if there should be some, see whether start_param and end_param are the right way round: an API that"
    " sends the newest rows first may begin at the later bound"
)
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}


def check_api(name: str, resources: Sequence[str]) -> None:
    """Read two pages of each resource and show what works.

    Args:
        name: The API.
        resources: Names of its resources; empty for all.

    Raises:
        CommandError: If something does not work.
        LoadError: If a secret is missing.
    """
    file = find_api(name)
    wanted = find_resources(file, resources)
    console = standard_output()
    with ExitStack() as stack:
        values = stack.enter_context(sandbox_variables()) if is_sample(file) else None
        resolved = resolve(file, values=values)
        console.print(escape(f"{file.path}: {resolved.redact(resolved.api.client.base_url)}"), soft_wrap=True)
        broken: list[str] = []
        for resource in resolved.api.resources:
            if resource.name not in {one.name for one in wanted}:
                continue
            with waits_shown(standard_error(), f"{resource.name}: reading its first pages") as on_change:
                findings = [*_promise_findings(resource), *check_resource(resolved, resource, on_change)]
            console.print(f"[bold]{resource.name}[/]")
            for finding in findings:
                console.print(f"  {_MARKS[finding.works]} {escape(finding.text)}", soft_wrap=True)
            if any(finding.works is False for finding in findings):
                broken.append(resource.name)
    if broken:
        raise CommandError(f"{len(broken)} of {len(wanted)} resources do not work: {', '.join(broken)}")


def _promise_findings(resource: Resource) -> list[Finding]:
    broken = broken_promise(resource, Destination.from_environment().type, way_of(resource))
    return [Finding(False, broken)] if broken else []


def check_resource(
    resolved: ResolvedApi, resource: Resource, on_change: Callable[[Meter], None] = lambda _: None
) -> list[Finding]:
    """Read two pages of a resource: with partitions that of the last window that is over, else of the first.

    Args:
        resolved: The API, its templates filled in.
        resource: One of its resources.
        on_change: Called after each change of the counts.
    """
    windows: list[Window | None] = [None]
    if resource.partitions:
        over = all_windows(resource.partitions, datetime.now(UTC))
        windows = [_first_step(resource, one) for one in dict.fromkeys((over[-1], over[0]))] if over else []
    findings = [Finding(None, "the first window is not over yet, so there is nothing to ask for")]
    for window in windows:
        # An export has no pages, and only its beginning is read.
        most = 1 if resource.endpoint.response else 2
        page, problem = read_pages(resolved, resource, window, on_change, most)
        while isinstance(problem, WindowTooLargeError) and (half := _first_half(resource, window)):
            window = half  # noqa: PLW2901 - as a load would go on
            page, problem = read_pages(resolved, resource, window, on_change, most)
        asked, parents = "the first row", 1
        if resource.is_child and page.pages and not page.rows and problem is None:
            parents = _PARENTS
            page, problem = read_pages(resolved, resource, window, on_change, most + parents - 1, parents)
            asked = _keep_first_with_rows(page)
        findings = _findings(resolved, resource, window, page, problem, asked)
        if problem or page.rows:
            if problem is None:
                findings += filter_findings(
                    resolved, resource, window, page.pages[0].rows, on_change, parents
                )
            break
    return findings


def _first_step(resource: Resource, window: Window) -> Window:
    """What a load would ask for first."""
    cursor = resource.endpoint.incremental
    return next(Cuts(cursor).steps(window, cursor.step)) if cursor and cursor.step else window


def _first_half(resource: Resource, window: Window | None) -> Window | None:
    """What a load would ask for where a window is too large; None where it cannot be halved."""
    cursor = resource.endpoint.incremental
    halves = Cuts(cursor).halves(window) if cursor and window else None
    return halves[0] if halves else None


def _findings(
    resolved: ResolvedApi,
    resource: Resource,
    window: Window | None,
    page: Reading,
    problem: LoadError | None,
    asked: str,
) -> list[Finding]:
    if not page.pages:
        nothing = Finding(None, f"{_parent(resolved, resource)} has no row to ask for")
        return [Finding(False, str(problem).removeprefix(f"{WHERE}: ")) if problem else nothing]
    endpoint = resource.endpoint
    signed = ", credentials accepted" if endpoint.auth or resolved.api.client.auth else ""
    found = [Finding(True, f"{endpoint.method} {endpoint.path} answers{signed}")]
    if isinstance(problem, SelectorError):
        return [*found, Finding(False, str(problem).removeprefix(f"{WHERE}: "))]
    if endpoint.data_selector and (page.pages[0].rows or endpoint.data_selector_required):
        found.append(Finding(True, f"data_selector `{endpoint.data_selector}` matches"))
    where = _where(resolved, resource, window, asked)
    place = "at the beginning" if endpoint.response else "on the first page"
    rows = page.pages[0].rows
    swapped = "" if rows or len(bounds_sent(endpoint)) < 2 else _MAY_BE_SWAPPED
    found.append(Finding(bool(rows) or None, f"{len(rows):,} rows {place}{where}{swapped}"))
    # Before the end of the first page, `records` may not have made the rows.
    if rows and (len(page.pages) > 1 or not isinstance(problem, PageError)):
        found += _key_findings(resolved, resource, rows)
        if not problem:
            found += _hiding_findings(resource, rows, page.answer)
        if endpoint.incremental and not problem:
            found.append(_cursor_finding(resource, endpoint.incremental, rows))
    if problem:
        found.append(Finding(False, str(problem).removeprefix(f"{WHERE}: ")))
    if len(page.pages) > 1 and not problem:
        found.append(Finding(True, f"{len(page.pages[1].rows):,} other rows on the second page"))
    if isinstance(problem, CursorError) or problem is None:
        found += _paging_findings(resolved, resource, page)
    return found


def _parent(resolved: ResolvedApi, resource: Resource) -> str:
    parent = families.parent_of(resource, families.by_name(resolved.api.resources))
    return f"`{parent}`" if parent else "`for_each`"


def _keep_first_with_rows(page: Reading) -> str:
    """Leave the pages of the first parent that has children, else of the first, and say which row it is."""
    walks = page.walks
    place = next((place for place, walk in enumerate(walks) if any(one.rows for one in walk)), None)
    page.walks = [walks[place or 0]]
    if place is not None:
        return f"row {place + 1}"
    return f"each of the first {len(walks)} rows" if len(walks) > 1 else "the first row"


def _where(resolved: ResolvedApi, resource: Resource, window: Window | None, asked: str) -> str:
    if resource.is_child:
        return f", asked for {asked} of {_parent(resolved, resource)}"
    if window and resource.partitions:
        return f" of the {resource.partitions.every} {edge_text(resource.partitions, window.start)}"
    return ""


def _key_findings(resolved: ResolvedApi, resource: Resource, rows: Sequence[Any]) -> list[Finding]:
    given = families.taken(resource, families.by_name(resolved.api.resources))
    keys = [resource.primary_key] if isinstance(resource.primary_key, str) else resource.primary_key or []
    fields: list[dict[str, Any]] = [
        dict(cast("Any", row)) if isinstance(row, Mapping) else {} for row in rows
    ]
    found: list[Finding] = []
    for key in keys:
        if key in given:
            of, name = given[key]
            found.append(
                Finding(True, f"primary key `{key}` is `{of}.{name}`, which the rows are asked for with")
            )
            continue
        if lacking := sum(row.get(key) is None for row in fields):
            known = [name for name in fields[0] if name != LIFTED]
            hint = nearest(key, known) or f"; the first row has {', '.join(known[:20]) or 'no fields'}"
            text = f"primary key `{key}` is missing or null in {lacking:,} of {len(rows):,} rows{hint}"
            found.append(Finding(False, text))
    own = [key for key in keys if key not in given]
    if not own or any(finding.works is False for finding in found):
        return found
    name, count = ", ".join(own), len(rows)
    if not (several := count - len({repr([row[key] for key in own]) for row in fields})):
        return [*found, Finding(True, f"primary key `{name}` is in every row, and unique")]
    # Of two versions of a row, the cursor tells which is the later.
    works = None if resource.endpoint.incremental else False
    text = f"primary key `{name}` is that of an earlier row in {several:,} of {count:,} rows, and one stays"
    return [
        *found,
        Finding(works, f"{text}; if they are different things, add a field that tells them apart"),
    ]


def _hiding_findings(resource: Resource, rows: Sequence[Any], answer: Response | None) -> list[Finding]:
    """What `drop` and `hash` name that no row has: after a slip of the pen, what they mean would stay."""
    records = resource.records
    if records is None:
        return []
    lacking = [
        ("hash", path)
        for path in (records.hash.fields if records.hash else [])
        if not any(place for row in rows for place in boxes(row, field_path(path)))
    ]
    # Dropped fields are gone from the rows. In an answer that is JSON, their names can be seen all the same.
    if answer is not None and not (records.rows or resource.endpoint.response):
        named = answer.text
        lacking += [
            ("drop", path)
            for path in records.drop
            if f'"{field_path(path)[-1]}"' not in named and path not in records.fields
        ]
    known = [str(name) for name in rows[0]]
    return [
        Finding(None, f"{key} names `{path}`, which none of these rows has{nearest(path, known)}")
        for key, path in lacking
    ]


def _cursor_finding(resource: Resource, cursor: Incremental, rows: Sequence[Any]) -> Finding:
    times = RowTimes(resource)
    lacking = sum(times.value(row) is None for row in rows)
    if not lacking:
        return Finding(True, f"cursor `{cursor.cursor_path}` can be read")
    are_left_out = cursor.on_cursor_value_missing == "exclude"
    what = "left out" if are_left_out else "loaded all the same"
    text = (
        f"cursor `{cursor.cursor_path}` is missing or null in {lacking:,} of {len(rows):,} rows, which are"
        f" {what}, as `on_cursor_value_missing: {cursor.on_cursor_value_missing}` says"
    )
    return Finding(False if are_left_out and lacking == len(rows) else None, text)


def _paging_findings(resolved: ResolvedApi, resource: Resource, page: Reading) -> list[Finding]:
    paginator = resource.endpoint.paginator or resolved.api.client.paginator
    if resource.endpoint.response and not paginator:  # an export needs none
        return []
    if (
        page.is_whole
        and len(page.pages) == 1
        and len(page.rows) > 1
        and not (paginator and paginator.type in _ASKING)
    ):
        without = "" if paginator else "no paginator is given, and "
        return [Finding(None, f"{without}the answer names no next page: this one would be all")]
    path = paginator.total_path if paginator else None
    if not (paginator and path) or paginator.total_is == "page":
        return []
    answer, in_body = page.answer, paginator.total_in_body
    assert answer is not None  # as there are pages
    totals = (
        jsonpath.find_values(in_body, answer.json())
        if in_body
        else [answer.headers.get(path.removeprefix(IN_HEADER))]
    )
    if totals and totals[0] is not None:
        return [Finding(True, f"total `{path}` is {totals[0]}")]
    if getattr(paginator, "has_more_path", None):  # says itself which page is the last
        return []
    return [Finding(None, f"no total at `{path}`: the first empty page will be the end")]
