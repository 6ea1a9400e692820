"""`init`: writes a first API file, from an OpenAPI document, from one answer, or as a form to fill in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from analytics_dagster.commands.choice import own_directories
from analytics_dagster.commands.progress import waits_shown
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output
from analytics_dagster.drafting.auth import KINDS
from analytics_dagster.drafting.document import DraftError, read_document, without_secrets
from analytics_dagster.drafting.draft import Draft, Drafter, blank, document_of_answer, lists_in
from analytics_dagster.spec import parse_text
from analytics_dagster.spec.problems import nearest, one_of
from analytics_dagster.spec.texts import Name

_MANY = 30  # resources, beyond which one is asked which


def init_api(
    name: str,
    *,
    openapi: str | None,
    base_url: str | None,
    auth: str | None,
    path: str | None,
    only: Sequence[str],
    start: str | None,
    probe: bool | None,
    force: bool,
) -> None:
    """Write `apis/NAME.yaml`.

    Args:
        name: The API.
        openapi: The file or URL of its OpenAPI document.
        base_url: Where the API is; by default as the document says, or asked for.
        auth: How it is authenticated; as well.
        path: The path of a first resource, where there is no document.
        only: Patterns of the names or paths of the resources to write; empty for all.
        start: The date with which windows and cursors begin; by default January 1st of last year.
        probe: Whether to send one request and look at its answer; None to ask.
        force: Write over a file that is there.

    Raises:
        CommandError: If something does not fit, or the file is there.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise CommandError(f"NAME: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    target = own_directories()[0] / f"{name}.yaml"
    if target.exists() and not force:
        raise CommandError(f"{target} is there already; to write over it, add --force")
    begin = _date(start)
    if auth and auth not in KINDS:
        raise CommandError(f"--auth: expected {one_of(KINDS)}, not '{auth}'" + nearest(auth, KINDS))
    try:
        if openapi:
            if path:
                raise CommandError("--path is for an API without a document; with one, use --only")
            draft = _from_document(openapi, name, only, begin, base_url, auth)
        else:
            draft = _from_answers(name, base_url, auth, path, begin, probe=probe)
    except DraftError as error:
        raise CommandError(str(error)) from None
    parse_text(draft.text, target)  # so that no file is written that would be refused
    target.parent.mkdir(parents=True, exist_ok=True)
    partly = target.with_suffix(".yaml.part")
    partly.write_text(draft.text, encoding="utf-8")
    partly.replace(target)
    _tell(target, name, draft)


def _date(text: str | None) -> date:
    if text is None:
        return date(datetime.now(UTC).year - 1, 1, 1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--start: expected a date such as 2024-01-01, not '{text}'") from None


def _from_document(
    place: str, name: str, only: Sequence[str], start: date, base_url: str | None, auth: str | None
) -> Draft:
    with standard_error().status(escape(f"reading {without_secrets(place)}")):
        drafter = Drafter(read_document(place), name)
    count = len(drafter.matching(only))
    if count > _MANY and not only and sys.stdin.isatty():
        standard_error().print(", ".join(one.name for one in drafter.endpoints), markup=False, soft_wrap=True)
        answer = typer.prompt(f"{count} resources. Which (such as user*; * for all)?", default="*", err=True)
        only = str(answer).split()
    return drafter.draft(only, start, base_url, auth)


def _from_answers(
    name: str, base_url: str | None, auth: str | None, path: str | None, start: date, *, probe: bool | None
) -> Draft:
    url = base_url or _ask("Base URL of the API?", "https://api.example.com")
    kind = auth or _ask(f"Authentication ({', '.join(KINDS)})?", "bearer")
    if kind not in KINDS:
        raise CommandError(f"expected {one_of(KINDS)}, not '{kind}'" + nearest(kind, KINDS))
    first = path or _ask("Path of a first resource?", "/v1/items")
    form = blank(name, url, kind, first)
    if probe is None and sys.stdin.isatty():
        probe = typer.confirm(f"Send one GET to {first}, and look at the answer?", default=False, err=True)
    return _from_one_answer(form, name, first, kind, start) if probe else form


def _from_one_answer(form: Draft, name: str, path: str, auth: str, start: date) -> Draft:
    """Look at one answer of the API."""
    from analytics_dagster.loading.resolve import resolve  # noqa: PLC0415 - a form needs no dlt
    from analytics_dagster.loading.source import api_session, rest_api_config  # noqa: PLC0415
    from analytics_dagster.reading.meter import Meter  # noqa: PLC0415

    resolved = resolve(parse_text(form.text, f"{name}.yaml"))
    url = resolved.api.client.base_url
    with (
        waits_shown(standard_error(), f"asking {path}") as on_change,
        api_session(resolved, Meter(on_change=on_change)) as session,
    ):
        client = rest_api_config(resolved, resolved.api.resources[0], session)["client"]
        answer = session.get(f"{url.rstrip('/')}/{path.lstrip('/')}", auth=cast("Any", client.get("auth")))
        document = document_of_answer(url, path, answer.json(), answer.headers)
    try:
        return Drafter(document, name).draft([], start, url, auth)
    except DraftError:
        raise CommandError(f"GET {path} answers, but {_instead_of_rows(answer.json())}") from None


def _instead_of_rows(answer: Any) -> str:
    """What an answer has in which no list of rows was found, and what to do."""
    form = "write a form with --no-probe, and in it data_selector"
    lists = dict(lists_in(answer))
    if objects := [path for path, one in lists.items() if isinstance(one[0], dict)]:
        return f"which list has the rows cannot be told: {', '.join(objects[:9])}; {form}."
    if lists:
        return (
            f"its lists have no objects: {', '.join([*lists][:9])}; {form}, and `records: {{rows: …}}` to"
            " give them fields."
        )
    return "with no list. Give another --path, or write a form to fill in with --no-probe."


def _ask(question: str, default: str) -> str:
    """A person's answer; the default where nobody can be asked."""
    return str(typer.prompt(question, default=default, err=True)).strip() if sys.stdin.isatty() else default


def _tell(target: Path, name: str, draft: Draft) -> None:
    console = standard_output()

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    count = len(draft.resources)
    shown = ", ".join(draft.resources[:12]) + (", …" if count > 12 else "")
    say(f"{target}: {count} resource{'s' * (count != 1)}: {shown}")
    if draft.others:
        say(f"{draft.others} other operations answer with a single thing, or do not say with what.")
    if draft.variables:
        say(f"Set before it is loaded: {', '.join(draft.variables)}")
    say(f"Next: analytics-dagster check {name}")
